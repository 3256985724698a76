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
	"strings"

	"kontain.dev/eventing/pkg/worker/serve"
)

func main() {
	files, err := strconv.ParseUint(strings.Join(os.Args[1:], " "), 10, 4)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kontain-worker is started by kontain serve, not by hand")
		os.Exit(2)
	}
	if err := serve.Run(int(files)); err != nil {
		fmt.Fprintln(os.Stderr, "kontain-worker:", err)
		os.Exit(1)
	}
}
