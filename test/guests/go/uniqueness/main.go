// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What a Go program takes for unique, asked for before its event and after it. For
// the event "show" it prints a name and a value on each line, for any other only
// that it works. The lines from "shared" on come from state in plain memory.
package main

import (
	crand "crypto/rand"
	"fmt"
	"hash/maphash"
	"io"
	mrand "math/rand"
	mrand2 "math/rand/v2"
	"os"
	"strings"
	"time"
)

func main() {
	var b [16]byte
	must(crand.Read(b[:]))
	_, _ = mrand.Int(), mrand2.Int()
	numbers := map[int]bool{}
	for i := range 100 {
		numbers[i] = true
	}
	seed := maphash.MakeSeed()
	source := mrand.New(mrand.NewSource(time.Now().UnixNano()))
	start := time.Now()

	event, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	var s strings.Builder
	must(crand.Read(b[:]))
	fmt.Fprintf(&s, "crypto_rand %x\n", b)
	fmt.Fprintf(&s, "crypto_text %s\n", crand.Text())
	fmt.Fprintf(&s, "time %d\n", time.Now().UnixNano())
	fmt.Fprintf(&s, "pid %d\n", os.Getpid())
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(&s, "passed %d\n", time.Since(start))
	fmt.Fprintf(&s, "shared_source %d\n", source.Int())
	fmt.Fprintf(&s, "shared_maphash %d\n", maphash.String(seed, "text"))
	fmt.Fprintf(&s, "global_rand %d\n", mrand.Int())
	fmt.Fprintf(&s, "global_rand2 %d\n", mrand2.Int())
	s.WriteString("map_order ")
	for n := range numbers {
		fmt.Fprintf(&s, "%d,", n)
	}
	s.WriteString("\n")
	if string(event) == "show" {
		fmt.Print(s.String())
		return
	}
	fmt.Println("all of it works")
}

func must(_ int, err error) {
	if err != nil {
		panic(err)
	}
}
