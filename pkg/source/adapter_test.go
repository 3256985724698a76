// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	clocktesting "k8s.io/utils/clock/testing"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/source/deliver"
	"kontain.dev/eventing/pkg/source/journal"
	"kontain.dev/eventing/pkg/source/schedule"
)

// patience is the longest that a test waits for what should take moments.
const patience = time.Minute

// program is a Program: f says what it does in its nth run.
type program func(n int, e *event.Event, a Attributes) ([]*event.Event, error)

type counted struct {
	mu sync.Mutex
	n  int
	f  program
}

func (c *counted) Run(ctx context.Context, e *event.Event, a Attributes, _ []byte) (Outcome, error) {
	c.mu.Lock()
	c.n++
	n := c.n
	c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	events, err := c.f(n, e, a)
	return Outcome{Events: events}, err
}

// sink is a Sender that notes what it takes; refuse may have an error for an event.
type sink struct {
	mu     sync.Mutex
	got    []string
	refuse func(e *event.Event) error
	news   chan struct{}
}

func newSink() *sink { return &sink{news: make(chan struct{}, 1000)} }

func (s *sink) Send(ctx context.Context, e *event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		if err := s.refuse(e); err != nil {
			return err
		}
	}
	s.got = append(s.got, e.ID())
	s.news <- struct{}{}
	return ctx.Err()
}

func (s *sink) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *sink) wait(t *testing.T, n int) {
	t.Helper()
	for len(s.ids()) < n {
		select {
		case <-s.news:
		case <-time.After(patience):
			t.Fatalf("the sink has %d events, want %d", len(s.ids()), n)
		}
	}
}

func two(_ int, _ *event.Event, a Attributes) ([]*event.Event, error) {
	return Output(fmt.Appendf(nil, "%s\n%s\n", line(a.ID+"/1"), line(a.ID+"/2")), a)
}

var begin = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func testConfig(t *testing.T, dir string, p program, s Sender, clock *clocktesting.FakeClock) Config {
	t.Helper()
	j, err := journal.Open(dir, 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return Config{
		Namespace: "ns", Name: "beat", Type: "t", Source: "/s",
		When:    func(time.Time) schedule.Schedule { return schedule.Every(begin, time.Minute) },
		Program: &counted{f: p}, Journal: j, Sender: s, Clock: clock,
	}
}

// start runs an adapter until stop is called.
func start(t *testing.T, c Config) (a *Adapter, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	a = New(c)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = c.Journal.Close()
	}
}

// tick sets the clock forward when the adapter waits for it.
func tick(t *testing.T, clock *clocktesting.FakeClock, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(patience); !clock.HasWaiters(); {
		if time.Now().After(end) {
			t.Fatal("the adapter does not wait for the clock")
		}
		time.Sleep(time.Millisecond)
	}
	clock.Step(d)
}

func idOf(minute, n int) string {
	return fmt.Sprintf("ns.beat.%s/%d", begin.Add(time.Duration(minute)*time.Minute).Format(time.RFC3339Nano), n)
}

