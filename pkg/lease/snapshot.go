// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/vmexec"
)

// startTimeout is how long a program may run until it waits for its event.
const startTimeout = 20 * time.Second

// New returns the Source that spec asks for. With a snapshot it runs the program
// until that waits for its event, at most 20 seconds. A program that ends or is
// stopped before, or that no snapshot can be taken of, is started anew for each
// event instead: log and Stats say so. The error is a *vmexec.ProgramError when
// the program cannot run at all.
func (w *Workers) New(ctx context.Context, spec Spec, log *slog.Logger) (Source, error) {
	f, err := newFresh(w.host, spec)
	if err != nil || !spec.Snapshot {
		return f, err
	}
	s, err := w.newCloned(ctx, spec, f, log)
	if err == nil {
		return s, nil
	}
	var pe *vmexec.ProgramError
	if ctx.Err() != nil || errors.As(err, &pe) {
		return nil, errors.Join(err, f.Close())
	}
	f.noSnapshot = err.Error()
	args := []any{"program", spec.Program, "reason", f.noSnapshot, "todo", "let the program read stdin once its set-up is done, or write snapshot: {mode: Never}"}
	var none *vmexec.NoWaitError
	if errors.As(err, &none) && len(none.Result.Stderr) > 0 {
		args = append(args, "stderr", tail(none.Result.Stderr))
	}
	log.Warn("there is no snapshot, so the program is started anew for each event", args...)
	return f, nil
}

func (w *Workers) newCloned(ctx context.Context, spec Spec, f *fresh, log *slog.Logger) (*cloned, error) {
	s := &cloned{fresh: f}
	if err := s.load(w, spec, log); err != nil {
		return nil, err
	}
	cloneOf := w.host.CloneOnce
	if spec.Tier == TierReset {
		cloneOf = w.host.Clone
	}
	clone := func() (machine, error) {
		vm, err := cloneOf(s.snapshot, spec.Limits)
		if err != nil {
			return nil, fmt.Errorf("make a virtual machine: %w", err) // and no nil *VM in an interface
		}
		return vm, nil
	}
	if s.snapshot == nil {
		if err := s.start(ctx, w, spec, log); err != nil {
			return nil, err
		}
	}
	if !s.snapshot.Learned() {
		s.warmUp(ctx, w, spec, log)
	}
	// The first one shows that the snapshot can be used.
	first, err := clone()
	if err != nil {
		return nil, errors.Join(err, s.snapshot.Close())
	}
	s.pool = newPool(w, clone, first, spec, s.snapshot.Learned())
	if s.key != "" && s.file == "" {
		s.saving.Go(func() { s.save(w.store, spec.Tag, log) })
	}
	return s, nil
}

// load takes the snapshot from disk when there is one that fits. It is no error
// when there is none.
func (s *cloned) load(w *Workers, spec Spec, log *slog.Logger) error {
	if !spec.Disk || w.store == nil || spec.Secret {
		return nil
	}
	limits := spec.Limits
	key, err := w.host.SnapshotKey(s.fresh.program, limits, spec.Tag)
	if err != nil {
		return err
	}
	s.key = key
	begin := time.Now()
	path := w.store.Path(key)
	s.snapshot, err = w.host.LoadSnapshot(s.fresh.program, limits, path)
	if err == nil {
		s.file, s.loaded = path, time.Since(begin)
		log.Info("the snapshot was loaded from disk, so the program was not started", "program", spec.Program, "file", path, "took", s.loaded)
		return nil
	}
	var bad *vmexec.SnapshotError
	switch {
	case !errors.As(err, &bad):
		return err
	case bad.Reason != vmexec.SnapshotMissing:
		log.Warn("the snapshot on disk is not used; the program is started, and the snapshot made anew", "program", spec.Program, "reason", err)
	}
	return nil
}

// Start runs a program until it waits for its event, at most 20 seconds, and
// returns the snapshot of it. Its errors are those of vmexec.Host.NewSnapshot.
func Start(ctx context.Context, host *vmexec.Host, program *vmexec.Program, limits vmexec.Limits) (*vmexec.Snapshot, error) {
	limits.Wall, limits.CPU = startTimeout, 0
	return host.NewSnapshot(ctx, program, limits)
}

