// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/vmexec"
)

// asleep waits until a source holds nothing.
func asleep(t *testing.T, src Source) {
	t.Helper()
	released := func() bool {
		s := src.(*source)
		s.w.shelf.mu.Lock()
		defer s.w.shelf.mu.Unlock()
		return s.item.users == 0
	}
	for end := time.Now().Add(time.Minute); !src.Stats().Asleep || !released(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it stays awake: %+v", src.Stats())
		}
	}
}

// held returns how many programs the shelf has open.
func held(w *Workers) (open int) {
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	for _, it := range w.shelf.items {
		if it.made != nil {
			open++
		}
	}
	return open
}

// forget closes all that no source uses.
func forget(t *testing.T, w *Workers) {
	t.Helper()
	w.shelf.mu.Lock()
	unused := w.shelf.unused
	w.shelf.unused = nil
	var made []*cloned
	for _, it := range unused {
		made = append(made, it.made)
		it.made = nil
	}
	w.shelf.mu.Unlock()
	for _, c := range made {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A source holds nothing before its first event and after its idle time. An event then
// goes on from the snapshot: no program is started.
func TestSourceSleeps(t *testing.T) {
	host := open(t, vmexec.KVM)
	program := buildGo(t)
	for place, options := range places(t) {
		for name, tt := range map[string]struct {
			spec  Spec
			keeps bool // what machines are made from, since it would have to be started again
		}{
			"on disk":   {Spec{Snapshot: true, Disk: true, Tag: "t", Tier: TierReset}, false},
			"in memory": {Spec{Snapshot: true, Tier: TierVM}, true},
			"early":     {Spec{Snapshot: true, Tier: TierVM, Args: []string{"early"}}, false},
			"started":   {Spec{Tier: TierVM}, false},
		} {
			t.Run(place+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.Chmod(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				store, err := snapshots.Open(dir, 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				options := options
				options.Store, options.Memory = store, NewMemory(1<<30)
				w := NewWorkers(host, options)
				defer w.Close()
				var log bytes.Buffer
				spec := tt.spec
				spec.Program, spec.Concurrency, spec.IdleTime, spec.Limits.Memory = program, 2, time.Millisecond, 64<<20
				src := newSource(t, w, spec, slog.New(slog.NewTextHandler(&log, nil)))
				if st := src.Stats(); !st.Asleep || st.Snapshot != spec.Snapshot || held(w) != 0 {
					t.Errorf("before the first event: %+v", st)
				}
				event := func() Stats {
					t.Helper()
					r, err := runOne(t.Context(), src, nil, []byte("b"))
					if err != nil || !bytes.Contains(r.Stdout, []byte("events 1,")) && name != "early" {
						t.Errorf("%.2000v %v", r, err)
					}
					return src.Stats()
				}
				first := event()
				asleep(t, src)
				if st := src.Stats(); st.Alive != 0 || st.Prepared != 0 || st.Tier != first.Tier || w.memory.Stats().Reserved != 0 {
					t.Errorf("after the idle time: %+v", st)
				}
				forget(t, w)
				if n := held(w); n != map[bool]int{true: 1}[tt.keeps] {
					t.Errorf("%d programs are open", n)
				}
				begun := strings.Count(log.String(), "\n")
				second := event()
				said := log.String()
				switch {
				case name == "on disk" && (first.Load != 0 || second.Load == 0 || !strings.Contains(said, "the program was not started")):
					t.Errorf("first %+v, then %+v, log %s", first, second, said)
				case name == "in memory" && (first.Start == 0 || second.Start != first.Start):
					t.Errorf("first %+v, then %+v", first, second)
				case name == "early" && (strings.Count(said, "\n") != begun || second.NoSnapshot != first.NoSnapshot || second.NoSnapshot == ""):
					t.Errorf("first %+v, then %+v, log %s", first, second, said)
				}
				if second.Made < first.Made {
					t.Errorf("%d machines were made, and before %d", second.Made, first.Made)
				}
				if err := src.Close(); err != nil {
					t.Error(err)
				}
				if len(w.shelf.items) != 0 || w.memory.Stats().Reserved != 0 {
					t.Errorf("%d programs are left, %+v", len(w.shelf.items), w.memory.Stats())
				}
			})
		}
	}
}

// Sinks that run the same share it, but not with another namespace, and events that
// come at once wait for one start.
func TestSourcesShare(t *testing.T) {
	host := open(t, vmexec.KVM)
	w := NewWorkers(host, Options{Memory: NewMemory(1 << 30)})
	defer w.Close()
	spec := Spec{Scope: "a", Program: buildGo(t), Snapshot: true, Tier: TierVM, Concurrency: 4, IdleTime: time.Minute, Limits: vmexec.Limits{Memory: 32 << 20}}
	var sources []Source
	for _, scope := range []string{"a", "a", "b"} {
		spec := spec
		spec.Scope = scope
		spec.Concurrency += len(sources)
		sources = append(sources, newSource(t, w, spec, slog.New(slog.DiscardHandler)))
	}
	results := make(chan error)
	for i := range 12 {
		go func() {
			r, err := runOne(t.Context(), sources[i%3], nil, []byte("b"))
			if err == nil && !bytes.Contains(r.Stdout, []byte("events 1,")) {
				err = fmt.Errorf("stdout %q", r.Stdout)
			}
			results <- err
		}()
	}
	for range 12 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := held(w); n != 2 {
		t.Errorf("%d snapshots, want one for each namespace", n)
	}
	// It stays for as long as one has it.
	if err := errors.Join(sources[0].Close(), sources[2].Close()); err != nil {
		t.Error(err)
	}
	if n := held(w); n != 1 {
		t.Errorf("%d snapshots are left", n)
	}
	if _, err := runOne(t.Context(), sources[1], nil, []byte("b")); err != nil {
		t.Error(err)
	}
	if err := sources[1].Close(); err != nil {
		t.Error(err)
	}
	if st := w.memory.Stats(); st.Reserved != 0 || held(w) != 0 {
		t.Errorf("%+v, %d snapshots", st, held(w))
	}
}

// buildSpin builds a program that never asks for its event.
func buildSpin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "spin")
	// An odd number is never 0.
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {\n\tfor n := uint64(1); n != 0; n += 2 {\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

// Events that give up leave a start to the others, and the last source to go ends it. What
// cannot be opened is not tried for each event.
func TestSourceWakeFails(t *testing.T) {
	host := open(t, vmexec.KVM)
	w := NewWorkers(host, Options{Memory: NewMemory(1 << 30)})
	defer w.Close()
	spec := Spec{Program: buildSpin(t), Snapshot: true, Tier: TierVM, Concurrency: 1, IdleTime: time.Minute, Limits: vmexec.Limits{Memory: 32 << 20}}
	src := newSource(t, w, spec, slog.New(slog.DiscardHandler))
	if _, err := src.Lease(t.Context(), Request{Deadline: time.Now().Add(50 * time.Millisecond)}); !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := src.Lease(ctx, Request{}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	begin := time.Now()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	w.shelf.making.Wait()
	if took := time.Since(begin); took > startTimeout/2 || w.memory.Stats().Reserved != 0 {
		t.Errorf("its start ended after %v, %+v", took, w.memory.Stats())
	}

	spec.Program = buildGo(t)
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(spec.Program)
	if err == nil {
		err = os.WriteFile(path, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec.Program = path
	src = newSource(t, w, spec, slog.New(slog.DiscardHandler))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var pe *vmexec.ProgramError
	if err := src.Prepare(t.Context()); !errors.As(err, &pe) {
		t.Errorf("%v", err)
	}
	failures := src.(*source).item.failures
	if _, err := src.Lease(t.Context(), Request{}); !errors.As(err, &pe) || src.(*source).item.failures != failures || failures != 1 {
		t.Errorf("%v, %d failures", err, src.(*source).item.failures)
	}
	// Once it is back, so is the sink.
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	time.Sleep(firstRetry + 50*time.Millisecond)
	if _, err := runOne(t.Context(), src, nil, []byte("b")); err != nil {
		t.Error(err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}
