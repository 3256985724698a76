// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command heartbeat-go is the program of a source: each time it runs it writes one
// CloudEvent, which says when it was due.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// run is the part of the event it is run with that counts here.
type run struct {
	ID   string `json:"id"`
	Data struct {
		Due string `json:"due"`
	} `json:"data"`
}

func main() {
	if err := beat(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "heartbeat:", err)
		os.Exit(1)
	}
}

func beat(in io.Reader, out io.Writer) error {
	var r run
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("the event of the run: %w", err)
	}
	return json.NewEncoder(out).Encode(map[string]any{
		"specversion": "1.0",
		"id":          r.ID, // of the run: should it be made again, so is this id
		"source":      "/samples/heartbeat-go",
		"type":        "dev.kontain.samples.heartbeat",
		"data":        map[string]string{"due": r.Data.Due, "text": "still here"},
	})
}
