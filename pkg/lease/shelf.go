// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kontain.dev/eventing/vmexec"
)

const (
	// maxUnused and maxUnusedBytes bound the programs that no sink uses at the
	// moment and that stay open all the same, for the next event.
	maxUnused      = 32
	maxUnusedBytes = 64 << 20
	// maxChecked bounds how many programs are remembered to be good.
	maxChecked = 4096
)

// shelf holds what machines are made from, a program and its snapshot, once for all
// sources that have the same. What no source uses is let go when there is not room for
// all, except for a snapshot that is in memory alone.
type shelf struct {
	w *Workers

	mu      sync.Mutex
	items   map[string]*item
	unused  []*item // that are open and may be closed; the last used last
	checked map[string]struct{}
	making  sync.WaitGroup
}

// item is what machines of one key are made from.
type item struct {
	key     string
	sources int                // that have it
	users   int                // of them that use it now, or wait for it
	made    *cloned            // nil: it is not open
	first   machine            // of made, which no pool has yet; its memory is reserved
	pending chan struct{}      // closed when it is made or that has failed; nil: it is not being made
	cancel  context.CancelFunc // of the making
	bytes   int64              // that it takes while it is open, about

	noSnapshot string // it was found that there is none, and why
	failures   int    // of making it, in a row
	failure    error
	retry      time.Time
}

// alone numbers specs that share with no other.
var alone atomic.Uint64

// key returns what two specs have in common whose machines are made from the same.
// The file of the program is looked at for it. With own a spec shares with no other: a
// sink whose workers are in a cell has a user of its own.
func (spec Spec) key(own bool) (string, error) {
	spec.Concurrency, spec.IdleTime = 0, 0
	var number uint64
	if own || spec.Tag == "" && (spec.Ready != nil || len(spec.Warmup) > 0) { // functions cannot be compared
		number = alone.Add(1)
	}
	b, err := json.Marshal(struct {
		Spec  Spec
		File  string
		Alone uint64
	}{spec, fileID(spec.Program), number})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return string(sum[:]), nil
}

