// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
	"kontain.dev/eventing/vmexec/internal/x86/vdso"
)

// Clock is the time of a VM. When the guest can read the same counter as the
// host, the monotonic clock is computed from it here exactly as the vDSO does,
// so that what a call returns and what the vDSO returns never contradict.
type Clock struct {
	data  vdso.Data
	shift int64 // added to the host's monotonic clock, where the counter is of no use
	boot  int64
}

func newClock(f platform.Features) *Clock {
	c := &Clock{data: vdso.Data{Enabled: f.ClockOK, Mult: f.TSCMult}}
	c.boot, _ = hostClocks()
	c.start(c.boot)
	return c
}

// start makes the monotonic clock go on from at, and the wall clock right.
func (c *Clock) start(at int64) {
	mono, real := hostClocks()
	c.shift = at - mono
	c.data.TSCBase, c.data.MonotonicBase, c.data.RealtimeOffset = x86.ReadTSC(), at, real-at
	c.data.Generation++
}

// resume returns a clock that goes on from the monotonic time at.
func (c *Clock) resume(at int64) *Clock {
	n := *c
	n.start(at)
	return &n
}

func hostClocks() (monotonic, realtime int64) {
	var m, r unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &m)
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &r)
	return m.Nano(), r.Nano()
}

// Monotonic returns CLOCK_MONOTONIC in nanoseconds.
func (c *Clock) Monotonic() int64 {
	if !c.data.Enabled {
		m, _ := hostClocks()
		return m + c.shift
	}
	hi, lo := bits.Mul64(max(x86.ReadTSC(), c.data.TSCBase)-c.data.TSCBase, c.data.Mult)
	return c.data.MonotonicBase + int64(hi<<32|lo>>32)
}

// Realtime returns CLOCK_REALTIME in nanoseconds since 1970.
func (c *Clock) Realtime() int64 {
	if !c.data.Enabled {
		_, r := hostClocks()
		return r
	}
	return c.Monotonic() + c.data.RealtimeOffset
}

// Boot returns Monotonic at the start of the VM.
func (c *Clock) Boot() int64 { return c.boot }

// refresh follows changes of the host's wall clock. It reports whether the page
// that the vDSO reads must be written again.
func (c *Clock) refresh() bool {
	if !c.data.Enabled {
		return false
	}
	_, real := hostClocks()
	off := real - c.Monotonic()
	// Sampling two clocks one after the other is no exact thing.
	if d := off - c.data.RealtimeOffset; d < 10_000 && d > -10_000 {
		return false
	}
	c.data.RealtimeOffset = off
	c.data.Generation++
	return true
}

func (c *Clock) encode(page []byte) { c.data.Encode(page) }
