// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command gc proves: the garbage collector under load: many goroutines
// allocate and link, finalizers and cleanups run, weak pointers empty, memory
// goes back, and a memory limit is kept.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

type node struct {
	left, right *node
	payload     [40]byte
}

func build(depth int) *node {
	n := &node{}
	n.payload[0] = byte(depth)
	if depth > 0 {
		n.left, n.right = build(depth-1), build(depth-1)
	}
	return n
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

func main() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(96 << 20)
	keep := build(12)
	total := atomic.Int64{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 60 {
				total.Add(int64(build(9).count()))
				_ = make([]byte, 1<<20)
			}
		})
	}
	wg.Wait()
	fmt.Println("nodes", total.Load(), "kept", keep.count())

	var finalized, cleaned atomic.Int32
	for range 500 {
		p := new([64]int)
		runtime.SetFinalizer(p, func(*[64]int) { finalized.Add(1) })
		q := new([64]int)
		runtime.AddCleanup(q, func(int) { cleaned.Add(1) }, 0)
	}
	w := weak.Make(new([100]int))
	for range 200 {
		runtime.GC()
		if finalized.Load() == 500 && cleaned.Load() == 500 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println("finalized", finalized.Load(), "cleaned", cleaned.Load(), "weak is nil:", w.Value() == nil)
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.NumGC < 5 || m.HeapReleased == 0 || m.Sys > 160<<20 {
		fmt.Println("unexpected statistics", m.NumGC, m.HeapReleased, m.Sys)
		os.Exit(1)
	}
	runtime.KeepAlive(keep)
}
