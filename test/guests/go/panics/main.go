// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command panics proves: defer, recover, re-panic, Goexit and closures behave,
// and an unrecovered panic after all ends with status 2.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func named() (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = n*2, fmt.Errorf("wrapped: %w", r.(error))
		}
	}()
	n = 21
	panic(os.ErrInvalid)
}

func nested() (s string) {
	defer func() { s = fmt.Sprint("outer ", recover()) }()
	defer func() {
		inner := recover()
		panic(fmt.Sprint("again ", inner))
	}()
	panic("first")
}

func main() {
	n, err := named()
	fmt.Println(n, err, errors.Is(err, os.ErrInvalid))
	fmt.Println(nested())
	for i := range 3 {
		defer fmt.Println("deferred", i)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		defer fmt.Println("Goexit runs this")
		runtime.Goexit()
	}()
	<-done
	func() {
		defer func() {
			var p *runtime.PanicNilError
			fmt.Println(errors.As(recover().(error), &p))
		}()
		panic(nil)
	}()
	total := 0
	for i := range 20000 {
		func() {
			defer func() { total += recover().(int) }()
			panic(i)
		}()
	}
	fmt.Println(total)
	panic(fmt.Errorf("the last one: %w", err))
}
