// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package wait makes a guest wait before main: with GUEST_WAIT in its environment
// it reads one byte. Where it waits for that, its machine is frozen, and the rest
// of it runs in a clone.
package wait

import "os"

func init() {
	if os.Getenv("GUEST_WAIT") == "" {
		return
	}
	var b [1]byte
	if n, err := os.Stdin.Read(b[:]); n != 1 || err != nil {
		os.Exit(99)
	}
}
