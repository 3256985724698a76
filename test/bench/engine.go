// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"kontain.dev/eventing/vmexec"
)

// engine are the times of one event in machines made from a snapshot, without
// HTTP, in nanoseconds.
type engine struct {
	afterReset, reset         []float64
	clone, inClone, close     []float64
	resetStats, cloneStats    vmexec.Stats // of the last run
	snapshotTook, programTook time.Duration
}

// measure takes n events through a machine that is reset after each, and n
// through clones, in turns.
func (l *loaded) measure(ctx context.Context, n int) (e *engine, err error) {
	limits := vmexec.Limits{Memory: 128 << 20, Wall: 10 * time.Second}
	start := time.Now()
	snapshot, err := l.host.NewSnapshot(ctx, l.program, limits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	e = &engine{snapshotTook: time.Since(start), programTook: snapshot.Took}
	kept, err := l.host.Clone(snapshot, limits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	run := func(vm *vmexec.VM, to *[]float64, stats *vmexec.Stats) error {
		start := time.Now()
		r, err := vm.Run(ctx, vmexec.IO{Event: []byte(eventJSON)})
		*to = append(*to, float64(time.Since(start)))
		if err != nil {
			return err
		}
		if r.ExitStatus() != 0 || len(r.Stdout) == 0 {
			return fmt.Errorf("%s in a clone: %s, status %d: %s: %s", l.name, r.Reason, r.ExitStatus(), r.Message, r.Stderr)
		}
		*stats = r.Stats
		return nil
	}
	timed := func(to *[]float64, do func() error) error {
		start := time.Now()
		err := do()
		*to = append(*to, float64(time.Since(start)))
		return err
	}
	const warm = 20
	for i := range warm + n {
		if i == warm {
			e.afterReset, e.reset, e.clone, e.inClone, e.close = nil, nil, nil, nil, nil
		}
		if err := run(kept, &e.afterReset, &e.resetStats); err != nil {
			return nil, err
		}
		if err := timed(&e.reset, kept.Reset); err != nil {
			return nil, err
		}
		var vm *vmexec.VM
		if err := timed(&e.clone, func() (err error) { vm, err = l.host.Clone(snapshot, limits); return err }); err != nil {
			return nil, err
		}
		runErr := run(vm, &e.inClone, &e.cloneStats)
		if err := errors.Join(runErr, timed(&e.close, vm.Close)); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// engines measures events without HTTP.
func (b *bench) engines(ctx context.Context) error {
	for _, s := range samplePrograms {
		program := filepath.Join(b.bin, "samples", s.name)
		if _, err := os.Stat(program); err != nil {
			b.report.skip("engine, "+s.language, fmt.Errorf("%w; see make build", err))
			continue
		}
		l, err := load(program)
		if err != nil {
			return err
		}
		e, err := l.measure(ctx, b.times(2000))
		if err := errors.Join(err, l.Close()); err != nil {
			return err
		}
		line := b.report.add("engine, run after a reset, "+s.language, e.afterReset, nil)
		line.fill(&e.resetStats, 1)
		line = b.report.add("… reset, "+s.language, e.reset, nil)
		line.Note = fmt.Sprintf("%d pages copied back", e.resetStats.DirtyPages)
		line = b.report.add("engine, run in a clone, "+s.language, e.inClone, nil)
		line.fill(&e.cloneStats, 1)
		line = b.report.add("… clone, "+s.language, e.clone, nil)
		line.Note = fmt.Sprintf("snapshot made in %s, %s of it the program's start", duration(float64(e.snapshotTook)), duration(float64(e.programTook)))
		b.report.add("… close a clone, "+s.language, e.close, nil)
	}
	return nil
}
