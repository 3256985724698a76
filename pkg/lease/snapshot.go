// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

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
	limits := spec.Limits
	limits.Wall = startTimeout
	snapshot, err := w.host.NewSnapshot(ctx, f.program, limits)
	if err != nil {
		return nil, err
	}
	clone := func() (machine, error) {
		vm, err := w.host.Clone(snapshot, spec.Limits)
		if err != nil {
			return nil, fmt.Errorf("make a virtual machine: %w", err) // and no nil *VM in an interface
		}
		return vm, nil
	}
	// The first one shows that the snapshot can be used.
	first, err := clone()
	if err != nil {
		return nil, errors.Join(err, snapshot.Close())
	}
	if len(snapshot.Stdout) > 0 {
		log.Warn("what the program wrote to stdout before it read its event is no part of its replies", "program", spec.Program, "text", tail(snapshot.Stdout))
	}
	if len(snapshot.Stderr) > 0 {
		log.Info("stderr of the start", "program", spec.Program, "text", tail(snapshot.Stderr))
	}
	return &cloned{fresh: f, snapshot: snapshot, pool: newPool(w, clone, first, spec)}, nil
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
}

// Lease returns a machine that waits for its event.
func (s *cloned) Lease(ctx context.Context, r Request) (VM, error) { return s.pool.Lease(ctx, r) }

// Stats describes the pool.
func (s *cloned) Stats() Stats {
	st := s.pool.stats()
	st.Start = s.snapshot.Took
	return st
}

// Close closes the machines, then what they were made from.
func (s *cloned) Close() error {
	return errors.Join(s.pool.Close(), s.snapshot.Close(), s.fresh.Close())
}
