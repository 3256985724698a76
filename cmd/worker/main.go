// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command kontain-worker runs machines for a receiver, which starts it with a
// socket and the files of a snapshot as descriptors. It is built with CGO_ENABLED=0.
//
// It may live for one event only. The Go runtime need not find out for that how much of
// the processors its cgroup may use, nor look again now and then.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"fmt"
	"os"
	"strconv"

	"kontain.dev/eventing/pkg/worker/serve"
)

func main() {
	files, seats, err := arguments(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kontain-worker is started by kontain serve, not by hand")
		os.Exit(2)
	}
	if err := serve.Run(files, seats); err != nil {
		fmt.Fprintln(os.Stderr, "kontain-worker:", err)
		os.Exit(1)
	}
}

// arguments are the numbers of descriptors that the worker was started with.
func arguments(args []string) (files, seats int, err error) {
	if len(args) != 2 {
		return 0, 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseUint(args[0], 10, 4)
	if err != nil {
		return 0, 0, err
	}
	s, err := strconv.ParseUint(args[1], 10, 7)
	return int(f), int(s), err
}
