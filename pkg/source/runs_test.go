// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/source/deliver"
)

// programFunc is a Program.
type programFunc func(ctx context.Context, a Attributes, state []byte) (Outcome, error)

func (f programFunc) Run(ctx context.Context, _ *event.Event, a Attributes, state []byte) (Outcome, error) {
	return f(ctx, a, state)
}

// counter is a program that counts in its state.
func counter(_ context.Context, a Attributes, state []byte) (Outcome, error) {
	n, _ := strconv.Atoi(string(state))
	events, err := Output([]byte(line(fmt.Sprintf("%s/%d", a.ID, n+1))), a)
	return Outcome{events, strconv.AppendInt(nil, int64(n+1), 10)}, err
}

// until waits until an adapter has come to something.
func until(t *testing.T, a *Adapter, what string, f func(Stats) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if st := a.Stats(); f(st) {
			return
		} else if time.Now().After(end) {
			t.Fatalf("not %s: %+v", what, st)
		}
	}
}

// A run begins with the state of the one before, when all events of that are sent. One
// that fails, or whose event the sink could not be given, leaves the old state; one whose
// event is refused for good does not.
func TestStateFollowsDelivery(t *testing.T) {
	clock, dir, s := clocktesting.NewFakeClock(begin), t.TempDir(), newSink()
	refuse := map[string]int{idOf(3, 2): 503, idOf(5, 3): 400}
	s.refuse = func(e *event.Event) error {
		if status := refuse[e.ID()]; status != 0 {
			s.got = append(s.got, "no "+e.ID())
			s.news <- struct{}{}
			return &deliver.RefusedError{Status: status, Reason: "no"}
		}
		return nil
	}
	run := 0
	c := testConfig(t, dir, nil, s, clock)
	c.State = true
	c.Program = programFunc(func(ctx context.Context, a Attributes, state []byte) (Outcome, error) {
		if run++; run == 2 {
			return Outcome{State: []byte("77")}, errors.New("no luck")
		}
		return counter(ctx, a, state)
	})
	dealt(t, c, 0)
	a, stop := start(t, c)
	for n := 1; n <= 6; n++ {
		tick(t, clock, time.Minute)
		until(t, a, "settled", func(st Stats) bool { return int(st.Runs+st.Failed) == n && st.Waiting == 0 })
	}
	stop()
	// The second run failed; the event of the third was lost in a way that may pass.
	want := []string{idOf(1, 1), "no " + idOf(3, 2), idOf(4, 2), "no " + idOf(5, 3), idOf(6, 4)}
	if got := s.ids(); !slices.Equal(got, want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
}

// While the sink has not taken all of a run, none is begun that would begin with another
// state; then one makes good for those that were due. It is the same after a kill.
func TestStateWaitsForSink(t *testing.T) {
	clock, dir := clocktesting.NewFakeClock(begin), t.TempDir()
	down := senderFunc(func(ctx context.Context, _ *event.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	c := testConfig(t, dir, nil, down, clock)
	c.State, c.Program = true, programFunc(counter)
	dealt(t, c, 0)
	a, stop := start(t, c)
	tick(t, clock, time.Minute)
	until(t, a, "one run", func(st Stats) bool { return st.Runs == 1 && st.Waiting == 1 })
	clock.Step(10 * time.Minute)
	stop()
	if st := a.Stats(); st.Runs != 1 || st.Missed != 0 {
		t.Errorf("%+v", st)
	}

	s := newSink()
	c = testConfig(t, dir, nil, s, clock)
	c.State, c.Program = true, programFunc(counter)
	a, stop = start(t, c)
	s.wait(t, 2)
	stop()
	if got, want := s.ids(), []string{idOf(1, 1), idOf(11, 2)}; !slices.Equal(got, want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
	if st := a.Stats(); st.Missed != 9 || st.LastSuccess.IsZero() {
		t.Errorf("%+v", st)
	}
}

// slow is a program whose runs end when they are told to.
type slow struct {
	begun chan string // ids of runs
	end   map[int]chan struct{}
}

func newSlow() *slow {
	s := &slow{begun: make(chan string, 100), end: map[int]chan struct{}{}}
	for i := range 100 {
		s.end[i] = make(chan struct{})
	}
	return s
}

func (s *slow) Run(ctx context.Context, _ *event.Event, a Attributes, _ []byte) (Outcome, error) {
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(a.ID, "ns.beat."))
	if err != nil {
		return Outcome{}, err
	}
	s.begun <- a.ID
	select {
	case <-s.end[int(at.Sub(begin)/time.Minute)]:
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
	events, err := Output([]byte(line(a.ID+"/1")), a)
	return Outcome{Events: events}, err
}

func (s *slow) awaits(t *testing.T, minute int) {
	t.Helper()
	select {
	case id := <-s.begun:
		if want := strings.TrimSuffix(idOf(minute, 1), "/1"); id != want {
			t.Fatalf("%s was begun, want %s", id, want)
		}
	case <-time.After(patience):
		t.Fatalf("the run of minute %d was not begun", minute)
	}
}

// A source that is suspended makes no run, and none for that time later.
func TestSuspended(t *testing.T) {
	clock, s, dir := clocktesting.NewFakeClock(begin), newSink(), t.TempDir()
	c := testConfig(t, dir, two, s, clock)
	c.Suspended = true
	dealt(t, c, 0)
	a, stop := start(t, c)
	for range 3 {
		tick(t, clock, time.Minute)
	}
	until(t, a, "waiting", func(st Stats) bool { return st.NextRun.Equal(begin.Add(4 * time.Minute)) })
	stop()
	c = testConfig(t, dir, two, s, clock)
	a, stop = start(t, c)
	tick(t, clock, time.Minute)
	s.wait(t, 2)
	stop()
	if got, want := s.ids(), []string{idOf(4, 1), idOf(4, 2)}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if st := a.Stats(); st.Missed != 0 {
		t.Errorf("%+v", st)
	}
}

func TestForbid(t *testing.T) {
	clock, s, p := clocktesting.NewFakeClock(begin), newSink(), newSlow()
	c := testConfig(t, t.TempDir(), nil, s, clock)
	c.Program, c.Policy = p, v1alpha1.ConcurrencyForbid
	dealt(t, c, 0)
	a, stop := start(t, c)
	tick(t, clock, time.Minute)
	p.awaits(t, 1)
	clock.Step(3 * time.Minute)
	close(p.end[1])
	p.awaits(t, 4)
	close(p.end[4])
	s.wait(t, 2)
	stop()
	if st := a.Stats(); st.Runs != 2 || st.Missed != 2 || st.Running != 0 {
		t.Errorf("%+v", st)
	}
}

func TestReplace(t *testing.T) {
	clock, s, p := clocktesting.NewFakeClock(begin), newSink(), newSlow()
	c := testConfig(t, t.TempDir(), nil, s, clock)
	c.Program, c.Policy = p, v1alpha1.ConcurrencyReplace
	dealt(t, c, 0)
	a, stop := start(t, c)
	for n := 1; n <= 3; n++ {
		tick(t, clock, time.Minute)
		p.awaits(t, n)
	}
	close(p.end[3])
	s.wait(t, 1)
	until(t, a, "settled", func(st Stats) bool { return st.Runs == 1 })
	stop()
	if got := s.ids(); !slices.Equal(got, []string{idOf(3, 1)}) {
		t.Errorf("sent %q", got)
	}
	if st := a.Stats(); st.Replaced != 2 || st.Failed+st.Missed != 0 {
		t.Errorf("%+v", st)
	}
}

// Several runs go on at once; what they write is sent in the order in which they were
// due, and what had not ended when the adapter did is made again.
func TestAllow(t *testing.T) {
	clock, s, p, dir := clocktesting.NewFakeClock(begin), newSink(), newSlow(), t.TempDir()
	c := testConfig(t, dir, nil, s, clock)
	c.Program, c.Policy = p, v1alpha1.ConcurrencyAllow
	dealt(t, c, 0)
	a, stop := start(t, c)
	for n := 1; n <= v1alpha1.MaxConcurrentRuns; n++ {
		tick(t, clock, time.Minute)
		p.awaits(t, n)
	}
	clock.Step(time.Minute) // there is no place for another
	close(p.end[2])
	close(p.end[1])
	s.wait(t, 2)
	p.awaits(t, 11)
	close(p.end[5]) // which is nothing before the third
	stop()
	if got := s.ids(); !slices.Equal(got, []string{idOf(1, 1), idOf(2, 1)}) {
		t.Errorf("sent %q", got)
	}
	if st := a.Stats(); st.Runs != 2 || st.Missed != 0 {
		t.Errorf("%+v", st)
	}

	c = testConfig(t, dir, nil, s, clock)
	c.Program, c.Policy = p, v1alpha1.ConcurrencyAllow
	_, stop = start(t, c)
	p.awaits(t, 11) // for all that were missed
	close(p.end[11])
	s.wait(t, 3)
	stop()
}

// streamFunc is a Stream.
type streamFunc func(ctx context.Context, e *event.Event, take func([]byte) error) error

func (f streamFunc) Run(ctx context.Context, e *event.Event, take func([]byte) error) error {
	return f(ctx, e, take)
}

// A program that runs on is started again, after longer and longer times until it has
// run for a while. Lines that are no events are lost alone.
func TestRunOn(t *testing.T) {
	clock, s := clocktesting.NewFakeClock(begin), newSink()
	c := testConfig(t, t.TempDir(), nil, s, clock)
	starts := 0
	c.Stream = streamFunc(func(_ context.Context, e *event.Event, take func([]byte) error) error {
		starts++
		if e.Type() != RunType {
			t.Errorf("started with %v", e)
		}
		if starts == 4 {
			clock.Step(healthy)
		}
		for _, l := range []string{line(fmt.Sprint("a", starts)), "", "text", `{"specversion":"1.0"}`, "[" + line(fmt.Sprint("b", starts)) + "]"} {
			if err := take([]byte(l)); err != nil {
				return err
			}
		}
		if starts == 2 {
			return errors.New("broken")
		}
		return nil
	})
	a, stop := start(t, c)
	var want []string
	at := begin
	for n, wait := range []time.Duration{firstRestart, 2 * firstRestart, 4 * firstRestart, firstRestart, 2 * firstRestart} {
		want = append(want, fmt.Sprint("a", n+1), fmt.Sprintf("ns.beat.%s.3", at.Format(time.RFC3339Nano)), fmt.Sprint("b", n+1))
		s.wait(t, len(want))
		until(t, a, "waiting", func(st Stats) bool { return int(st.Restarts) == n+1 })
		tick(t, clock, wait-1)
		if st := a.Stats(); int(st.Restarts) != n+1 || st.NextRun.IsZero() {
			t.Errorf("%+v", st)
		}
		tick(t, clock, 1)
		if at = at.Add(wait); n == 3 {
			at = at.Add(healthy) // which it was running for
		}
	}
	s.wait(t, len(want)+3)
	stop()
	if got := s.ids()[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
	if st := a.Stats(); st.Failed != 1 || st.Runs != 5 || st.Lost != 6 || !strings.Contains(st.LastError, "line 4 of the program's output") {
		t.Errorf("%+v", st)
	}
}

// While the sink takes nothing a program that runs on waits; what it has written comes
// after a restart, in its order.
func TestRunOnSinkDown(t *testing.T) {
	clock, dir := clocktesting.NewFakeClock(begin), t.TempDir()
	written := make(chan int, 1)
	const all = 10 * mostPending
	program := streamFunc(func(ctx context.Context, _ *event.Event, take func([]byte) error) error {
		for n := range all {
			done := make(chan error, 1)
			go func() { done <- take([]byte(line(fmt.Sprintf("%06d", n)))) }()
			select {
			case err := <-done:
				if err != nil {
					return err
				}
			case <-ctx.Done(): // a program that is asked to end, and held back
				written <- n
				return errors.Join(ctx.Err(), <-done)
			}
		}
		written <- all
		return nil
	})
	down := senderFunc(func(ctx context.Context, _ *event.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	c := testConfig(t, dir, nil, down, clock) // three records have room
	c.Stream = program
	a, stop := start(t, c)
	until(t, a, "full", func(st Stats) bool { return strings.Contains(st.LastError, "wait for the sink") })
	stop()
	n := <-written
	if n >= all {
		t.Fatalf("all of %d lines were taken", n)
	}

	s := newSink()
	s.news = make(chan struct{}, 2*all)
	c = testConfig(t, dir, nil, s, clock)
	c.Suspended, c.Stream = true, program
	_, stop = start(t, c)
	s.wait(t, n)
	stop()
	for i, id := range s.ids() {
		if id != fmt.Sprintf("%06d", i) {
			t.Fatalf("event %d is %s", i, id)
		}
	}
}
