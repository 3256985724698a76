// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Guest does what its event says.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

var events int

func main() {
	fmt.Fprint(os.Stderr, "starting")
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "ends":
			return
		case "crashes":
			panic("at the start")
		case "spins":
			for {
				events++
			}
		}
	}
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	events++
	event := string(b)
	switch {
	case event == "spin":
		for {
			events++
		}
	case event == "crash":
		var p *int
		*p = 1
	case event == "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case event == "flood":
		for {
			fmt.Println(strings.Repeat("y", 1<<16))
		}
	case event == "consume":
		var all [][]byte
		for {
			page := make([]byte, 1<<20)
			for i := range page {
				page[i] = 1
			}
			all = append(all, page)
			events += len(all)
		}
	case strings.HasPrefix(event, "exit "):
		var status int
		fmt.Sscan(event[5:], &status)
		os.Exit(status)
	}
	if len(event) < 100 {
		fmt.Fprintf(os.Stderr, "log of %s", event)
	}
	fmt.Printf("%d %s A=%s", events, strings.ToUpper(event), os.Getenv("A"))
	if file, ok := strings.CutPrefix(event, "read "); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		fmt.Printf(", it begins with %s", b[:4])
	}
}
