// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Stateful keeps state wherever a program can, and prints it: an event that
// finds anything of an earlier one gives another answer. What it does depends
// on the event alone.
package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"sync"
)

var (
	events int
	table  [256]uint32
	seen   = map[string]int{}
	kept   [][]byte
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "early" { // ends before it reads its event
		fmt.Printf("early %s", os.Getenv("CE_ID"))
		return
	}
	for i := range table {
		table[i] = uint32(i) * 2654435761
	}
	check(os.WriteFile("/tmp/setup", []byte("done"), 0o600))

	in, err := io.ReadAll(os.Stdin)
	check(err)
	h := fnv.New32a()
	_, _ = h.Write(in)
	n := h.Sum32()

	events++
	for _, w := range strings.Fields(string(in)) {
		seen[w]++
	}
	for i := range n % 40 {
		b := make([]byte, 20<<10)
		for j := range b {
			b[j] = byte(table[(i+uint32(j))%256])
		}
		kept = append(kept, b)
	}
	old, err := os.ReadFile("/tmp/log")
	if err != nil && !os.IsNotExist(err) {
		check(err)
	}
	check(os.WriteFile("/tmp/log", append(old, in...), 0o600))
	if n%3 == 0 {
		check(os.Remove("/tmp/setup"))
	}
	check(os.MkdirAll(fmt.Sprintf("/tmp/d%d", n%5), 0o700))
	check(os.Setenv("LAST", fmt.Sprint(n)))
	entries, err := os.ReadDir("/tmp")
	check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}

	var wg sync.WaitGroup
	sums := make([]uint64, n%7)
	for g := range sums {
		wg.Go(func() {
			for i := range 1000 {
				sums[g] += uint64(table[(g*i)%256])
			}
		})
	}
	wg.Wait()

	fmt.Printf("events %d, words %d, kept %d, log %d, files %v, sums %x, CE_ID %q, last %s, hash %x\n",
		events, len(seen), len(kept), len(old), names, sums, os.Getenv("CE_ID"), os.Getenv("LAST"), n)
	switch {
	case n%31 == 0:
		var p *int
		*p = events
	case n%10 == 0:
		fmt.Fprintln(os.Stderr, "never")
		os.Exit(65)
	case n%17 == 0:
		fmt.Fprintln(os.Stderr, "not now")
		os.Exit(1)
	case n%251 == 0:
		for { //nolint:staticcheck // Until its time is over.
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
