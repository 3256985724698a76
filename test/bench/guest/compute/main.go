// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command compute does work that functions do, without system calls, and prints how
// long it took: {"ops":N,"ns":N}.
package main

import (
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"
)

var work = map[string]func(n int){"matmul": matmul, "sha256": hash, "gzip": compress}

func main() {
	if len(os.Args) != 3 || work[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: compute matmul|sha256|gzip N")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	f := work[os.Args[1]]
	f(1) // memory is there, and caches are warm
	start := time.Now()
	f(n)
	took := time.Since(start)
	if sink == math.MaxFloat64 { // what was computed is looked at, so that it is computed
		os.Exit(1)
	}
	fmt.Printf("{\"ops\":%d,\"ns\":%d}", n, took.Nanoseconds())
}

var sink float64

// matmul multiplies two matrices of 128 × 128 numbers n times.
func matmul(n int) {
	const size = 128
	var a, b, c [size][size]float64
	for i := range size {
		for j := range size {
			a[i][j], b[i][j] = float64(i+j), float64(i-j)
		}
	}
	for range n {
		for i := range size {
			for j := range size {
				sum := 0.0
				for k := range size {
					sum += a[i][k] * b[k][j]
				}
				c[i][j] = sum
			}
		}
		sink += c[1][2]
	}
}

// text is 64 KiB that compress as text does.
var text = func() []byte {
	b := make([]byte, 64<<10)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = "etaoin shrdlu\n"[x>>28%14]
	}
	return b
}()

// hash takes the digest of 64 KiB n times.
func hash(n int) {
	for range n {
		sum := sha256.Sum256(text)
		sink += float64(sum[0])
	}
}

// compress compresses 64 KiB n times.
func compress(n int) {
	w := gzip.NewWriter(io.Discard)
	for range n {
		w.Reset(io.Discard)
		if _, err := w.Write(text); err != nil {
			panic(err)
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
	}
}
