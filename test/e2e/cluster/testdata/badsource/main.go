// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command badsource is the program of sources that must do no harm: its argument says
// what it does.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"time"
)

const event = `{"specversion":"1.0","id":"%d","source":"/bad","type":"dev.test.bad"}` + "\n"

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush() //nolint:errcheck // Who reads it knows.
	switch os.Args[1] {
	case "never":
		time.Sleep(24 * time.Hour)
	case "garbage":
		_, _ = out.Write([]byte{0xff, 0x00, 0x1b, '{', 0xfe})
	case "half":
		fmt.Fprintf(out, event, 1)
		fmt.Fprint(out, `{"specversion":"1.0","id":"2","sou`)
	case "large":
		for line := bytes.Repeat([]byte("x"), 1<<20); ; {
			if _, err := out.Write(line); err != nil {
				os.Exit(1)
			}
		}
	case "many":
		for i := range 1_000_000 {
			if _, err := fmt.Fprintf(out, event, i); err != nil {
				os.Exit(1)
			}
		}
	case "crash":
		var p *int
		*p = 1
	}
}
