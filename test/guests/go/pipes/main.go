// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command pipes proves: os.Pipe through the network poller: blocking between
// goroutines, deadlines, closing under a blocked reader, EPIPE, io.Pipe.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func main() {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	go func() {
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 10007)
			w.Write(rest[:n])
			rest = rest[n:]
		}
		w.Close()
	}()
	got, err := io.ReadAll(r)
	fmt.Println(len(got), sha256.Sum256(got) == sha256.Sum256(data), err)

	r, w, _ = os.Pipe()
	fmt.Println("deadline set:", r.SetReadDeadline(time.Now().Add(3*time.Millisecond)))
	_, err = r.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
	r.SetReadDeadline(time.Time{})
	go func() { time.Sleep(2 * time.Millisecond); r.Close() }()
	_, err = r.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, os.ErrClosed))
	_, err = w.Write([]byte("x"))
	fmt.Println(errors.Is(err, syscall.EPIPE))

	// Many pipes in a chain.
	var wg sync.WaitGroup
	first, in, _ := os.Pipe()
	out := first
	for range 30 {
		next, nw, _ := os.Pipe()
		src := out
		wg.Go(func() { io.Copy(nw, src); nw.Close(); src.Close() })
		out = next
	}
	go func() { fmt.Fprint(in, "through thirty pipes"); in.Close() }()
	text, err := io.ReadAll(out)
	wg.Wait()
	fmt.Printf("%s %v\n", text, err)
}
