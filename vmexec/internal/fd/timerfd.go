// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Clock tells the time of a VM in nanoseconds.
type Clock interface {
	Monotonic() int64
	Realtime() int64
}

// Timers calls functions of the run loop at a time.
type Timers interface {
	// After calls f once on the loop when the monotonic clock reaches the deadline,
	// never before After has returned. stop prevents that; it may be called late.
	After(deadline int64, f func()) (stop func())
}

// TimerFD is a timer as in timerfd_create(2).
type TimerFD struct {
	Base
	clock    Clock  `snapshot:"-"` // this and the next: given by CloneFile
	timers   Timers `snapshot:"-"`
	realtime bool
	absolute bool // next is of the timer's clock; else of the monotonic one
	armed    bool
	next     int64
	interval int64 // 0: fires once
	ticks    uint64
	stop     func() `snapshot:"-"` // of the loop's timer; nil when there is none. CloneFile asks for one
	q        waitq.Queue
}

// NewTimerFD returns a timer that is not armed, of the realtime or the monotonic
// clock. flags may have O_NONBLOCK.
func NewTimerFD(sys *System, clock Clock, timers Timers, realtime bool, flags int) *TimerFD {
	return &TimerFD{
		Base:  Base{Flags: unix.O_RDWR | flags, Ino: sys.NextInode()},
		clock: clock, timers: timers, realtime: realtime,
	}
}

// now is the clock of next. Linux too counts a relative time of the realtime clock
// on the monotonic one: setting the clock does not move it, and nor does the jump
// from a snapshot to its clone.
func (t *TimerFD) now() int64 {
	if t.realtime && t.absolute {
		return t.clock.Realtime()
	}
	return t.clock.Monotonic()
}

// addClamp adds a non-negative b and stops at the largest number.
func addClamp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// settle counts the expirations up to now.
func (t *TimerFD) settle() {
	if !t.armed {
		return
	}
	late := t.now() - t.next
	if late < 0 {
		return
	}
	if t.interval == 0 {
		t.ticks++
		t.armed = false
		return
	}
	k := late/t.interval + 1
	t.ticks += uint64(k)
	t.next = addClamp(t.next, k*t.interval)
}

// arm asks for a wake-up at the next expiration. A timer that has expired and was
// not read has none, so that a short interval nobody reads costs nothing.
func (t *TimerFD) arm() {
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
	if !t.armed || t.ticks > 0 {
		return
	}
	now := t.clock.Monotonic()
	t.stop = t.timers.After(addClamp(now, max(0, t.next-t.now())), func() {
		t.stop = nil
		t.settle()
		t.arm() // again when the clocks disagree and it came early
		t.q.WakeAll()
	})
}

// Setting is an expiration in nanoseconds from now, or of the timer's clock, and
// the interval of later ones (0: none). A zero Value means disarmed.
type Setting struct{ Value, Interval int64 }

// Set arms or disarms the timer, as timerfd_settime(2), and returns what Get gave
// before. Values are not negative. Expirations that were not read are forgotten.
func (t *TimerFD) Set(s Setting, absolute bool) Setting {
	old := t.Get()
	t.armed, t.absolute = s.Value > 0, absolute
	t.next, t.interval, t.ticks = s.Value, s.Interval, 0
	if !absolute {
		t.next = addClamp(t.now(), s.Value)
	}
	t.settle()
	t.arm()
	if t.ticks > 0 {
		t.q.WakeAll()
	}
	return old
}

// Get returns the time to the next expiration and the interval.
func (t *TimerFD) Get() Setting {
	t.settle()
	s := Setting{Interval: t.interval}
	if t.armed {
		s.Value = max(1, t.next-t.now())
	}
	return s
}

// Read gives the number of expirations since the last read as 8 bytes; EAGAIN when
// there was none, EINVAL when dst is shorter than 8 bytes, ESPIPE for an offset.
func (t *TimerFD) Read(dst Buffers, off int64) (int, abi.Errno) {
	switch {
	case off != CurrentOffset:
		return 0, abi.ESPIPE
	case dst.Len() < 8:
		return 0, abi.EINVAL
	}
	t.settle()
	if t.ticks == 0 {
		return 0, abi.EAGAIN
	}
	dst.CopyFrom(binary.LittleEndian.AppendUint64(nil, t.ticks))
	t.ticks = 0
	t.arm()
	return 8, abi.OK
}

// Readiness is readable after an expiration.
func (t *TimerFD) Readiness() Events {
	t.settle()
	if t.ticks > 0 {
		return In
	}
	return 0
}

// Queue is woken when the timer expires.
func (t *TimerFD) Queue() *waitq.Queue { return &t.q }

// CloneFile implements Cloner. The copy expires at the same time of its clock.
func (t *TimerFD) CloneFile(c *CloneContext) File {
	n := &TimerFD{
		Base: t.Base, clock: c.Clock, timers: c.Timers, realtime: t.realtime, absolute: t.absolute,
		armed: t.armed, next: t.next, interval: t.interval, ticks: t.ticks,
	}
	n.arm()
	return n
}

// Lseek does nothing, and succeeds, as on Linux.
func (t *TimerFD) Lseek(int64, int) (int64, abi.Errno) { return 0, abi.OK }

// Name is that of Linux.
func (t *TimerFD) Name() string { return "anon_inode:[timerfd]" }

// Release disarms the timer.
func (t *TimerFD) Release() {
	t.armed = false
	t.arm()
}
