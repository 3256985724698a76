// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command version is a function that holds its event for a time, {"ms": 100}, and answers
// with its version, as its program, its image and its memory have it.
package main

import (
	"encoding/json"
	"io"
	"os"
	"time"
)

const version = "VERSION"

// atStart is what the image said when the program was started.
var atStart = os.Getenv("VERSION")

func main() {
	var e struct {
		ID   string
		Data struct{ MS int }
	}
	in, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(in, &e)
	}
	if err != nil {
		os.Exit(1)
	}
	time.Sleep(time.Duration(e.Data.MS) * time.Millisecond)
	answer := map[string]any{
		"specversion": "1.0", "id": e.ID + "-version", "source": "/version", "type": "dev.test.version",
		"datacontenttype": "application/json", "data": []string{version, atStart, os.Getenv("VERSION")},
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(1)
	}
}
