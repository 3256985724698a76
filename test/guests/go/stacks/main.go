// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command stacks proves: goroutine stacks grow, are copied and shrink; deep
// recursion in many goroutines; defer and recover at depth; runtime.Callers.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func deep(n int, p *int) int {
	var frame [128]byte
	frame[n%128] = byte(n)
	*p++ // into another goroutine's frame or up this stack: pointers must follow
	if n == 0 {
		return 0
	}
	r := deep(n-1, p) + 1
	if frame[n%128] != byte(n) {
		panic("frame changed")
	}
	return r
}

func unwind(n int, log *[]int) {
	defer func() {
		if n%100 == 0 {
			*log = append(*log, n)
		}
	}()
	if n == 0 {
		panic(errors.New("bottom"))
	}
	unwind(n-1, log)
}

func main() {
	x := 0
	fmt.Println(deep(100000, &x), x)
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for i := range 100 {
		wg.Go(func() {
			n := 0
			r := deep(1000+i, &n)
			if i%10 == 0 {
				runtime.GC()
			}
			mu.Lock()
			total += r + n
			mu.Unlock()
		})
	}
	wg.Wait()
	fmt.Println(total)
	func() {
		var log []int
		defer func() { fmt.Println(recover(), log) }()
		unwind(500, &log)
	}()
	pcs := make([]uintptr, 10)
	frame, _ := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)]).Next()
	fmt.Println(frame.Function)
}
