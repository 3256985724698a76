// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package jail

// linkedWithC: the program may hold the C library.
const linkedWithC = false
