// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command sensor-go is the program of a source that runs on: it measures again and again,
// and writes a line with an event each time. When it is asked to end it says how much it
// has measured.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// run is the part of the event it is started with that counts here.
type run struct {
	ID string `json:"id"`
}

func main() {
	every := time.Second
	var err error
	if len(os.Args) > 1 {
		every, err = time.ParseDuration(os.Args[1])
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = measure(ctx, os.Stdin, os.Stdout, every)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sensor-go:", err)
		os.Exit(1) // it is started again
	}
}

func measure(ctx context.Context, in io.Reader, out io.Writer, every time.Duration) error {
	var r run
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("the event of the start: %w", err)
	}
	fmt.Fprintln(os.Stderr, "measuring every", every)
	w := json.NewEncoder(out) // a line at a time
	write := func(n int, kind string, data any) error {
		return w.Encode(map[string]any{
			"specversion": "1.0",
			"id":          fmt.Sprintf("%s.%d", r.ID, n), // no other start has it
			"source":      "/samples/sensor-go",
			"type":        "dev.kontain.samples.sensor." + kind,
			"time":        time.Now().UTC(),
			"data":        data,
		})
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
			// Where nobody takes them, this waits.
			if err := write(n, "measured", map[string]float64{"celsius": celsius(time.Now())}); err != nil {
				return err
			}
		case <-ctx.Done():
			return write(n, "stopped", map[string]int{"measured": n - 1})
		}
	}
}

// celsius stands for what a sensor would show: it is cold at night.
func celsius(t time.Time) float64 {
	day := float64(t.Unix()%86400) / 86400
	return math.Round(100*(18-6*math.Cos(2*math.Pi*day))) / 100
}
