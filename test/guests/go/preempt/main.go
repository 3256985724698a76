// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command preempt proves: a loop without calls is preempted by a signal, so
// that other goroutines, timers and the collector run on a single processor.
package main

import (
	"fmt"
	"runtime"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

var sink int

func main() {
	runtime.GOMAXPROCS(1)
	started := make(chan bool)
	go func() {
		close(started)
		for i := 0; ; i++ {
			sink = i
		}
	}()
	<-started
	for i := range 3 {
		time.Sleep(2 * time.Millisecond)
		fmt.Println("main runs", i)
	}
	runtime.GC() // stops the world, and so the loop
	done := make(chan int)
	go func() { done <- 42 }()
	fmt.Println("another goroutine runs", <-done)
}
