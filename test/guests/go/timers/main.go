// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command timers proves: sleeps, timers, tickers, AfterFunc and context
// deadlines come, and never early; the clock is monotone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func must(ok bool, what string) {
	if !ok {
		fmt.Println("failed:", what)
		os.Exit(1)
	}
}

func main() {
	start := time.Now()
	last := start
	for range 20000 {
		now := time.Now()
		must(!now.Before(last), "the clock goes forward")
		last = now
	}
	must(start.Year() >= 2024, "the year")

	var fired atomic.Int32
	var wg sync.WaitGroup
	for _, ms := range []int{40, 20, 60, 0} {
		wg.Add(1)
		begin := time.Now()
		time.AfterFunc(time.Duration(ms)*time.Millisecond, func() {
			defer wg.Done()
			must(time.Since(begin) >= time.Duration(ms)*time.Millisecond, "AfterFunc is not early")
			fired.Add(1)
		})
	}
	wg.Wait()
	fmt.Println(fired.Load(), "functions ran")

	begin := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	for range 5 {
		<-tick.C
	}
	tick.Stop()
	must(time.Since(begin) >= 10*time.Millisecond, "five ticks")

	t := time.NewTimer(time.Hour)
	fmt.Println("stopped", t.Stop(), t.Stop(), "reset", t.Reset(time.Millisecond))
	<-t.C

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println(ctx.Err(), errors.Is(ctx.Err(), context.DeadlineExceeded))
	ctx, because := context.WithCancelCause(context.Background())
	because(errors.New("enough"))
	<-ctx.Done()
	fmt.Println(ctx.Err(), "because", context.Cause(ctx))

	begin = time.Now()
	for range 1000 {
		wg.Go(func() { time.Sleep(3 * time.Millisecond) })
	}
	wg.Wait()
	must(time.Since(begin) >= 3*time.Millisecond, "a thousand sleeps")
	fmt.Println(time.Unix(1700000000, 0).UTC().Format(time.RFC1123), time.Duration(90*time.Minute))
}
