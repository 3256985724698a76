// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package sinks names the API group of Kontain sinks.
package sinks

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupName is the API group of the kinds in the packages below this one.
const GroupName = "sinks.kontain.dev"

// KontainSinkResource is the group and plural name of KontainSink, as
// role-based access rules and event policies write it.
var KontainSinkResource = schema.GroupResource{Group: GroupName, Resource: "kontainsinks"}
