// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/stdio"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world makes fake machines and counts what is open.
type world struct {
	run     func(ctx context.Context, spec Sink, io vmexec.IO) (*vmexec.Result, error)
	lease   func(spec Sink) error
	source  func(spec Sink) error
	vms     atomic.Int64
	sources atomic.Int64
	running atomic.Int64
	most    atomic.Int64

	prepareErr error
	asleep     bool
	made       []*fakeSource
}

type fakeSource struct {
	w      *world
	spec   Sink
	mu     sync.Mutex
	vms    int
	closed bool

	asleep, prepared bool
}

type fakeVM struct{ s *fakeSource }

func (s *fakeSource) Stats() lease.Stats { return lease.Stats{Asleep: s.asleep} }

func (s *fakeSource) Prepare(context.Context) error {
	s.prepared = true
	return s.w.prepareErr
}

func (s *fakeSource) Lease(context.Context, lease.Request) (lease.VM, error) {
	if s.w.lease != nil {
		if err := s.w.lease(s.spec); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		panic("lease of a closed source")
	}
	s.vms++
	s.w.vms.Add(1)
	return &fakeVM{s}, nil
}

func (s *fakeSource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.vms != 0 {
		panic(fmt.Sprintf("close of a source with %d machines, closed %v", s.vms, s.closed))
	}
	s.closed = true
	s.w.sources.Add(-1)
	return nil
}

func (v *fakeVM) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	n := v.s.w.running.Add(1)
	defer v.s.w.running.Add(-1)
	for m := v.s.w.most.Load(); n > m && !v.s.w.most.CompareAndSwap(m, n); m = v.s.w.most.Load() {
	}
	return v.s.w.run(ctx, v.s.spec, io)
}

func (v *fakeVM) Close() error {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.vms--
	v.s.w.vms.Add(-1)
	return nil
}

func (w *world) options() Options {
	if w.run == nil {
		w.run = func(_ context.Context, s Sink, _ vmexec.IO) (*vmexec.Result, error) {
			return &vmexec.Result{Stdout: []byte(s.Program)}, nil
		}
	}
	return Options{
		Source: func(s Sink) (lease.Source, error) {
			if w.source != nil {
				if err := w.source(s); err != nil {
					return nil, err
				}
			}
			w.sources.Add(1)
			made := &fakeSource{w: w, spec: s, asleep: w.asleep}
			w.made = append(w.made, made)
			return made, nil
		},
		Contract: func(s Sink) (contract.Contract, error) {
			return stdio.New(s.Contract)
		},
	}
}

func testSink(name, program string) Sink {
	return Sink{
		Namespace: "ns", Name: name, Program: program,
		Queue:    queue.Config{Concurrency: 2, Length: 2},
		Contract: contract.Config{Reply: contract.ReplySettings{Type: "r", Source: "/r"}},
	}
}