// start runs the program until it waits for its event.
func (s *cloned) start(ctx context.Context, w *Workers, spec Spec, log *slog.Logger) (err error) {
	if s.snapshot, err = Start(ctx, w.host, s.fresh.program, spec.Limits); err != nil {
		return err
	}
	if len(s.snapshot.Stdout) > 0 {
		log.Warn("what the program wrote to stdout before it read its event is no part of its replies", "program", spec.Program, "text", tail(s.snapshot.Stdout))
	}
	if len(s.snapshot.Stderr) > 0 {
		log.Info("stderr of the start", "program", spec.Program, "text", tail(s.snapshot.Stderr))
	}
	return nil
}

// warmUp runs the events of spec.Warmup.
func (s *cloned) warmUp(ctx context.Context, w *Workers, spec Spec, log *slog.Logger) {
	for i, event := range spec.Warmup {
		if err := WarmUp(ctx, w.host, s.snapshot, spec.Limits, event); err != nil {
			s.warmup = fmt.Sprintf("event %d of %d: %v", i+1, len(spec.Warmup), err)
			log.Warn("an event that warms up failed; events are served all the same", "program", spec.Program, "event", i+1, "of", len(spec.Warmup), "reason", err)
		}
	}
}

// WarmUp runs an event in a machine of its own, which is thrown away with what the
// program wrote. The first one that ends well shows what memory an event needs.
// The error says how it ended otherwise.
func WarmUp(ctx context.Context, host *vmexec.Host, snapshot *vmexec.Snapshot, limits vmexec.Limits, event []byte) error {
	vm, err := host.Clone(snapshot, limits)
	if err != nil {
		return err
	}
	defer func() { _ = vm.Close() }() // it is thrown away in any case
	r, err := vm.Run(ctx, vmexec.IO{Event: event})
	switch {
	case err != nil:
		return err
	case r.Message != "" && len(r.Stderr) > 0:
		return fmt.Errorf("%s; stderr ends: %s", r.Message, tail(r.Stderr))
	case r.Message != "":
		return errors.New(r.Message)
	}
	return nil
}

// save writes the snapshot to disk, away from the requests.
func (s *cloned) save(store *snapshots.Store, tag string, log *slog.Logger) {
	begin := time.Now()
	err := store.Save(s.snapshot, s.key, tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.noFile = err.Error()
		log.Warn("the snapshot is in memory only: the program is started again after a restart", "reason", err)
		return
	}
	s.file = store.Path(s.key)
	log.Info("the snapshot was saved", "file", s.file, "took", time.Since(begin))
}

// tail returns the end of what a program wrote, for the log.
func tail(b []byte) string {
	const most = 4 << 10
	return strings.ToValidUTF8(string(b[max(0, len(b)-most):]), "\uFFFD")
}

// cloned hands out machines made from a snapshot.
type cloned struct {
	fresh    *fresh
	snapshot *vmexec.Snapshot
	pool     *pool
	warmup   string // what went wrong with it

	key    string // of the file; empty when there is to be none
	loaded time.Duration
	saving sync.WaitGroup

	mu     sync.Mutex // guards what follows while it is being saved
	file   string
	noFile string
}

// Lease returns a machine that waits for its event.
func (s *cloned) Lease(ctx context.Context, r Request) (VM, error) { return s.pool.Lease(ctx, r) }

// Stats describes the pool.
func (s *cloned) Stats() Stats {
	st := s.pool.stats()
	st.Start, st.Load, st.Warmup = s.snapshot.Took, s.loaded, s.warmup
	s.mu.Lock()
	defer s.mu.Unlock()
	st.File, st.NoFile = s.file, s.noFile
	return st
}

// Close closes the machines, then what they were made from.
func (s *cloned) Close() error {
	err := s.pool.Close()
	s.saving.Wait()
	return errors.Join(err, s.snapshot.Close(), s.fresh.Close())
}
