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
// stopped before is started anew for each event instead: log and Stats say so.
// The error is a *vmexec.ProgramError when the program cannot run at all.
func (w *Workers) New(ctx context.Context, spec Spec, log *slog.Logger) (Source, error) {
	f, err := newFresh(w.host, spec)
	if err != nil || !spec.Snapshot {
		return f, err
	}
	limits := spec.Limits
	limits.Wall = startTimeout
	snapshot, err := w.host.NewSnapshot(ctx, f.program, limits)
	var none *vmexec.NoWaitError
	switch {
	case errors.As(err, &none) && none.Result.Reason == vmexec.Canceled:
		return nil, errors.Join(err, f.Close())
	case errors.As(err, &none):
		f.noSnapshot = none.Error()
		log.Warn("there is no snapshot, so the program is started anew for each event", "program", spec.Program, "reason", f.noSnapshot, "stderr", strings.ToValidUTF8(string(tail(none.Result.Stderr)), "\uFFFD"),
			"todo", "let the program read stdin once its set-up is done, or write snapshot: {mode: Never}")
		return f, nil
	case err != nil:
		return nil, errors.Join(fmt.Errorf("make a snapshot: %w", err), f.Close())
	}
	s := &cloned{fresh: f, snapshot: snapshot}
	s.pool = newPool(w, func() (machine, error) {
		vm, err := w.host.Clone(snapshot, spec.Limits)
		if err != nil {
			return nil, fmt.Errorf("make a virtual machine: %w", err) // not a nil *VM in an interface
		}
		return vm, nil
	}, spec)
	return s, nil
}

// tail returns the end of what a program wrote to stderr, for the log.
func tail(b []byte) []byte {
	const most = 4 << 10
	return b[max(0, len(b)-most):]
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
