// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"time"

	"kontain.dev/eventing/vmexec/internal/x86"
)

// The machine's timer kicks the guest at the end of a time slice, and when the time
// has come for a sleeper while another thread runs. A kick with what follows from
// it costs the thread that runs some 200 µs in a nested machine, so there is none
// that is not needed: see docs/adr/0008.
const (
	slice = int64(5 * time.Millisecond)
	// granularity is how long a thread that computes is left alone after it was
	// interrupted for a sleeper. The next one whose time comes goes on after that, or
	// when nothing runs: as on a Linux with one processor, where to be woken is not to
	// run.
	granularity = int64(time.Millisecond)
	// refreshEvery is how often the wall clock of the vDSO follows the host's.
	refreshEvery = int64(time.Second)
	// timerEarly is by how much a kick may come too early, as clocks differ.
	timerEarly = int64(50 * time.Microsecond)
)

// timerState is what the machine's timer does next. Once it has kicked it does so
// at the end of every slice: a kick that falls between two runs is lost.
type timerState uint8

const (
	timerOff   timerState = iota
	timerWaits            // for a deadline
	timerTicks            // it kicks within a slice
)

// ticker is the use that the run loop makes of the machine's timer.
type ticker struct {
	state    timerState
	deadline int64 // timerWaits: what for
	at       int64 // and when that is
	ticked   bool  // there was a kick since it was set
	last     int64 // when a kick last had a sleeper go on
}

// arm sets the machine's timer for the next time slice or deadline. It is left
// alone when it is set early enough already, since setting it is a system call;
// and where threads take turns without end, until it has kicked once.
func (k *Kernel) arm() {
	t := &k.ticker
	switch {
	case len(k.runq) > 1:
		if t.state != timerTicks {
			first := slice
			if now := k.Clock.Monotonic(); len(k.timers) > 0 {
				first = min(first, k.nextTick()-now)
			}
			*t = ticker{state: timerTicks, last: t.last}
			k.setTimer(max(first, minTimer))
		}
	case t.state == timerTicks && !t.ticked:
	case len(k.timers) == 0:
		if t.state != timerOff && t.ticked { // a deadline that is no more is not worth the call
			*t = ticker{last: t.last}
			k.setTimer(0)
		}
	case t.state != timerWaits || k.timers[0].deadline < t.deadline:
		*t = ticker{state: timerWaits, deadline: k.timers[0].deadline, at: k.nextTick(), last: t.last}
		k.setTimer(max(t.at-k.Clock.Monotonic(), minTimer))
	}
}

// minTimer is the least that the machine's timer is set to: 0 turns it off.
const minTimer = int64(time.Microsecond)

// nextTick is when the next deadline may interrupt a thread that runs.
func (k *Kernel) nextTick() int64 {
	return max(k.timers[0].deadline, k.ticker.last+granularity)
}

// setTimer makes the machine's timer kick in ns nanoseconds and then at the end of
// every slice; 0 turns it off.
func (k *Kernel) setTimer(ns int64) {
	period := slice
	if ns == 0 {
		period = 0
	}
	if err := k.machine.Timer(ns, period); err != nil {
		k.fail(err)
	}
}

// tick is what a kick does: deadlines pass and the next thread has its turn.
// Sleepers are looked at only here and when nothing runs: a look at the clock
// in every call would cost more than it brings.
func (k *Kernel) tick() {
	k.stats.Kicks++
	now := k.Clock.Monotonic()
	t := &k.ticker
	t.ticked = true
	if t.state == timerWaits && now >= t.at-timerEarly { // no post's
		t.state = timerTicks
	}
	if k.expire(now) {
		t.last = now
	}
	k.yield = true
	if now-k.refreshed > refreshEvery {
		k.refreshed = now
		if k.Clock.refresh() {
			k.Clock.encode(k.Memory.Page(x86.ClockGPA))
		}
	}
}