// Only the first sinks, and those that are awake, are made ready for an event ahead.
func TestAhead(t *testing.T) {
	w := &world{asleep: true}
	o := w.options()
	o.Ahead = 2
	d := New(o)
	update := func(program string, want error) {
		t.Helper()
		w.made = nil
		if err := d.Update([]Sink{testSink("a", program), testSink("b", program), testSink("c", program), testSink("d", program)}); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	prepared := func() string {
		var list []string
		for _, s := range w.made {
			if s.prepared {
				list = append(list, s.spec.Name)
			}
		}
		return strings.Join(list, " ")
	}
	update("one", nil)
	if got := prepared(); got != "a b" || len(w.made) != 4 {
		t.Errorf("%s of %d are prepared", got, len(w.made))
	}
	w.made[3].asleep = false // it has had an event
	update("two", nil)
	if got := prepared(); got != "a b d" {
		t.Errorf("%s are prepared", got)
	}
	// One that cannot be made ready leaves the one before it serving.
	w.prepareErr = errors.New("it does not start")
	update("three", w.prepareErr)
	for name, want := range map[string]string{"a": "two", "c": "three"} {
		replies, f := d.Dispatch(t.Context(), "ns", name, testEvents(t, 1))
		if f != nil || string(replies[0].Data()) != want {
			t.Errorf("%s: %+v %v, want %s", name, replies, f, want)
		}
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.sources.Load(); n != 0 {
		t.Errorf("%d sources are left", n)
	}
}

func testEvents(t *testing.T, n int) []*event.Event {
	t.Helper()
	events := make([]*event.Event, n)
	for i := range events {
		e, err := event.DecodeJSON(fmt.Appendf(nil, `{"specversion":"1.0","id":"%d","source":"s","type":"t"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		events[i] = e
	}
	return events
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func closeAll(t *testing.T, w *world, d *Dispatcher) {
	t.Helper()
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if w.vms.Load() != 0 || w.sources.Load() != 0 {
		t.Errorf("%d machines and %d sources are left", w.vms.Load(), w.sources.Load())
	}
}

func mustUpdate(t *testing.T, d *Dispatcher, sinks ...Sink) {
	t.Helper()
	if err := d.Update(sinks); err != nil {
		t.Fatal(err)
	}
}

func TestDispatchOutcomes(t *testing.T) {
	monitor := errors.New("KVM_RUN: bad file descriptor")
	tests := []struct {
		name   string
		run    func(context.Context, Sink, vmexec.IO) (*vmexec.Result, error)
		lease  func(Sink) error
		status int // 0: accepted
		reason reply.Reason
		says   string
	}{
		{name: "reply", run: nil},
		{name: "exit", run: func(context.Context, Sink, vmexec.IO) (*vmexec.Result, error) {
			return &vmexec.Result{Status: 3, Stderr: []byte("why\n")}, nil
		}, status: 502, reason: reply.FunctionFailed, says: "why"},
		{
			name: "monitor", run: func(context.Context, Sink, vmexec.IO) (*vmexec.Result, error) { return nil, monitor },
			status: 500, reason: reply.Internal, says: monitor.Error(),
		},
		{
			name: "no machine", lease: func(Sink) error { return errors.New("out of memory") },
			status: 503, reason: reply.NoMachine, says: "out of memory",
		},
		{
			name: "program does not fit", lease: func(Sink) error { return &vmexec.ProgramError{Path: "p", Reason: "it does not fit"} },
			status: 502, reason: reply.FunctionFailed, says: "it does not fit",
		},
		{
			name: "panic", run: func(context.Context, Sink, vmexec.IO) (*vmexec.Result, error) { panic("bug") },
			status: 500, reason: reply.Internal, says: "internal error",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{run: tt.run, lease: tt.lease}
			d := New(w.options())
			mustUpdate(t, d, testSink("a", "v1"))
			replies, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1))
			switch {
			case tt.status == 0 && (f != nil || len(replies) != 1 || string(replies[0].Data()) != "v1"):
				t.Errorf("%v %v", replies, f)
			case tt.status != 0 && (f == nil || f.Status != tt.status || f.Reason != tt.reason || !strings.Contains(f.Message, tt.says)):
				t.Errorf("%v; want %d %s %q", f, tt.status, tt.reason, tt.says)
			}
			if f != nil && f.Status == 503 && f.RetryAfter <= 0 {
				t.Error("503 without a time to try again")
			}
			st := d.Stats()
			if len(st) != 1 || (tt.status == 0) != (st[0].Accepted == 1) || (tt.status != 0) != (st[0].Failed[tt.reason] == 1) {
				t.Errorf("stats %+v", st)
			}
			closeAll(t, w, d)
		})
	}
}

func TestUnknownAndClosed(t *testing.T) {
	w := &world{}
	d := New(w.options())
	if _, f := d.Dispatch(t.Context(), "ns", "nobody", testEvents(t, 1)); f == nil || f.Status != 404 || !strings.Contains(f.Message, "ns/nobody") {
		t.Errorf("%v", f)
	}
	mustUpdate(t, d, testSink("a", "v1"))
	if !d.Has("ns", "a") || d.Has("ns", "b") || d.Has("a", "ns") {
		t.Error("Has is wrong")
	}
	closeAll(t, w, d)
	if _, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1)); f == nil || f.Status != 503 || f.Reason != reply.Draining {
		t.Errorf("%v", f)
	}
	if err := d.Update(nil); err == nil {
		t.Error("an update after Close was taken")
	}
}

func TestQueueFullAndClientGone(t *testing.T) {
	let := make(chan struct{})
	killed := make(chan struct{}, 1)
	w := &world{run: func(ctx context.Context, _ Sink, _ vmexec.IO) (*vmexec.Result, error) {
		select {
		case <-let:
			return &vmexec.Result{}, nil
		case <-ctx.Done():
			killed <- struct{}{}
			return &vmexec.Result{Reason: vmexec.Canceled}, nil
		}
	}}
	d := New(w.options())
	spec := testSink("a", "v1")
	spec.Queue = queue.Config{Concurrency: 1, Length: 1}
	mustUpdate(t, d, spec)
	failures := make(chan *reply.Failure, 2)
	send := func(ctx context.Context) {
		_, f := d.Dispatch(ctx, "ns", "a", testEvents(t, 1))
		failures <- f
	}
	runCtx, leaveRunning := context.WithCancel(t.Context())
	waitCtx, leaveWaiting := context.WithCancel(t.Context())
	go send(runCtx)
	waitFor(t, "one to run", func() bool { return w.running.Load() == 1 })
	go send(waitCtx)
	waitFor(t, "one to wait", func() bool { return d.Stats()[0].Queue.Waiting == 1 })
	if _, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1)); f == nil || f.Status != 429 || f.RetryAfter < time.Second {
		t.Errorf("%+v", f)
	}
	leaveWaiting()
	if f := <-failures; f == nil || f.Reason != reply.ClientGone {
		t.Errorf("%v", f)
	}
	if n := w.vms.Load(); n != 1 {
		t.Errorf("%d machines; the event that waited must not get one", n)
	}
	leaveRunning()
	<-killed
	if f := <-failures; f == nil || f.Reason != reply.ClientGone {
		t.Errorf("%v", f)
	}
	closeAll(t, w, d)
}

func TestBatch(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	w := &world{run: func(_ context.Context, _ Sink, io vmexec.IO) (*vmexec.Result, error) {
		e, err := event.DecodeJSON(io.Event)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		seen = append(seen, e.ID())
		mu.Unlock()
		switch e.Subject() {
		case "fail":
			return &vmexec.Result{Status: 65}, nil
		case "silent":
			return &vmexec.Result{}, nil
		}
		return &vmexec.Result{Stdout: []byte("re " + e.ID())}, nil
	}}
	d := New(w.options())
	spec := testSink("a", "v1")
	spec.Queue = queue.Config{Concurrency: 2} // no place to wait: a batch must not need one
	mustUpdate(t, d, spec)

	events := testEvents(t, 20)
	events[3].SetSubject("silent")
	replies, f := d.Dispatch(t.Context(), "ns", "a", events)
	if f != nil || len(replies) != 19 {
		t.Fatalf("%d replies, %v", len(replies), f)
	}
	want := 0
	for _, r := range replies {
		if want == 3 {
			want++
		}
		if string(r.Data()) != fmt.Sprintf("re %d", want) {
			t.Fatalf("reply %q at the place of event %d", r.Data(), want)
		}
		want++
	}
	if w.most.Load() > 2 {
		t.Errorf("%d at once", w.most.Load())
	}

	seen = nil
	events[0].SetSubject("fail")
	spec.Queue.Concurrency = 1 // so that the order is certain
	mustUpdate(t, d, spec)
	_, f = d.Dispatch(t.Context(), "ns", "a", events)
	if f == nil || f.Status != 422 {
		t.Fatalf("%v", f)
	}
	if len(seen) != 1 {
		t.Errorf("%d events were started although the first one failed", len(seen))
	}
	if replies, f := d.Dispatch(t.Context(), "ns", "a", nil); f != nil || replies != nil {
		t.Errorf("empty batch: %v %v", replies, f)
	}
	closeAll(t, w, d)
}

func TestGenerationSwap(t *testing.T) {
	let := make(chan struct{})
	w := &world{}
	w.run = func(_ context.Context, s Sink, _ vmexec.IO) (*vmexec.Result, error) {
		if s.Program == "v1" {
			<-let
		}
		return &vmexec.Result{Stdout: []byte(s.Program)}, nil
	}
	broken := errors.New("not an ELF file")
	w.source = func(s Sink) error {
		if s.Program == "broken" {
			return broken
		}
		return nil
	}
	d := New(w.options())
	mustUpdate(t, d, testSink("a", "v1"), testSink("b", "v1"))
	old := make(chan string)
	go func() {
		replies, f := d.Dispatch(context.Background(), "ns", "a", testEvents(t, 1))
		if f != nil {
			old <- f.Error()
			return
		}
		old <- string(replies[0].Data())
	}()
	waitFor(t, "the old generation to run", func() bool { return w.running.Load() == 1 })

	mustUpdate(t, d, testSink("a", "v2"), testSink("b", "v1"))
	if w.sources.Load() != 3 {
		t.Errorf("%d sources; want v1 (draining), v2, and b untouched", w.sources.Load())
	}
	ask := func() string {
		replies, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1))
		if f != nil {
			return f.Error()
		}
		return string(replies[0].Data())
	}
	if got := ask(); got != "v2" {
		t.Errorf("new generation answers %q", got)
	}

	err := d.Update([]Sink{testSink("a", "broken"), testSink("b", "v1")})
	var se *SinkError
	if !errors.As(err, &se) || !errors.Is(err, broken) || !se.Kept || se.Sink != "ns/a" {
		t.Errorf("error %v", err)
	}
	if got := ask(); got != "v2" {
		t.Errorf("after a failed generation: %q", got)
	}
	if st := d.Stats()[0]; st.Error == "" || st.Generation != 2 {
		t.Errorf("%+v", st)
	}
	mustUpdate(t, d, testSink("a", "v2"), testSink("b", "v1"))
	if st := d.Stats()[0]; st.Error != "" || st.Generation != 2 {
		t.Errorf("after going back: %+v", st)
	}

	close(let)
	if got := <-old; got != "v1" {
		t.Errorf("the old generation answered %q", got)
	}
	waitFor(t, "the old generation to be freed", func() bool { return w.sources.Load() == 2 })
	closeAll(t, w, d)
}

func TestNotReady(t *testing.T) {
	w := &world{source: func(Sink) error { return errors.New("no such file") }}
	d := New(w.options())
	if err := d.Update([]Sink{testSink("a", "v1"), testSink("a", "v2")}); err == nil || !strings.Contains(err.Error(), "defined twice") {
		t.Errorf("error %v", err)
	}
	_, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1))
	if f == nil || f.Status != 503 || f.Reason != reply.NotReady || !strings.Contains(f.Message, "no such file") {
		t.Errorf("%v", f)
	}
	w.source = nil
	mustUpdate(t, d, testSink("a", "v1"))
	if _, f := d.Dispatch(t.Context(), "ns", "a", testEvents(t, 1)); f != nil {
		t.Error(f)
	}
	closeAll(t, w, d)
}

func TestRemoveDrains(t *testing.T) {
	let := make(chan struct{})
	w := &world{run: func(context.Context, Sink, vmexec.IO) (*vmexec.Result, error) {
		<-let
		return &vmexec.Result{}, nil
	}}
	d := New(w.options())
	spec := testSink("a", "v1")
	spec.Queue = queue.Config{Concurrency: 1, Length: 1}
	mustUpdate(t, d, spec)
	failures := make(chan *reply.Failure)
	for range 2 {
		go func() {
			_, f := d.Dispatch(context.Background(), "ns", "a", testEvents(t, 1))
			failures <- f
		}()
	}
	waitFor(t, "one to run and one to wait", func() bool {
		q := d.Stats()[0].Queue
		return q.Waiting == 1 && w.running.Load() == 1
	})
	mustUpdate(t, d)
	if d.Has("ns", "a") {
		t.Error("the sink is still there")
	}
	close(let)
	for range 2 {
		if f := <-failures; f != nil {
			t.Errorf("an event was lost: %v", f)
		}
	}
	waitFor(t, "the source to be freed", func() bool { return w.sources.Load() == 0 })
	closeAll(t, w, d)
}

func TestCloseKillsWhenOutOfTime(t *testing.T) {
	w := &world{run: func(ctx context.Context, _ Sink, _ vmexec.IO) (*vmexec.Result, error) {
		<-ctx.Done()
		return &vmexec.Result{Reason: vmexec.Canceled}, nil
	}}
	d := New(w.options())
	mustUpdate(t, d, testSink("a", "v1"))
	failures := make(chan *reply.Failure)
	go func() {
		_, f := d.Dispatch(context.Background(), "ns", "a", testEvents(t, 1))
		failures <- f
	}()
	waitFor(t, "one to run", func() bool { return w.running.Load() == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error)
	go func() { done <- d.Close(ctx) }()
	if f := <-failures; f == nil || f.Status != 503 || f.Reason != reply.Draining {
		t.Errorf("%v", f)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Close returned %v", err)
	}
}

// Updates and events at once: nothing is lost, nothing is left.
func TestUpdateRace(t *testing.T) {
	w := &world{}
	d := New(w.options())
	spec := testSink("a", "v0")
	spec.Queue = queue.Config{Concurrency: 4, Length: 100}
	mustUpdate(t, d, spec)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if _, f := d.Dispatch(context.Background(), "ns", "a", testEvents(t, 1)); f != nil {
					t.Errorf("lost: %v", f)
				}
			}
		})
	}
	for i := range 50 {
		spec.Program = fmt.Sprintf("v%d", i)
		mustUpdate(t, d, spec)
	}
	wg.Wait()
	if w.most.Load() > 4 {
		t.Errorf("%d at once", w.most.Load())
	}
	closeAll(t, w, d)
}
