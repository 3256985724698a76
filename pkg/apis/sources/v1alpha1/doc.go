// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds version v1alpha1 of the API group sources.kontain.dev:
// its types, their defaults and their validation.
//
// A KontainSource runs a program in a virtual machine of its own, by a schedule, and
// sends the events that it writes to a sink.
//
// +k8s:deepcopy-gen=package
// +groupName=sources.kontain.dev
package v1alpha1

//go:generate go run k8s.io/code-generator/cmd/deepcopy-gen@v0.35.7 --go-header-file ../../boilerplate.go.txt --output-file zz_generated.deepcopy.go --bounding-dirs kontain.dev/eventing/pkg/apis .
