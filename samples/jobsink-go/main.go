// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command jobsink-go is a job as Knative's JobSink runs them: it finds its CloudEvent
// in the file event of the folder K_EVENT_PATH, and says what it has done on stdout.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// exitPermanent tells the receiver that trying this event again is no use.
const exitPermanent = 65

type event struct {
	ID   string `json:"id"`
	Data struct {
		Values []float64 `json:"values"`
	} `json:"data"`
}

func main() {
	// What a job does before it opens the file is done once, not for each event.
	folder := os.Getenv("K_EVENT_PATH")
	if folder == "" {
		folder = "/etc/jobsink-event" // where JobSink puts it
	}
	text, err := os.ReadFile(filepath.Join(folder, "event"))
	if err != nil {
		fail(1, "read the event: %v", err)
	}
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		fail(exitPermanent, "the event is not what was expected: %v", err)
	}
	if len(e.Data.Values) == 0 {
		fail(exitPermanent, `event %s: data must be {"values": [NUMBER…]}`, e.ID)
	}
	sum, least, most := 0.0, math.Inf(1), math.Inf(-1)
	for _, v := range e.Data.Values {
		sum += v
		least, most = min(least, v), max(most, v)
	}
	fmt.Printf("{\"count\":%d,\"mean\":%g,\"least\":%g,\"most\":%g}\n", len(e.Data.Values), sum/float64(len(e.Data.Values)), least, most)
}

func fail(status int, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "jobsink-go: "+format+"\n", args...)
	os.Exit(status)
}
