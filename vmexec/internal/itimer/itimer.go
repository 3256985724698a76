// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package itimer holds the interval timers of a process: setitimer(2), alarm(2)
// and timer_create(2). It knows clocks and deadlines, not signals. A VM's kernel
// is single-threaded, so nothing here is locked.
package itimer

import (
	"maps"
	"math"
	"slices"
)

// minPeriod is the least time in nanoseconds between two expiries of a timer,
// so that an interval of one nanosecond cannot keep the monitor busy. Expiries
// that are left out count as overruns, as those of a loaded machine do.
const minPeriod = 100_000

// MaxPOSIX bounds the timers that a process may create.
const MaxPOSIX = 1024

// Alarms calls back at a time of the monotonic clock.
type Alarms interface {
	// Monotonic returns the time in nanoseconds.
	Monotonic() int64
	// After calls f once, at or after deadline, unless stop was called before.
	After(deadline int64, f func()) (stop func())
}

// Timer expires once or periodically on some clock. Use New.
type Timer struct {
	// Wall says that the clock is a wall clock, which can be set. As in Linux, times
	// from now (SetAfter) are then counted on the monotonic clock instead.
	Wall bool

	alarms   Alarms               `snapshot:"-"` // this and the next two: given by Set.Clone
	now      func() int64         `snapshot:"-"`
	fire     func(overruns int64) `snapshot:"-"`
	deadline int64                // 0 when disarmed
	interval int64                // 0 when it expires once
	relative bool                 // deadline is of the monotonic clock, not of the timer's
	stop     func()               `snapshot:"-"` // of a call that Set.Clone asks for again
}

// New returns a disarmed timer. now is its clock in nanoseconds, which may be
// slower than the monotonic clock (CPU time) or be set apart from it (wall
// time). fire is called at each expiry with the number of expiries that were
// missed since the last.
func New(a Alarms, now func() int64, fire func(overruns int64)) *Timer {
	return &Timer{alarms: a, now: now, fire: fire}
}

// Set arms the timer for the time deadline of its clock, which may have passed,
// and then for every interval nanoseconds unless that is 0. A deadline of 0 or
// less disarms it. interval must not be negative.
func (t *Timer) Set(deadline, interval int64) {
	t.disarm()
	t.start(deadline, interval)
}

// SetAfter arms the timer for d nanoseconds from now, and then for every interval
// nanoseconds unless that is 0. A d of 0 disarms it. Neither may be negative.
func (t *Timer) SetAfter(d, interval int64) {
	t.disarm()
	if d > 0 {
		t.relative = t.Wall
		t.start(Add(t.time(), d), interval)
	}
}

func (t *Timer) start(deadline, interval int64) {
	if deadline > 0 {
		t.deadline, t.interval = deadline, interval
		t.arm(0)
	}
}

// time is the clock of the deadline.
func (t *Timer) time() int64 {
	if t.relative {
		return t.alarms.Monotonic()
	}
	return t.now()
}

// clone returns the timer on other clocks. It expires at the same time of them.
func (t *Timer) clone(a Alarms, now func() int64, fire func(overruns int64)) *Timer {
	n := &Timer{Wall: t.Wall, alarms: a, now: now, fire: fire, deadline: t.deadline, interval: t.interval, relative: t.relative}
	if n.deadline != 0 {
		n.arm(0)
	}
	return n
}

// Get returns the nanoseconds to the next expiry, at least 1, or 0 when the
// timer is disarmed; and the interval.
func (t *Timer) Get() (left, interval int64) {
	if t.deadline == 0 {
		return 0, t.interval
	}
	return max(1, t.deadline-t.time()), t.interval
}

// Later returns the time of the timer's clock d nanoseconds from now, for Set. d
// must not be negative.
func (t *Timer) Later(d int64) int64 { return Add(t.now(), d) }

func (t *Timer) disarm() {
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
	t.deadline, t.interval, t.relative = 0, 0, false
}

// arm asks for a call when the clock can first have come to the deadline, no
// sooner than after least nanoseconds.
func (t *Timer) arm(least int64) {
	left := max(0, least, t.deadline-t.time())
	t.stop = t.alarms.After(Add(t.alarms.Monotonic(), left), t.check)
}

func (t *Timer) check() {
	t.stop = nil
	now := t.time()
	if now < t.deadline {
		// The timer's clock went slower than the monotonic one.
		t.arm(minPeriod)
		return
	}
	overruns := int64(0)
	if t.interval == 0 {
		t.deadline = 0
	} else {
		overruns = (now - t.deadline) / t.interval
		if t.interval < minPeriod {
			overruns += minPeriod / t.interval
		}
		t.deadline = Add(t.deadline, (overruns+1)*t.interval)
		t.arm(0)
	}
	t.fire(overruns)
}

