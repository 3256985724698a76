// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command uppercase-go is a function: it reads one CloudEvent in structured
// JSON from stdin and answers with another one, its text in upper case.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// exitPermanent tells the receiver that trying this event again is no use.
const exitPermanent = 65

type event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	DataType    string `json:"datacontenttype,omitempty"`
	Data        any    `json:"data,omitempty"`
}

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(1, "read stdin: %v", err)
	}
	var e event
	if err := json.Unmarshal(in, &e); err != nil {
		fail(exitPermanent, "stdin is not an event: %v", err)
	}
	text, ok := textOf(e.Data)
	if !ok {
		fail(exitPermanent, `event %s: data must be a text or {"text": "…"}`, e.ID)
	}
	answer := event{
		SpecVersion: "1.0",
		ID:          e.ID + "-uppercase",
		Source:      "/samples/uppercase-go",
		Type:        "dev.kontain.samples.uppercase",
		DataType:    "application/json",
		Data:        map[string]string{"text": strings.ToUpper(text)},
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fail(1, "write stdout: %v", err)
	}
}

// textOf takes the text from data that is a string or an object with one.
func textOf(data any) (string, bool) {
	if object, ok := data.(map[string]any); ok {
		data = object["text"]
	}
	text, ok := data.(string)
	return text, ok
}

func fail(status int, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "uppercase-go: "+format+"\n", args...)
	os.Exit(status)
}
