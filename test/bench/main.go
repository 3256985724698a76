// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what the documentation promises: one event through
// HTTP, beside what people would use instead, the same in a machine alone, the start
// of a program against the same program run natively, the speed of computing in a
// virtual machine, and the cost of each kind of exit. It prints a table and writes
// JSON and Markdown. `make bench` builds and runs it.
//
// Whatever is compared is measured in turns, one after the other, so that a change of
// the machine's speed meets all of it. What is missing here is named and left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == peerServer {
		if err := servePeers(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: the server of peers:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder with kontain and samples/")
	flag.StringVar(&o.json, "json", "", "file for the results as JSON; - is stdout instead of the table")
	flag.StringVar(&o.markdown, "markdown", "", "file for the results as a page of Markdown")
	flag.StringVar(&o.only, "only", "", "measure only some groups, with commas between them: "+strings.Join(groupNames(), ", "))
	flag.BoolVar(&o.quick, "quick", false, "a tenth of the repetitions: to see that it works")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, json, markdown, only string
	quick                     bool
}

// groups are the rows that are measured together.
var groups = []struct {
	name, title string
	measure     func(*bench, context.Context) error
}{
	{"event", "Events over HTTP, ours and those of peers in turns", (*bench).events},
	{"contract", "Events of each contract, and of the same servers natively", (*bench).contracts},
	{"burst", "Many events at once", (*bench).bursts},
	{"idle", "First events, and sinks without any", (*bench).idles},
	{"source", "Sources", (*bench).sources},
	{"image", "Container images", (*bench).images},
	{"engine", "Events without HTTP", (*bench).engines},
	{"snapshot", "Snapshots on disk", (*bench).snapshots},
	{"start", "Starts of programs", (*bench).starts},
	{"compute", "Computing", (*bench).compute},
	{"exit", "Exits", (*bench).exits},
}

func groupNames() (names []string) {
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// wanted returns which groups to measure.
func (o options) wanted() (map[string]bool, error) {
	names := groupNames()
	if o.only != "" {
		names = strings.Split(o.only, ",")
	}
	wanted := map[string]bool{}
	for _, name := range names {
		if !slices.Contains(groupNames(), name) {
			return nil, fmt.Errorf("--only %q: there is no group %q; there are %s", o.only, name, strings.Join(groupNames(), ", "))
		}
		wanted[name] = true
	}
	return wanted, nil
}

func run(ctx context.Context, o options) (err error) {
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	wanted, err := o.wanted()
	if err != nil {
		return err
	}
	bin, err := filepath.Abs(o.bin)
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
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	g, err := buildGuests(ctx, dir)
	if err != nil {
		return err
	}
	b := &bench{bin: bin, dir: dir, guests: g, report: newReport()}
	b.report.Versions = b.versions(ctx)
	b.repeat = 1
	if o.quick {
		b.repeat, b.report.Quick = 0.1, true
	}
	start := time.Now()
	for _, group := range groups {
		if !wanted[group.name] {
			continue
		}
		b.report.group = group.title
		if ctx.Err() != nil { // what was measured before a signal is kept
			b.report.skip(group.name, ctx.Err())
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", group.name)
		if err := group.measure(b, ctx); err != nil { // the others are worth having all the same
			err = fmt.Errorf("%s: %w", group.name, err)
			b.report.skip(group.name, err)
			b.failed = append(b.failed, err)
		}
	}
	b.report.Took = time.Since(start).Seconds()
	return errors.Join(b.report.write(os.Stdout, o.json, o.markdown), errors.Join(b.failed...), ctx.Err())
}
