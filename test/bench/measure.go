// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"time"

	"kontain.dev/eventing/vmexec"
)

type bench struct {
	bin, dir string
	guests   *guests
	report   *report
	programs []*function // see functions
	repeat   float64     // factor on the number of repetitions
	failed   []error     // of single rows
}

// times is how often to repeat what is normally repeated n times.
func (b *bench) times(n int) int { return max(3, int(float64(n)*b.repeat)) }

// fill sets the exits, and the calls answered without one, of a row from a run that did ops operations.
func (r *row) fill(stats *vmexec.Stats, ops float64) {
	r.Exits = float64(stats.Exits) / ops
	r.Kinds = map[string]float64{}
	for name, n := range stats.Syscalls {
		r.Kinds["call "+name] = float64(n) / ops
	}
	for name, n := range stats.Exceptions {
		r.Kinds["exception "+name] = float64(n) / ops
	}
	r.Answered = float64(stats.Answered) / ops
	if stats.Kicks > 0 {
		r.Kinds["kick"] = float64(stats.Kicks) / ops
	}
	maps.DeleteFunc(r.Kinds, func(_ string, n float64) bool { return n == 0 })
}

// starts measures `kontain run` of a program that prints hello against the
// program itself, from before the process starts to after it ended.
func (b *bench) starts(ctx context.Context) error {
	type hello struct {
		language string
		command  []string
		err      error
	}
	programs := []hello{{"Go", []string{b.guests.goHello}, nil}, {"C", []string{b.guests.c, "hello"}, b.guests.cErr}}
	for _, p := range programs {
		name := "kontain run hello, " + p.language
		if p.err != nil {
			b.report.skip(name, p.err)
			continue
		}
		inVM := append([]string{filepath.Join(b.bin, "kontain"), "run", "--"}, p.command...)
		var vm, native, machine []float64
		l, err := load(p.command[0], p.command[1:]...)
		if err != nil {
			return err
		}
		var result *vmexec.Result
		for i := range b.times(100) + 1 {
			took, err := timeProgram(ctx, p.command)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			tookVM, err := timeProgram(ctx, inVM)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			r, tookMachine, err := l.run(ctx, nil)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			if i > 0 { // the first one warms caches
				native, vm, machine = append(native, float64(took)), append(vm, float64(tookVM)), append(machine, float64(tookMachine))
				result = r
			}
		}
		if err := l.Close(); err != nil {
			return err
		}
		b.report.add(name, vm, native).fill(&result.Stats, 1)
		line := b.report.add("… the virtual machine alone, "+p.language, machine, nil)
		line.fill(&result.Stats, 1)
		line.Note = fmt.Sprintf("create %s, load %s, run %s", duration(float64(result.Stats.Create)),
			duration(float64(result.Stats.Load)), duration(float64(result.Stats.Run)))
	}
	return nil
}

// timeProgram runs a command that prints hello.
func timeProgram(ctx context.Context, command []string) (time.Duration, error) {
	start := time.Now()
	out, err := runNative(ctx, nil, command[0], command[1:]...)
	took := time.Since(start)
	if err == nil && string(out) != "hello\n" {
		err = fmt.Errorf("%v printed %q", command, out)
	}
	return took, err
}

// pairs runs a mode of a guest n times natively and in a machine, in turns,
// and returns nanoseconds for one operation.
func (b *bench) pairs(ctx context.Context, n int, mode string, count int) (vm, native []float64, last *vmexec.Result, err error) {
	for range n {
		c := strconv.Itoa(count)
		outside, err := b.guests.runGuestNative(ctx, mode, c)
		if err != nil {
			return nil, nil, nil, err
		}
		inside, result, err := b.guests.runGuest(ctx, mode, c)
		if err != nil {
			return nil, nil, nil, err
		}
		vm, native, last = append(vm, inside.each()), append(native, outside.each()), result
	}
	return vm, native, last, nil
}

// compute measures work without system calls, about a second a run.
func (b *bench) compute(ctx context.Context) error {
	tests := []struct {
		name, mode string
		guess      int // operations of the first, short run
	}{
		{"compute, integers in registers", "spin", 10_000_000},
		{"compute, random walk over 16 MiB", "walk", 200_000},
		{"compute, matrices of 128 × 128 (Go)", "matmul", 100},
		{"compute, SHA-256 of 64 KiB (Go)", "sha256", 1000},
		{"compute, gzip of 64 KiB (Go)", "gzip", 50},
	}
	for _, test := range tests {
		if _, err := b.guests.program(test.mode); err != nil {
			b.report.skip(test.name, err)
			continue
		}
		first, err := b.guests.runGuestNative(ctx, test.mode, strconv.Itoa(test.guess))
		if err != nil {
			return err
		}
		count := int(1e9 * b.repeat / first.each())
		vm, native, result, err := b.pairs(ctx, b.times(7), test.mode, count)
		if err != nil {
			return err
		}
		line := b.report.add(test.name, vm, native)
		line.Exits = float64(result.Stats.Exits) / float64(count)
		line.Note = fmt.Sprintf("speed 0.95 or more is wanted; %d operations and %d exits a run", count, result.Stats.Exits)
	}
	return nil
}

// exits measures what it costs to leave the machine, by the reason.
func (b *bench) exits(ctx context.Context) error {
	tests := []struct {
		name, mode string
		count      int
		note       string
	}{
		{"exit: system call (getpid)", "getpid", 20_000, ""},
		{"exit: first touch of 2 MiB", "touch", 100, "page fault served by mapping memory"},
		{"exit: SIGSEGV to a handler", "faults", 5_000, "page fault, delivery, sigreturn"},
		{"exit: timer signal while computing", "ticked", 200, "kick, delivery, sigreturn; every 2 ms"},
		{"no exit: clock_gettime (vDSO)", "clock", 1_000_000, ""},
	}
	for _, test := range tests {
		if b.guests.c == "" {
			b.report.skip(test.name, b.guests.cErr)
			continue
		}
		vm, native, result, err := b.pairs(ctx, b.times(15), test.mode, test.count)
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // the others are worth having all the same
			b.report.skip(test.name, err)
			b.failed = append(b.failed, err)
			continue
		}
		line := b.report.add(test.name, vm, native)
		line.fill(&result.Stats, float64(test.count))
		line.Note = test.note
	}
	return nil
}
