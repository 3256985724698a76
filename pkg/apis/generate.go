// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package apis holds the kinds of Kontain Eventing, a folder for each API group
// and in it one for each version.
package apis

//go:generate ../../hack/generate-client.sh
//go:generate ../../hack/generate-crd.sh