// fileID returns what changes when a file does, or is built anew.
func fileID(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "unreadable"
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprint(st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// join adds a source. The error is a *vmexec.ProgramError when the program cannot run.
func (s *shelf) join(spec Spec) (*item, error) {
	key, err := spec.key(s.w.cells != nil)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	it := s.items[key]
	if it != nil {
		it.sources++
	}
	s.mu.Unlock()
	if it != nil {
		return it, nil
	}
	if err := s.check(spec); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if it = s.items[key]; it == nil {
		it = &item{key: key}
		s.items[key] = it
	}
	it.sources++
	return it, nil
}

// check reads the program once, without keeping it. A program that is good with some
// arguments and variables is so with all that can be given to one.
func (s *shelf) check(spec Spec) error {
	odd := func(v string) bool { return strings.IndexByte(v, 0) >= 0 }
	plain := !slices.ContainsFunc(spec.Args, odd) &&
		!slices.ContainsFunc(spec.Env, func(v string) bool { return odd(v) || strings.IndexByte(v, '=') <= 0 })
	key := fmt.Sprintf("%q %q %q %q %v %s", spec.Root, spec.Owners, spec.Program, spec.Dir, spec.User, fileID(spec.Program))
	s.mu.Lock()
	_, known := s.checked[key]
	s.mu.Unlock()
	if known && plain {
		return nil
	}
	root, program, err := OpenProgram(spec)
	if err != nil {
		return err
	}
	if err := errors.Join(program.Close(), root.Close()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.checked) >= maxChecked {
		clear(s.checked)
	}
	s.checked[key] = struct{}{}
	return nil
}

// use opens what the machines of spec are made from, or waits until it is open. Each use
// that succeeds is ended by release.
func (s *shelf) use(ctx context.Context, it *item, spec Spec, log *slog.Logger, deadline time.Time) (*cloned, error) {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	var err error
	s.mu.Lock()
	it.users++
	s.unused = slices.DeleteFunc(s.unused, func(x *item) bool { return x == it })
	for it.made == nil && err == nil {
		if it.pending == nil {
			if it.failures > 0 && time.Now().Before(it.retry) {
				err = it.failure
				break
			}
			s.begin(it, spec, log)
		}
		pending := it.pending
		s.mu.Unlock()
		select {
		case <-pending:
		case <-expired:
			err = ErrTimeout
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		if err == nil && it.made == nil {
			err = it.failure
		}
	}
	if err != nil {
		it.users--
		done := s.tidy(it)
		s.mu.Unlock()
		return nil, errors.Join(err, done())
	}
	defer s.mu.Unlock()
	return it.made, nil
}

// takeFirst returns the machine that shows that a new snapshot can be used, the first
// time. Its memory is reserved, and the caller's to give back.
func (s *shelf) takeFirst(it *item) machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := it.first
	it.first = nil
	return first
}

// begin makes an item, away from those who wait for it: they may give up, and others
// need it. s.mu is held.
func (s *shelf) begin(it *item, spec Spec, log *slog.Logger) {
	var ctx context.Context
	ctx, it.cancel = context.WithCancel(context.Background())
	pending := make(chan struct{})
	it.pending = pending
	noSnapshot := it.noSnapshot
	s.making.Go(func() {
		made, first, err := s.w.open(ctx, spec, noSnapshot, log)
		s.mu.Lock()
		it.cancel()
		it.pending, it.cancel = nil, nil
		if err != nil {
			it.failure, it.retry = err, time.Now().Add(backOff(it.failures))
			it.failures++
		} else {
			it.made, it.first, it.failures, it.failure = made, first, 0, nil
			it.noSnapshot = made.fresh.noSnapshot
			it.bytes = made.bytes()
		}
		done := s.tidy(it)
		s.mu.Unlock()
		if err := done(); err != nil {
			log.Error("a program was not closed", "program", spec.Program, "error", err)
		}
		close(pending)
	})
}

// release ends a use.
func (s *shelf) release(it *item) error {
	s.mu.Lock()
	it.users--
	done := s.tidy(it)
	s.mu.Unlock()
	return done()
}

// leave removes a source, which does not use the item.
func (s *shelf) leave(it *item) error {
	s.mu.Lock()
	it.sources--
	done := s.tidy(it)
	s.mu.Unlock()
	return done()
}

// tidy takes away what nobody needs and returns what closes it. s.mu is held, but not
// when that is called.
func (s *shelf) tidy(it *item) (done func() error) {
	var machines []machine
	var closing []*cloned
	memory := uint64(0)
	if it.users == 0 {
		if it.first != nil { // nobody waits for it any more
			machines, it.first = append(machines, it.first), nil
			memory = it.made.fresh.limits.Memory
		}
		s.unused = slices.DeleteFunc(s.unused, func(x *item) bool { return x == it })
		switch {
		case it.sources == 0:
			if it.cancel != nil {
				it.cancel()
			}
			if s.items[it.key] == it {
				delete(s.items, it.key)
			}
			if it.made != nil {
				closing, it.made = append(closing, it.made), nil
			}
		case it.made != nil && it.made.mayClose():
			s.unused = append(s.unused, it)
		}
	}
	var bytes int64
	for i := len(s.unused) - 1; i >= 0; i-- {
		u := s.unused[i]
		if bytes += u.bytes; bytes > maxUnusedBytes || len(s.unused)-i > maxUnused {
			for _, old := range s.unused[:i+1] {
				closing, old.made = append(closing, old.made), nil
			}
			s.unused = slices.Delete(s.unused, 0, i+1)
			break
		}
	}
	if len(machines) == 0 && len(closing) == 0 {
		return func() error { return nil }
	}
	return func() error {
		var errs []error
		for _, m := range machines {
			errs = append(errs, s.w.close(m))
			s.w.memory.release(memory)
		}
		for _, c := range closing {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
}

// mayClose says whether no program must be started when this is opened again.
func (s *cloned) mayClose() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.isSnapshot || s.file != ""
}

// bytes returns about how much memory the program takes, of which there is a copy.
func (s *cloned) bytes() int64 {
	st, err := os.Stat(s.program)
	if err != nil {
		return 0
	}
	return st.Size()
}

// open makes what machines of spec are made from. With a snapshot it runs the program
// until that waits for its event, at most 20 seconds, unless the snapshot is on disk, and
// returns a machine too, whose memory is reserved. A program that ends or is stopped
// before, or that no snapshot can be taken of, is started anew for each event instead:
// log and Stats say so. noSnapshot is why, when that is known. The error is a
// *vmexec.ProgramError when the program cannot run at all.
func (w *Workers) open(ctx context.Context, spec Spec, noSnapshot string, log *slog.Logger) (*cloned, machine, error) {
	f, err := newFresh(w.host, w.memory, spec)
	if err != nil {
		return nil, nil, err
	}
	f.noSnapshot = noSnapshot
	if spec.Snapshot && noSnapshot == "" {
		s, first, err := w.newCloned(ctx, spec, f, log)
		if err == nil {
			return s, first, nil
		}
		var pe *vmexec.ProgramError
		var none *vmexec.NoWaitError
		isNone := errors.As(err, &none)
		if ctx.Err() != nil || errors.As(err, &pe) || isNone && spec.Ready != nil && !none.Talked {
			// A program that is not ready once would not be for each event either.
			return nil, nil, errors.Join(withStderr(err, none), f.Close())
		}
		f.noSnapshot = err.Error()
		todo := "let the program read stdin once its set-up is done, or write snapshot: {mode: Never}"
		if spec.Ready != nil {
			todo = "see what the program says on stderr, and whether the contract is the right one"
		}
		args := []any{"program", spec.Program, "reason", f.noSnapshot, "todo", todo}
		if isNone && len(none.Result.Stderr) > 0 {
			args = append(args, "stderr", tail(none.Result.Stderr))
		}
		log.Warn("there is no snapshot, so the program is started anew for each event", args...)
	}
	s := &cloned{fresh: f, program: spec.Program}
	if w.worker == "" {
		return s, nil, nil
	}
	spec.Snapshot = false
	e, err := newOutside(w, f, spec)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	s.engine, s.frozen = e, e.unfrozen()
	return s, nil, nil
}
