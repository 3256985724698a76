// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command faulty is a function that fails in the way its event asks for, to
// show what the receiver makes of it: the data is {"mode": "crash"} and so on.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

// exitPermanent tells the receiver that trying this event again is no use.
const exitPermanent = 65

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(1, "read stdin: "+err.Error())
	}
	var e struct {
		Data struct {
			Mode string `json:"mode"`
		} `json:"data"`
	}
	if err := json.Unmarshal(in, &e); err != nil {
		fail(exitPermanent, "stdin is not an event with data of the form {\"mode\": \"…\"}: "+err.Error())
	}
	switch e.Data.Mode {
	case "none":
		fmt.Println(`{"ok":true}`)
	case "crash": // a nil pointer, and death by a signal after the stack trace
		debug.SetTraceback("crash")
		var p *int
		*p = 1 //nolint:govet // The crash is the point.
	case "panic": // Go's own end of a program: exit status 2
		panic("asked to panic")
	case "exit":
		fail(3, "asked to exit with status 3")
	case "reject":
		fail(exitPermanent, "this event will never do")
	case "deadline": // uses the processor and makes no system call
		for n := uint64(1); n != 0; n += 2 { // an odd number is never 0
		}
	case "sleep":
		time.Sleep(24 * time.Hour)
	case "memory":
		for {
			hoard()
		}
	case "output":
		line := make([]byte, 64<<10)
		for i := range line {
			line[i] = 'x'
		}
		for {
			if _, err := os.Stdout.Write(line); err != nil {
				fail(1, err.Error())
			}
		}
	case "nonsense": // looks like a CloudEvent and lacks what one must have
		fmt.Println(`{"specversion":"1.0","type":"dev.kontain.samples.faulty"}`)
	default:
		fail(exitPermanent, "mode must be none, crash, panic, exit, reject, deadline, sleep, memory, output or nonsense, not "+fmt.Sprintf("%q", e.Data.Mode))
	}
}

// kept holds memory in use.
var kept [][]byte

// hoard takes one more megabyte and touches each of its pages.
func hoard() {
	b := make([]byte, 1<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	kept = append(kept, b)
}

func fail(status int, why string) {
	fmt.Fprintln(os.Stderr, "faulty: "+why)
	os.Exit(status)
}
