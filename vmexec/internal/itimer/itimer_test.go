// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package itimer

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// world is a clock that tests move, with the alarms set on it.
type world struct {
	now    int64
	alarms map[int]alarm
	next   int
	calls  int
}

type alarm struct {
	at int64
	f  func()
}

func (w *world) Monotonic() int64 { return w.now }

func (w *world) After(deadline int64, f func()) func() {
	if w.alarms == nil {
		w.alarms = map[int]alarm{}
	}
	id := w.next
	w.next++
	w.alarms[id] = alarm{deadline, f}
	return func() { delete(w.alarms, id) }
}

// advance moves the clock to t, calling what falls due on the way at its time.
func (w *world) advance(t int64) {
	for {
		first := -1
		for id, a := range w.alarms {
			if a.at <= t && (first < 0 || a.at < w.alarms[first].at) {
				first = id
			}
		}
		if first < 0 {
			w.now = t
			return
		}
		a := w.alarms[first]
		delete(w.alarms, first)
		w.now = max(w.now, a.at)
		w.calls++
		a.f()
	}
}

type expiry struct{ At, Overruns int64 }

const ms = 1_000_000

func TestTimer(t *testing.T) {
	for _, tc := range []struct {
		name               string
		deadline, interval int64
		steps              []int64 // times to advance to, from 10 ms
		late               bool    // the world sleeps through each step
		want               []expiry
		left               int64
		maxCalls           int
	}{
		{name: "once", deadline: 15 * ms, steps: []int64{14 * ms, 30 * ms}, want: []expiry{{15 * ms, 0}}},
		{name: "passed", deadline: 1, steps: []int64{10 * ms}, want: []expiry{{10 * ms, 0}}},
		{name: "disarmed", deadline: 0, interval: ms, steps: []int64{1000 * ms}},
		{name: "periodic", deadline: 15 * ms, interval: 5 * ms, steps: []int64{26 * ms}, want: []expiry{{15 * ms, 0}, {20 * ms, 0}, {25 * ms, 0}}, left: 4 * ms},
		{name: "overrun", deadline: 15 * ms, interval: 5 * ms, steps: []int64{31 * ms}, late: true, want: []expiry{{31 * ms, 3}}, left: 4 * ms},
		{name: "tiny interval", deadline: 10*ms + 1, interval: 1, steps: []int64{20 * ms}, want: nil, maxCalls: 110},
		{name: "far future", deadline: math.MaxInt64, interval: math.MaxInt64, steps: []int64{1 << 60}, left: math.MaxInt64 - 1<<60},
		{name: "far interval", deadline: 11 * ms, interval: math.MaxInt64, steps: []int64{12 * ms}, want: []expiry{{11 * ms, 0}}, left: math.MaxInt64 - 12*ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{now: 10 * ms}
			var got []expiry
			tm := New(w, w.Monotonic, func(n int64) { got = append(got, expiry{w.now, n}) })
			tm.Set(tc.deadline, tc.interval)
			for _, s := range tc.steps {
				if tc.late {
					w.now = s
				}
				w.advance(s)
			}
			if tc.maxCalls > 0 {
				if w.calls > tc.maxCalls || w.calls < tc.maxCalls/2 {
					t.Errorf("%d calls, want at most %d", w.calls, tc.maxCalls)
				}
				return
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if left, _ := tm.Get(); left != tc.left {
				t.Errorf("%d left, want %d", left, tc.left)
			}
			tm.Set(0, 0)
			if len(w.alarms) != 0 {
				t.Error("an alarm is left after disarming")
			}
		})
	}
}

// TestSlowClock: a timer on CPU time expires by that clock, not by the other.
func TestSlowClock(t *testing.T) {
	w := &world{now: ms}
	var got []expiry
	tm := New(w, func() int64 { return w.now / 4 }, func(n int64) { got = append(got, expiry{w.now, n}) })
	tm.Set(tm.Later(5*ms), 0)
	w.advance(100 * ms)
	if len(got) != 1 || got[0].At < 21*ms || got[0].At > 21*ms+2*minPeriod {
		t.Errorf("got %v, want one expiry at 21 ms", got)
	}
}

func TestSet(t *testing.T) {
	w := &world{}
	var s Set
	for i := range int32(MaxPOSIX) {
		p := &POSIX{Timer: New(w, w.Monotonic, func(int64) { t.Error("a deleted timer expired") })}
		if id, ok := s.Add(p); !ok || id != i || s.POSIX(id) != p {
			t.Fatalf("timer %d: %d, %v", i, id, ok)
		}
		p.Set(5, 5)
	}
	if _, ok := s.Add(&POSIX{}); ok {
		t.Error("one more than MaxPOSIX was taken")
	}
	s.Delete(3)
	if s.POSIX(3) != nil {
		t.Error("timer 3 is still there")
	}
	s.Real = New(w, w.Monotonic, func(int64) {})
	s.Real.Set(9, 0)
	s.DeletePOSIX()
	if len(w.alarms) != 1 {
		t.Errorf("%d alarms, want that of Real", len(w.alarms))
	}
	s.Clear()
	if len(w.alarms) != 0 || s.Real != nil {
		t.Errorf("after Clear: %d alarms, Real %v", len(w.alarms), s.Real)
	}
}

func TestOverruns(t *testing.T) {
	var p POSIX
	step := func(overruns int64, pending, send bool, want int64) {
		t.Helper()
		if got := p.Expired(overruns, pending); got != send {
			t.Errorf("send %v, want %v", got, send)
		}
		if got := p.Overruns(true); got != want {
			t.Errorf("%d overruns, want %d", got, want)
		}
	}
	step(0, false, true, 0)
	step(0, true, false, 0) // the first is not delivered yet
	step(2, true, false, 0)
	step(0, false, true, 4) // it was, and stood for 4 more
	if got := p.Overruns(false); got != 0 {
		t.Errorf("%d overruns of a prompt signal", got)
	}
	step(math.MaxInt64, false, true, 0)
	step(math.MaxInt64, true, false, 0)
	if got := p.Overruns(false); got != math.MaxInt32 {
		t.Errorf("%d overruns, want the largest", got)
	}
}
