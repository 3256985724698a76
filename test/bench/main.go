// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what the documentation promises: one event through
// HTTP, the same in a machine alone, the start of a program against the same
// program run natively, the speed of computing in a virtual machine, and the cost
// of each kind of exit. It prints a table and writes JSON. `make bench` builds and
// runs it.
//
// Whatever is compared with a native run is measured in pairs, one after the
// other, so that a change of the machine's speed meets both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	binDir := flag.String("bin", "bin", "folder with kontain and samples/")
	jsonFile := flag.String("json", "", "file for the results as JSON; - is stdout instead of the table")
	only := flag.String("only", "", "measure only one group: event, engine, snapshot, start, compute or exit")
	quick := flag.Bool("quick", false, "a tenth of the repetitions: to see that it works")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, *binDir, *jsonFile, *only, *quick)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binDir, jsonFile, only string, quick bool) (err error) {
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	bin, err := filepath.Abs(binDir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(bin, "kontain")); err != nil {
		return fmt.Errorf("%w (run make build first)", err)
	}
	dir, err := os.MkdirTemp("", "kontain-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g, err := buildGuests(ctx, dir)
	if err != nil {
		return err
	}
	b := &bench{bin: bin, dir: dir, guests: g, report: newReport()}
	b.repeat = 1
	if quick {
		b.repeat = 0.1
	}
	groups := []struct {
		name    string
		measure func(context.Context) error
	}{
		{"event", b.events},
		{"engine", b.engines},
		{"snapshot", b.snapshots},
		{"start", b.starts},
		{"compute", b.compute},
		{"exit", b.exits},
	}
	found := false
	for _, group := range groups {
		if only != "" && only != group.name {
			continue
		}
		found = true
		fmt.Fprintf(os.Stderr, "measuring: %s\n", group.name)
		if err := group.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", group.name, err)
		}
	}
	if !found {
		return fmt.Errorf("--only %q: must be event, engine, snapshot, start, compute or exit", only)
	}
	return errors.Join(b.report.write(os.Stdout, jsonFile), errors.Join(b.failed...))
}
