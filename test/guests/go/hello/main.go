// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command hello proves: a Go program starts, sees its arguments and
// environment, writes, and ends with a status by os.Exit.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func main() {
	fmt.Println("hello from Go", runtime.GOOS, runtime.GOARCH)
	fmt.Printf("%q\n", os.Args[1:])
	env := os.Environ()
	sort.Strings(env)
	fmt.Printf("%q\n", env)
	if runtime.NumCPU() < 1 || runtime.GOMAXPROCS(0) < 1 || os.Getpid() < 1 || os.Getpagesize() != 4096 {
		fmt.Println("the machine has no processor or page")
	}
	fmt.Fprintln(os.Stderr, "to stderr")
	defer fmt.Println("os.Exit runs no deferred call")
	os.Exit(11)
}
