// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command beat is the program of a source, and writes a line.
package main

import "os"

func main() {
	_, _ = os.Stdout.WriteString("beat\n")
}
