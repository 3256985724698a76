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
	"sync/atomic"
	"time"

	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// startTimeout is how long a program may run until it waits for its event.
const startTimeout = 20 * time.Second

// withStderr adds the end of what the program wrote to stderr.
func withStderr(err error, none *vmexec.NoWaitError) error {
	if none == nil || len(none.Result.Stderr) == 0 {
		return err
	}
	lines := strings.Split(strings.TrimSpace(tail(none.Result.Stderr)), "\n")
	return fmt.Errorf("%w; stderr ends: %s", err, strings.Join(lines[max(0, len(lines)-3):], " | "))
}

// newCloned returns the snapshot of a program, and a machine of it whose memory is
// reserved.
func (w *Workers) newCloned(ctx context.Context, spec Spec, f *fresh, log *slog.Logger) (*cloned, machine, error) {
	// What the program's start needs is enough for the first machine, later.
	if err := w.memory.await(ctx, spec.Limits.Memory, time.Now().Add(startTimeout)); err != nil {
		return nil, nil, fmt.Errorf("start the program: %w", err)
	}
	c, first, err := w.newReserved(ctx, spec, f, log)
	if err != nil {
		w.memory.release(spec.Limits.Memory)
		return nil, nil, err
	}
	return c, first, nil
}

// newReserved is newCloned with the memory of a machine reserved.
func (w *Workers) newReserved(ctx context.Context, spec Spec, f *fresh, log *slog.Logger) (*cloned, machine, error) {
	s := &cloned{fresh: f, program: spec.Program, isSnapshot: true, engine: &inside{host: w.host, program: f.program, limits: spec.Limits, ready: spec.Ready, outward: spec.outward, reset: spec.Tier == TierReset}}
	if w.worker != "" {
		e, err := newOutside(w, f, spec)
		if err != nil {
			return nil, nil, err
		}
		s.engine = e
	}
	first, err := s.fromDisk(w, spec, log)
	if err == nil && first == nil {
		first, err = s.start(ctx, spec, log)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.engine.Close())
	}
	if s.key != "" {
		save := func() { s.saving.Go(func() { s.save(w.store, spec.Tag, log) }) }
		if s.file == "" {
			save()
		}
		// Once an event has shown which memory events need, that is kept too, so that
		// the first event after a restart has it at hand.
		var kept atomic.Bool
		kept.Store(s.frozen.learned())
		s.onGood = func() {
			if !kept.Load() && s.frozen.learned() && kept.CompareAndSwap(false, true) {
				save()
			}
		}
	}
	return s, first, nil
}

// fromDisk takes the snapshot from disk when there is one that fits, and returns a
// machine of it. It is no error when there is none.
func (s *cloned) fromDisk(w *Workers, spec Spec, log *slog.Logger) (machine, error) {
	if !spec.Disk || w.store == nil || spec.Secret {
		return nil, nil
	}
	key, err := w.host.SnapshotKey(s.fresh.program, spec.Limits, spec.Tag)
	if err != nil {
		return nil, err
	}
	s.key = key
	begin := time.Now()
	path := w.store.Path(key)
	f, err := s.engine.load(path)
	if err != nil {
		var bad *vmexec.SnapshotError
		switch {
		case !errors.As(err, &bad):
			return nil, err
		case bad.Reason != vmexec.SnapshotMissing:
			logUnused(log, spec, err)
		}
		return nil, nil
	}
	took := time.Since(begin)
	// The first machine shows that the snapshot can be used.
	first, err := f.machine()
	if err != nil {
		logUnused(log, spec, err)
		return nil, f.Close()
	}
	s.frozen, s.file, s.loaded = f, path, took
	log.Info("the snapshot was loaded from disk, so the program was not started", "program", spec.Program, "file", path, "took", took)
	return first, nil
}

func logUnused(log *slog.Logger, spec Spec, err error) {
	log.Warn("the snapshot on disk is not used; the program is started, and the snapshot made anew", "program", spec.Program, "reason", err)
}

// Start runs a program until it waits for its event, at most 20 seconds, and
// returns the snapshot of it. ready is Spec.Ready, and outward the network outside, if
// there is one. Its errors are those of vmexec.Host.NewSnapshot.
func Start(ctx context.Context, host *vmexec.Host, program *vmexec.Program, limits vmexec.Limits, ready func(context.Context, *talk.Side) error, outward Outward) (*vmexec.Snapshot, error) {
	o, end := outward.begin(ctx)
	defer end()
	return host.NewSnapshot(ctx, program, startLimits(limits), vmexec.Wait{Talk: ready, Outward: o})
}