// The journal's clock is the real one: what it begins with is dealt with before.
func dealt(t *testing.T, c Config, minute int) {
	t.Helper()
	if err := c.Journal.Passed(begin.Add(time.Duration(minute) * time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func TestAdapter(t *testing.T) {
	clock, s, dir := clocktesting.NewFakeClock(begin), newSink(), t.TempDir()
	c := testConfig(t, dir, two, s, clock)
	dealt(t, c, 0)
	a, stop := start(t, c)
	tick(t, clock, 59*time.Second)
	tick(t, clock, time.Second)
	s.wait(t, 2)
	// A clock that is set back makes no run again, one that is set forward has one.
	tick(t, clock, -time.Hour)
	tick(t, clock, time.Hour)
	tick(t, clock, 10*time.Minute)
	s.wait(t, 4)
	stop()
	if got, want := s.ids(), []string{idOf(1, 1), idOf(1, 2), idOf(11, 1), idOf(11, 2)}; !slices.Equal(got, want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
	if st := a.Stats(); st.Runs != 2 || st.Sent != 4 || st.Missed != 9 || st.Failed+st.Lost != 0 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// A run whose program fails is not made again; the next one is.
func TestAdapterProgramFails(t *testing.T) {
	clock, s := clocktesting.NewFakeClock(begin), newSink()
	c := testConfig(t, t.TempDir(), func(n int, e *event.Event, a Attributes) ([]*event.Event, error) {
		if e.Type() != RunType || e.ID() != a.ID {
			t.Errorf("run with %v", e)
		}
		if n == 1 {
			return nil, errors.New("no such luck")
		}
		clock.Step(time.Second)
		return two(n, e, a)
	}, s, clock)
	dealt(t, c, 0)
	var late, took []time.Duration
	c.Ran = func(l, t time.Duration) { late, took = append(late, l), append(took, t) }
	a, stop := start(t, c)
	tick(t, clock, time.Minute)
	tick(t, clock, time.Minute)
	s.wait(t, 2)
	stop()
	if !slices.Equal(late, make([]time.Duration, 2)) || !slices.Equal(took, []time.Duration{0, time.Second}) {
		t.Errorf("runs were late by %v, and took %v", late, took)
	}
	if got, want := s.ids(), []string{idOf(2, 1), idOf(2, 2)}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if st := a.Stats(); st.Runs != 1 || st.Failed != 1 || st.LastError != "no such luck" {
		t.Errorf("%+v", st)
	}
}

// While the sink is down runs go on, up to a bound; a restart sends what waits first.
func TestAdapterSinkDown(t *testing.T) {
	clock, dir := clocktesting.NewFakeClock(begin), t.TempDir()
	down := senderFunc(func(ctx context.Context, _ *event.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	c := testConfig(t, dir, two, down, clock)
	dealt(t, c, 0)
	a, stop := start(t, c)
	for n := 1; n <= 5; n++ { // three have room
		tick(t, clock, time.Minute)
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if st := a.Stats(); int(st.Runs+st.Missed) == n {
				break
			} else if time.Now().After(end) {
				t.Fatalf("%+v after minute %d", st, n)
			}
		}
	}
	stop()
	if st := a.Stats(); st.Runs != 3 || st.Missed != 2 || st.Waiting != 3 || st.Sent != 0 || !strings.Contains(st.LastError, "wait for the sink") {
		t.Errorf("%+v", st)
	}

	s := newSink()
	c = testConfig(t, dir, two, s, clock)
	_, stop = start(t, c)
	s.wait(t, 6)
	tick(t, clock, time.Minute)
	s.wait(t, 8)
	stop()
	want := []string{idOf(1, 1), idOf(1, 2), idOf(2, 1), idOf(2, 2), idOf(3, 1), idOf(3, 2), idOf(6, 1), idOf(6, 2)}
	if got := s.ids(); !slices.Equal(got, want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
}

type senderFunc func(context.Context, *event.Event) error

func (f senderFunc) Send(ctx context.Context, e *event.Event) error { return f(ctx, e) }

// An adapter that ends while events are sent sends all of the run again, with the same
// ids; one that nobody takes is lost alone.
func TestAdapterEndsInBetween(t *testing.T) {
	clock, dir := clocktesting.NewFakeClock(begin), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := newSink()
	first.refuse = func(e *event.Event) error {
		if len(first.got) == 1 {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	c := testConfig(t, dir, two, first, clock)
	dealt(t, c, 0)
	if err := New(c).Once(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_ = c.Journal.Close()

	second := newSink()
	second.refuse = func(e *event.Event) error {
		if e.ID() == idOf(0, 1) {
			return &deliver.RefusedError{URL: "http://sink", Status: 400, Reason: "no"}
		}
		return nil
	}
	c = testConfig(t, dir, two, second, clock)
	a, stop := start(t, c)
	second.wait(t, 1)
	tick(t, clock, 0)
	stop()
	if got, again := first.ids(), second.ids(); !slices.Equal(got, []string{idOf(0, 1)}) || !slices.Equal(again, []string{idOf(0, 2)}) {
		t.Errorf("sent %q, then %q", got, again)
	}
	if st := a.Stats(); st.Lost != 1 || st.Sent != 1 {
		t.Errorf("%+v", st)
	}
}

func TestAdapterOnce(t *testing.T) {
	clock, s := clocktesting.NewFakeClock(begin), newSink()
	c := testConfig(t, t.TempDir(), func(_ int, _ *event.Event, a Attributes) ([]*event.Event, error) {
		return Output([]byte("text"), a)
	}, senderFunc(func(_ context.Context, e *event.Event) error {
		if e.Type() != "t" || e.Source() != "/s" || string(e.Data()) != "text" || e.Extensions()["name"] != "value" || e.SpecVersion() != ce.CloudEventsVersionV1 {
			t.Errorf("sent %v", e)
		}
		return s.Send(t.Context(), e)
	}), clock)
	c.Extensions = map[string]string{"name": "value"}
	c.When = schedule.Once
	if err := New(c).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.ids(); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
	// What is due once ends by itself, when all is sent.
	c = testConfig(t, t.TempDir(), two, s, clock)
	c.When = schedule.Once
	clock.SetTime(time.Now().Add(time.Second))
	if err := New(c).Run(t.Context()); err != nil || len(s.ids()) != 3 {
		t.Errorf("%v, sent %q", err, s.ids())
	}
}
