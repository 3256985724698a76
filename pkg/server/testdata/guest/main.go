// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Guest is the program of the tests: its first argument says what it does with
// an event.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var e struct {
		ID   string
		Data json.RawMessage
	}
	if err := json.Unmarshal(input, &e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch os.Args[1] {
	case "upper":
		fmt.Print(strings.ToUpper(string(e.Data)))
	case "event":
		fmt.Printf(`{"specversion":"1.0","id":"re-%s","source":"/guest","type":"guest","data":%s}`, e.ID, e.Data)
	case "env":
		fmt.Printf("%s %s %s", os.Getenv("CE_ID"), os.Getenv("CE_SUBJECT"), os.Getenv("SINK"))
	case "silent":
	case "exit":
		fmt.Fprintln(os.Stderr, "something\nwent wrong")
		os.Exit(3)
	case "refuse":
		fmt.Fprintln(os.Stderr, "no such order")
		os.Exit(65)
	case "crash":
		var p *int
		*p = 1
	case "spin":
		for {
		}
	case "memory":
		var keep [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b)
		}
	case "output":
		for {
			fmt.Println(strings.Repeat("x", 4096))
		}
	case "malformed":
		fmt.Print(`{"specversion":"1.0","id":"1"}`)
	}
}