// Add returns a+b, or the largest time when that is too much. b must not be negative.
func Add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// POSIX is a timer of timer_create(2).
type POSIX struct {
	*Timer
	Signal int    // 0: SIGEV_NONE
	Thread int    // SIGEV_THREAD_ID: the thread to signal; 0: the process
	Value  uint64 // si_value
	Clock  int32  // as in timer_create; for Bind

	sent   bool  // a signal was sent and may not have been delivered yet
	missed int64 // expiries since then
	last   int64 // missed when the last delivered signal was delivered
}

// maxOverruns is DELAYTIMER_MAX.
const maxOverruns = math.MaxInt32

// Expired takes note of an expiry with its overruns. pending tells whether the
// timer's last signal still waits to be delivered: then it stands for this
// expiry too, which counts as one more overrun. Otherwise send reports that a
// signal is due.
func (p *POSIX) Expired(overruns int64, pending bool) (send bool) {
	p.Overruns(pending)
	if p.sent {
		p.missed = min(Add(p.missed, Add(overruns, 1)), maxOverruns)
		return false
	}
	p.sent, p.missed = true, min(overruns, maxOverruns)
	return true
}

// Taken notes that the timer's signal is delivered, and returns the overruns that go
// with it.
func (p *POSIX) Taken() int64 { return p.Overruns(false) }

// Overruns returns how many expiries the last delivered signal stood for beside
// its own; timer_getoverrun(2).
func (p *POSIX) Overruns(pending bool) int64 {
	if p.sent && !pending {
		p.sent, p.last = false, p.missed
	}
	return p.last
}

// Rearm forgets the overruns, as timer_settime(2) does.
func (p *POSIX) Rearm(deadline, interval int64) {
	p.missed, p.last = 0, 0
	p.Set(deadline, interval)
}

// RearmAfter is Rearm for a time from now.
func (p *POSIX) RearmAfter(d, interval int64) {
	p.missed, p.last = 0, 0
	p.SetAfter(d, interval)
}

// Set is the timers of one process. The zero value has none. A forked child
// starts with an empty Set; exec keeps Real, Virtual and Prof.
type Set struct {
	Real, Virtual, Prof *Timer // of setitimer; nil until first used
	posix               map[int32]*POSIX
	next                int32
}

// Add gives p an id. It reports false when the process has MaxPOSIX timers.
func (s *Set) Add(p *POSIX) (id int32, ok bool) {
	if len(s.posix) >= MaxPOSIX {
		return 0, false
	}
	if s.posix == nil {
		s.posix = map[int32]*POSIX{}
	}
	for s.posix[s.next] != nil {
		s.next = (s.next + 1) & math.MaxInt32
	}
	id = s.next
	s.posix[id] = p
	s.next = (s.next + 1) & math.MaxInt32
	return id, true
}

// POSIX returns the timer with the id, or nil.
func (s *Set) POSIX(id int32) *POSIX { return s.posix[id] }

// Delete disarms and forgets the timer with the id, which must exist.
func (s *Set) Delete(id int32) {
	s.posix[id].disarm()
	delete(s.posix, id)
}

// DeletePOSIX disarms and forgets all timers but those of setitimer, as exec does.
func (s *Set) DeletePOSIX() {
	for id := range s.posix {
		s.Delete(id)
	}
}

// Clear disarms and forgets every timer, as the end of a process does.
func (s *Set) Clear() {
	s.DeletePOSIX()
	for _, t := range []**Timer{&s.Real, &s.Virtual, &s.Prof} {
		if *t != nil {
			(*t).disarm()
			*t = nil
		}
	}
}

// The timers of setitimer(2), for Bind.
const (
	Real    = 0
	Virtual = 1
	Prof    = 2
)

// Bind returns the clock and the callback of a timer, as New takes them. p is the
// timer of timer_create with the id, or nil: then id is Real, Virtual or Prof.
type Bind func(id int32, p *POSIX) (now func() int64, fire func(overruns int64))

// Clone returns the timers for a copy of the process in another VM, whose clocks go
// on from where those of s stopped; they are read at once. It only reads s.
func (s *Set) Clone(a Alarms, bind Bind) Set {
	n := Set{next: s.next}
	copies := [...]**Timer{Real: &n.Real, Virtual: &n.Virtual, Prof: &n.Prof}
	for id, t := range [...]*Timer{Real: s.Real, Virtual: s.Virtual, Prof: s.Prof} {
		if t != nil {
			now, fire := bind(int32(id), nil)
			*copies[id] = t.clone(a, now, fire)
		}
	}
	if len(s.posix) == 0 {
		return n
	}
	n.posix = make(map[int32]*POSIX, len(s.posix))
	// In order, so that timers that expire at once do so in the same order always.
	for _, id := range slices.Sorted(maps.Keys(s.posix)) {
		p := *s.posix[id]
		now, fire := bind(id, &p)
		p.Timer = p.Timer.clone(a, now, fire)
		n.posix[id] = &p
	}
	return n
}