// start runs the program until it waits for its event, and returns a machine of the
// snapshot.
func (s *cloned) start(ctx context.Context, spec Spec, log *slog.Logger) (machine, error) {
	f, stdout, stderr, err := s.engine.start(ctx)
	if err != nil {
		return nil, err
	}
	if len(stdout) > 0 {
		log.Warn("what the program wrote to stdout before it read its event is no part of its replies", "program", spec.Program, "text", tail(stdout))
	}
	if len(stderr) > 0 {
		log.Info("stderr of the start", "program", spec.Program, "text", tail(stderr))
	}
	log.Info("the program was started", "program", spec.Program, "took", f.took())
	s.frozen = f
	if !f.learned() {
		s.warmUp(ctx, spec, log)
	}
	// The first machine shows that the snapshot can be used.
	first, err := f.machine()
	if err != nil {
		s.frozen = nil
		return nil, errors.Join(err, f.Close())
	}
	return first, nil
}

// warmUp runs the events of spec.Warmup, each in a machine of its own that is
// thrown away with what it wrote. The first that ends well shows what memory an
// event needs.
func (s *cloned) warmUp(ctx context.Context, spec Spec, log *slog.Logger) {
	for i, event := range spec.Warmup {
		if err := s.warmUpWith(ctx, event, spec.outward); err != nil {
			s.warmup = fmt.Sprintf("event %d of %d: %v", i+1, len(spec.Warmup), err)
			log.Warn("an event that warms up failed; events are served all the same", "program", spec.Program, "event", i+1, "of", len(spec.Warmup), "reason", err)
		}
	}
}

func (s *cloned) warmUpWith(ctx context.Context, event Warmup, outward Outward) error {
	vm, err := s.frozen.machine()
	if err != nil {
		return err
	}
	return warmUp(ctx, vm, event, outward)
}

// WarmUp runs an event in a machine of its own, which is thrown away with what the
// program wrote. The first one that ends well shows what memory an event needs.
// The error says how it ended otherwise.
func WarmUp(ctx context.Context, host *vmexec.Host, snapshot *vmexec.Snapshot, limits vmexec.Limits, event Warmup, outward Outward) error {
	vm, err := host.Clone(snapshot, limits)
	if err != nil {
		return err
	}
	return warmUp(ctx, vm, event, outward)
}

func warmUp(ctx context.Context, vm VM, event Warmup, outward Outward) error {
	defer func() { _ = vm.Close() }() // it is thrown away in any case
	o, end := outward.begin(ctx)
	defer end()
	io := vmexec.IO{Event: event.Event, Outward: o}
	var failed error
	if event.Talk != nil {
		io.Talk = func(ctx context.Context, s *talk.Side) { failed = event.Talk(ctx, s) }
	}
	r, err := vm.Run(ctx, io)
	switch {
	case err != nil:
		return err
	case r.Reason == vmexec.Answered && failed != nil:
		return failed
	case r.Message != "" && len(r.Stderr) > 0:
		return fmt.Errorf("%s; stderr ends: %s", r.Message, tail(r.Stderr))
	case r.Message != "":
		return errors.New(r.Message)
	}
	return nil
}

// save writes the snapshot to disk, away from the requests.
func (s *cloned) save(store *snapshots.Store, tag string, log *slog.Logger) {
	s.store.Lock() // what was saved later has more in it
	defer s.store.Unlock()
	begin := time.Now()
	err := store.Save(s.frozen, s.key, tag)
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

// cloned is what machines are made from: a snapshot or a program.
type cloned struct {
	fresh      *fresh
	program    string // path on this host
	engine     engine // nil: each event has the program started, in this process
	frozen     frozen // nil with engine
	isSnapshot bool
	warmup     string // what went wrong with it

	onGood func() // called after each event that ended well; may be nil

	key    string // of the file; empty when there is to be none
	loaded time.Duration
	saving sync.WaitGroup
	store  sync.Mutex // held while it is saved

	mu     sync.Mutex // guards what follows while it is being saved
	file   string
	noFile string
}

// describe adds what is known of a snapshot to the statistics of its machines.
func (s *cloned) describe(st *Stats) {
	st.Snapshot, st.NoSnapshot = s.isSnapshot, s.fresh.noSnapshot
	st.Start, st.Load, st.Warmup, st.Jail = s.frozen.took(), s.loaded, s.warmup, s.frozen.jail()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.File, st.NoFile = s.file, s.noFile
}

// Close frees it, once its machines are closed.
func (s *cloned) Close() error {
	if s.engine == nil {
		return s.fresh.Close()
	}
	s.engine.stop()
	s.saving.Wait()
	return errors.Join(s.frozen.Close(), s.engine.Close(), s.fresh.Close())
}
