// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command kontain runs Linux programs, and functions for events, in virtual
// machines of their own. Try `kontain help`.
package main

import (
	"os"

	"kontain.dev/eventing/pkg/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
