// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Guest is the Go program of the tests; its first argument says what it does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// version is set when it is built.
var version = "none"

func main() {
	arg := func(i int) string {
		if i < len(os.Args) {
			return os.Args[i]
		}
		return ""
	}
	switch arg(1) {
	case "version":
		fmt.Print(version)
	case "print": // the second argument
		fmt.Print(arg(2))
	case "binary": // bytes that are no text
		fmt.Print("\x00\xff\xfe\x80 not text")
	case "silent":
	case "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fail(1, err.Error())
		}
	case "hold": // the event, some milliseconds after it was read
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			fail(1, err.Error())
		}
		ms, err := strconv.Atoi(arg(2))
		if err != nil {
			fail(2, err.Error())
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Printf("%s", b)
	case "env":
		fmt.Print(os.Getenv(arg(2)))
	case "id": // the event's id, after some milliseconds
		ms, err := strconv.Atoi(arg(2))
		if err != nil {
			fail(2, err.Error())
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Print(os.Getenv("CE_ID"))
	case "read": // the file of that name
		b, err := os.ReadFile(arg(2))
		if err != nil {
			fail(1, err.Error())
		}
		fmt.Printf("%s", b)
	case "args":
		fmt.Printf("%q", os.Args[1:])
	case "exit": // with a status, and a reason on stderr
		n, err := strconv.Atoi(arg(2))
		if err != nil {
			fail(2, err.Error())
		}
		fail(n, "first line\nthe reason why")
	case "nil":
		var p *int
		*p = 1 //nolint:govet // That is what it is for.
	case "spin":
		for n := uint64(1); n != 0; n += 2 { // an odd number is never 0
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "memory":
		var keep [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b) //nolint:staticcheck // It is kept.
		}
	case "output":
		line := strings.Repeat("x", 64<<10)
		for {
			if _, err := os.Stdout.WriteString(line); err != nil {
				fail(3, err.Error())
			}
		}
	case "count": // its runs, in the state file; each writes two events
		count()
	case "ticks": // a line now and then, without end
		for n := 1; ; n++ {
			fmt.Println("tick", n)
			time.Sleep(5 * time.Millisecond)
		}
	case "events": // so many, each in a line
		n, err := strconv.Atoi(arg(2))
		if err != nil {
			fail(2, err.Error())
		}
		w := bufio.NewWriter(os.Stdout)
		for i := range n {
			fmt.Fprintf(w, "{\"specversion\":\"1.0\",\"id\":\"%d\",\"source\":\"/guest\",\"type\":\"t\"}\n", i)
		}
		if err := w.Flush(); err != nil {
			fail(1, err.Error())
		}
	case "stderr": // more than anyone wants to read
		line := strings.Repeat("e", 1023) + "\n"
		for range 4 << 10 {
			fmt.Fprint(os.Stderr, line)
		}
		fail(9, strings.Repeat("é\x01\"", 1000))
	default:
		fail(2, "unknown mode")
	}
}

func count() {
	var run struct{ ID, Source string }
	if err := json.NewDecoder(os.Stdin).Decode(&run); err != nil {
		fail(1, err.Error())
	}
	state, err := os.ReadFile("/state")
	if err != nil {
		fail(1, err.Error())
	}
	n, _ := strconv.Atoi(string(state)) // nothing at first
	for part := range 2 {
		fmt.Printf("{\"specversion\":\"1.0\",\"id\":\"%s/%d\",\"source\":%q,\"type\":\"t\",\"data\":%d}\n", run.ID, part, run.Source, n+1)
	}
	if err := os.WriteFile("/state", strconv.AppendInt(nil, int64(n+1), 10), 0o600); err != nil {
		fail(1, err.Error())
	}
}

func fail(status int, why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(status)
}
