// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package sources names the API group of Kontain sources.
package sources

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupName is the API group of the kinds in the packages below this one.
const GroupName = "sources.kontain.dev"

// KontainSourceResource is the group and plural name of KontainSource, as
// role-based access rules write it.
var KontainSourceResource = schema.GroupResource{Group: GroupName, Resource: "kontainsources"}
