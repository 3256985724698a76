// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command faults proves: faults of the processor become Go panics with the
// right text and address, in goroutines too, again and again.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

type big struct {
	pad [1 << 16]byte
	x   int
}

func try(name string, f func()) {
	defer func() {
		r := recover()
		var re runtime.Error
		err, _ := r.(error)
		fmt.Printf("%s: %v (runtime error: %v)\n", name, r, errors.As(err, &re))
		if a, ok := r.(interface{ Addr() uintptr }); ok {
			fmt.Printf("  at %#x\n", a.Addr())
		}
	}()
	f()
}

var zero int

func main() {
	var p *int
	var b *big
	var m map[string]int
	var i any = "text"
	var s []int
	try("load of nil", func() { zero = *p })
	try("store to nil", func() { *p = 1 })
	try("far from nil", func() { b.x = 1 })
	try("division", func() { zero = 1 / zero })
	try("index", func() { s[zero+5] = 1 })
	try("nil map", func() { m["a"] = 1 })
	try("assertion", func() { zero = i.(int) })
	try("nil function", func() { var f func(); f() })
	try("nil method", func() { var e error; _ = e.Error() })
	debug.SetPanicOnFault(true)
	try("wild address", func() { *(*int)(unsafe.Add(nil, 0x123456789000)) = 1 })

	var wg sync.WaitGroup
	var mu sync.Mutex
	count := 0
	for range 50 {
		wg.Go(func() {
			for range 40 {
				func() {
					defer func() {
						if recover() != nil {
							mu.Lock()
							count++
							mu.Unlock()
						}
					}()
					*p = 1
				}()
			}
		})
	}
	wg.Wait()
	fmt.Println(count, "recovered")
}
