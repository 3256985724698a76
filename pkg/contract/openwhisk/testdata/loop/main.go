// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program loop is an OpenWhisk action that keeps to the ActionLoop protocol, unless its
// argument says otherwise.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"os"
	"time"

	"kontain.dev/eventing/pkg/contract/openwhisk/testdata/internal/action"
)

func main() {
	how := ""
	if len(os.Args) > 1 {
		how = os.Args[1]
	}
	if how == "exit" {
		fmt.Fprintln(os.Stderr, "no configuration")
		os.Exit(4)
	}
	name := "/proc/self/fd/3"
	out := os.NewFile(3, "results")
	if how == "open" { // as Java's launcher does
		f, err := os.OpenFile("/dev/fd/3", os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o600)
		if err != nil {
			log.Fatal(err)
		}
		out = f
	}
	link, err := os.Readlink(name)
	if err != nil {
		log.Fatal(err)
	}
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" || how == "ack" { // as Go's launcher does
		time.Sleep(50 * time.Millisecond)
		ack := "{\"ok\":true}\n"
		switch how {
		case "no ack":
			ack = "{\"ok\":false}\n"
		case "endless ack":
			ack = string(bytes.Repeat([]byte("x"), 1<<20))
		case "close":
			ack = ""
			_ = out.Close()
		}
		_, _ = out.WriteString(ack)
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		result := action.Run(line, link[:5])
		fmt.Print(action.Sentinel)
		fmt.Fprint(os.Stderr, "to stderr\n", action.Sentinel)
		switch how {
		case "close":
			_ = out.Close()
			time.Sleep(time.Hour)
		case "twice":
			result = append(append(result, '\n'), result...)
		case "endless":
			for {
				_, _ = out.Write(bytes.Repeat([]byte("x"), 64<<10))
			}
		}
		_, _ = out.Write(append(result, '\n'))
	}
}
