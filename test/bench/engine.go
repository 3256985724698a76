// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kontain.dev/eventing/vmexec"
)

// engine is a program that is measured without HTTP, in machines made from a
// snapshot and started anew. Times are nanoseconds.
type engine struct {
	*loaded
	name     string // of the rows
	limits   vmexec.Limits
	snapshot *vmexec.Snapshot
	kept     *vmexec.VM // which is reset after each event

	rounds                            int
	afterReset, reset                 []float64
	clone, inClone, close, cold       []float64
	resetStats, cloneStats, coldStats vmexec.Stats // of the last run
	snapshotTook, programTook         time.Duration
}

// engine takes a snapshot of the program.
func (l *loaded) engine(ctx context.Context) (*engine, error) {
	e := &engine{loaded: l, limits: vmexec.Limits{Memory: 128 << 20, Wall: 10 * time.Second}}
	start := time.Now()
	var err error
	if e.snapshot, err = l.host.NewSnapshot(ctx, l.program, e.limits, vmexec.Wait{}); err != nil {
		return nil, err
	}
	e.snapshotTook, e.programTook = time.Since(start), e.snapshot.Took
	if e.kept, err = l.host.Clone(e.snapshot, e.limits); err != nil {
		return nil, errors.Join(err, e.snapshot.Close())
	}
	return e, nil
}

// Close frees what engine made.
func (e *engine) Close() error { return errors.Join(e.kept.Close(), e.snapshot.Close()) }

// begin forgets what was measured.
func (e *engine) begin() {
	e.afterReset, e.reset, e.clone, e.inClone, e.close, e.cold = nil, nil, nil, nil, nil, nil
}

func (e *engine) run(ctx context.Context, vm *vmexec.VM, to *[]float64, stats *vmexec.Stats) error {
	start := time.Now()
	r, err := vm.Run(ctx, vmexec.IO{Event: []byte(eventJSON)})
	*to = append(*to, float64(time.Since(start)))
	if err != nil {
		return err
	}
	if r.ExitStatus() != 0 || len(r.Stdout) == 0 {
		return fmt.Errorf("%s in a clone: %s, status %d: %s: %s", e.loaded.name, r.Reason, r.ExitStatus(), r.Message, r.Stderr)
	}
	*stats = r.Stats
	return nil
}

// coldEvery is how many rounds there are to one start, which takes as long as many
// of them.
const coldEvery = 10

// round takes one event through the machine that is reset, one through a clone, and
// now and then one through a machine of its own, started anew.
func (e *engine) round(ctx context.Context) error {
	timed := func(to *[]float64, do func() error) error {
		start := time.Now()
		err := do()
		*to = append(*to, float64(time.Since(start)))
		return err
	}
	if err := e.run(ctx, e.kept, &e.afterReset, &e.resetStats); err != nil {
		return err
	}
	if err := timed(&e.reset, e.kept.Reset); err != nil {
		return err
	}
	var vm *vmexec.VM
	if err := timed(&e.clone, func() (err error) { vm, err = e.host.CloneOnce(e.snapshot, e.limits); return err }); err != nil {
		return err
	}
	runErr := e.run(ctx, vm, &e.inClone, &e.cloneStats)
	if err := errors.Join(runErr, timed(&e.close, vm.Close)); err != nil {
		return err
	}
	if e.rounds++; e.rounds%coldEvery != 0 {
		return nil
	}
	r, took, err := e.loaded.run(ctx, []byte(eventJSON))
	if err != nil {
		return err
	}
	e.cold, e.coldStats = append(e.cold, float64(took)), r.Stats
	return nil
}

// engines measures events without HTTP, all programs and platforms in turns, so that
// a change of the machine's speed meets all of them.
func (b *bench) engines(ctx context.Context) (err error) {
	var all []*engine
	var closers []func() error
	defer func() { err = errors.Join(err, closeAll(closers)) }()
	for _, platform := range platforms {
		if !b.have(platform.kind, "engine"+platform.name) {
			continue
		}
		for _, language := range []string{"C", "Go"} {
			name := platform.name + ", " + language
			f := b.function(language)
			if f.err != nil {
				b.report.skip("engine"+name, f.err)
				continue
			}
			l, err := f.load(platform.kind)
			if err != nil {
				return err
			}
			closers = append(closers, l.Close)
			e, err := l.engine(ctx)
			if err != nil {
				return err
			}
			closers = append(closers, e.Close)
			e.name = name
			all = append(all, e)
		}
	}
	const warm = 20
	for i := range warm + b.times(2000) {
		for _, e := range all {
			if i == warm {
				e.begin()
			}
			if err := e.round(ctx); err != nil {
				return err
			}
		}
	}
	for _, e := range all {
		line := b.report.add("engine, run after a reset"+e.name, e.afterReset, nil)
		line.fill(&e.resetStats, 1)
		line = b.report.add("… reset"+e.name, e.reset, nil)
		line.Note = fmt.Sprintf("%d pages copied back", e.resetStats.DirtyPages)
		line = b.report.add("engine, run in a clone"+e.name, e.inClone, nil)
		line.fill(&e.cloneStats, 1)
		line = b.report.add("… clone"+e.name, e.clone, nil)
		line.Note = fmt.Sprintf("snapshot made in %s, %s of it the program's start", duration(float64(e.snapshotTook)), duration(float64(e.programTook)))
		b.report.add("… close a clone"+e.name, e.close, nil)
		line = b.report.add("engine, started anew"+e.name, e.cold, nil)
		line.fill(&e.coldStats, 1)
	}
	return nil
}

// closeAll calls the functions, the last one first.
func closeAll(closers []func() error) error {
	var errs []error
	for _, c := range slices.Backward(closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
