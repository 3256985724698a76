// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command signals proves: os/signal: Notify, Ignore, Reset, NotifyContext,
// hundreds of signals, some while goroutines spin; then death by SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func send(s syscall.Signal) {
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		fmt.Println("kill:", err)
	}
}

func main() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGTERM)
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGUSR1} {
		send(s)
		fmt.Println("got", <-c)
	}
	signal.Ignore(syscall.SIGUSR2)
	send(syscall.SIGUSR2)
	fmt.Println("ignored", signal.Ignored(syscall.SIGUSR2))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	send(syscall.SIGINT)
	<-ctx.Done()
	fmt.Println(ctx.Err())
	stop()

	for range 300 {
		send(syscall.SIGUSR1)
		<-c
	}
	var quit atomic.Bool
	for range 2 {
		go func() {
			for !quit.Load() {
			}
		}()
	}
	for range 10 {
		send(syscall.SIGUSR1)
		<-c
	}
	quit.Store(true)
	fmt.Println("310 more")
	signal.Reset(syscall.SIGTERM)
	send(syscall.SIGTERM)
	time.Sleep(time.Minute)
}
