// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"kontain.dev/eventing/vmexec"
)

// snapshots measures snapshots on disk: writing one, reading it, and the first clone
// of it with its first event, beside those of the snapshot in memory.
func (b *bench) snapshots(ctx context.Context) (err error) {
	var all []*loaded
	defer func() {
		for _, l := range all {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, language := range []string{"C", "Go", "Python"} {
		l, err := b.function(language).load(vmexec.Auto)
		if err != nil {
			b.report.skip("snapshot on disk, "+language, err)
			continue
		}
		all = append(all, l)
	}
	for _, l := range all {
		if err := b.snapshotOf(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) snapshotOf(ctx context.Context, l *loaded) (err error) {
	limits := vmexec.Limits{Memory: 256 << 20, Wall: time.Minute}
	memory, err := l.host.NewSnapshot(ctx, l.program, limits, vmexec.Wait{})
	if err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	defer func() { err = errors.Join(err, memory.Close()) }()
	file := filepath.Join(b.dir, "snapshot-"+l.name)
	timed := func(to *[]float64, do func() error) error {
		start := time.Now()
		err := do()
		*to = append(*to, float64(time.Since(start)))
		return err
	}
	// first makes the first clone of a snapshot, which knows nothing of its events,
	// and gives it one.
	first := func(s *vmexec.Snapshot, clone, run *[]float64) error {
		var vm *vmexec.VM
		if err := timed(clone, func() (err error) { vm, err = l.host.Clone(s, limits); return err }); err != nil {
			return err
		}
		runErr := timed(run, func() error {
			r, err := vm.Run(ctx, vmexec.IO{Event: []byte(eventJSON)})
			if err == nil && (r.ExitStatus() != 0 || len(r.Stdout) == 0) {
				err = fmt.Errorf("%s: %s: %s", l.name, r.Message, r.Stderr)
			}
			return err
		})
		return errors.Join(runErr, vm.Close())
	}
	var save, load, cloneDisk, runDisk, cloneMemory, runMemory []float64
	for range b.times(50) {
		if err := timed(&save, func() error { return memory.Save(file, "") }); err != nil {
			return err
		}
		var disk *vmexec.Snapshot
		if err := timed(&load, func() (err error) { disk, err = l.host.LoadSnapshot(l.program, limits, file); return err }); err != nil {
			return err
		}
		if err := errors.Join(first(disk, &cloneDisk, &runDisk), disk.Close()); err != nil {
			return err
		}
		// Only the first clone of a snapshot is the first: the one in memory is made anew.
		again, err := l.host.NewSnapshot(ctx, l.program, limits, vmexec.Wait{})
		if err != nil {
			return err
		}
		if err := errors.Join(first(again, &cloneMemory, &runMemory), again.Close()); err != nil {
			return err
		}
	}
	info, err := vmexec.ReadSnapshotInfo(file, false)
	if err != nil {
		return err
	}
	line := b.report.add("snapshot on disk, save, "+l.name, save, nil)
	line.Note = fmt.Sprintf("%d KiB of memory, %d KiB of state; the start took %s", info.Data>>10, info.State.Bytes>>10, duration(float64(memory.Took)))
	b.report.add("… load, "+l.name, load, nil)
	b.report.add("… first clone, from disk, "+l.name, cloneDisk, nil)
	b.report.add("… its event, "+l.name, runDisk, nil)
	b.report.add("… first clone, from memory, "+l.name, cloneMemory, nil)
	b.report.add("… its event, "+l.name, runMemory, nil)
	return nil
}
