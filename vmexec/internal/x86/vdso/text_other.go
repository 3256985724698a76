// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package vdso

// text returns nil: guests are x86-64 programs, which run on x86-64 only.
func text(int) []byte { return nil }
