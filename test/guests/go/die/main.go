// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command die proves: how a Go program dies: panic, fatal error, deadlock,
// stack overflow, signals. The trace on stderr is not compared.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func forever(n int) int { return forever(n+1) + 1 }

func main() {
	fmt.Println("dying by", os.Args[1])
	switch os.Args[1] {
	case "panic":
		panic("on purpose")
	case "nil":
		var p *int
		*p = 1
	case "goroutine":
		go func() { panic("in a goroutine") }()
		time.Sleep(time.Minute)
	case "deadlock":
		<-make(chan int)
	case "stack":
		debug.SetMaxStack(8 << 20)
		forever(0)
	case "term", "kill", "segv", "quit":
		sig := map[string]syscall.Signal{"term": syscall.SIGTERM, "kill": syscall.SIGKILL, "segv": syscall.SIGSEGV, "quit": syscall.SIGQUIT}
		syscall.Kill(os.Getpid(), sig[os.Args[1]])
		time.Sleep(time.Minute)
	}
}
