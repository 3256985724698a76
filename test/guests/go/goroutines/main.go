// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command goroutines proves: ten thousand goroutines, channels buffered and
// not, select with every kind of case, a prime sieve of chained goroutines.
package main

import (
	"fmt"
	"sync"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func main() {
	const n = 10000
	results := make(chan int)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results <- i })
	}
	go func() { wg.Wait(); close(results) }()
	sum := 0
	for r := range results {
		sum += r
	}
	fmt.Println("sum", sum)

	ping, pong := make(chan int), make(chan int)
	go func() {
		for v := range ping {
			pong <- v + 1
		}
		close(pong)
	}()
	v := 0
	for range 5000 {
		ping <- v
		v = <-pong
	}
	close(ping)
	_, open := <-pong
	fmt.Println("ping-pong", v, open)

	source := make(chan int)
	go func() {
		for i := 2; ; i++ {
			source <- i
		}
	}()
	prime := 0
	for range 60 {
		prime = <-source
		next := make(chan int)
		go func(in <-chan int, out chan<- int, p int) {
			for i := range in {
				if i%p != 0 {
					out <- i
				}
			}
		}(source, next, prime)
		source = next
	}
	fmt.Println("60th prime", prime)

	var never chan int
	full := make(chan int, 1)
	full <- 1
	select {
	case <-never:
		fmt.Println("never")
	case full <- 2:
		fmt.Println("was full")
	default:
		fmt.Println("default")
	}
	select {
	case <-never:
		fmt.Println("never")
	case <-time.After(3 * time.Millisecond):
		fmt.Println("timeout")
	}
	defer func() { fmt.Println("recovered:", recover()) }()
	close(full)
	full <- 1
}
