// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// The clocks are the host's: a program reads how they are kept and changes nothing.

// clockSettime is clock_settime(2). Errors: EINVAL for a clock that nobody can set,
// EFAULT, EPERM.
func clockSettime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	id := int32(a[0])
	if id != unix.CLOCK_REALTIME && !isCPUClock(t, id) {
		return 0, abi.EINVAL
	}
	if _, errno := copyInTime(t, a[1]); errno != 0 {
		return 0, errno
	}
	return 0, abi.EPERM
}

// isCPUClock reports whether the clock is the processor time of somebody who exists.
func isCPUClock(t *task.Thread, id int32) bool {
	_, errno := readClock(t.P, ownClock(t, id))
	return id < 0 && errno == 0
}

// setTimeOfDay is settimeofday(2). Errors: EFAULT, EINVAL, EPERM.
func setTimeOfDay(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[0] != 0 {
		var b [abi.TimespecSize]byte
		if errno := t.CopyIn(a[0], b[:]); errno != 0 {
			return 0, errno
		}
		if _, errno := abi.DecodeTimeval(b[:]); errno != 0 {
			return 0, errno
		}
	}
	if a[1] != 0 {
		var zone [8]byte
		if errno := t.CopyIn(a[1], zone[:]); errno != 0 {
			return 0, errno
		}
	}
	return 0, abi.EPERM
}

// timexSize is the size of struct timex; adjtimex(2).
const timexSize = 208

// Members of struct timex, and what a clock that nobody disciplines has in them.
const (
	timexModes     = 0
	timexMaxError  = 24
	timexEstError  = 32
	timexStatus    = 40
	timexPrecision = 56
	timexTolerance = 64
	timexTime      = 72
	timexTick      = 88
	timexTAI       = 160

	staUnsync    = 0x40
	timeError    = 5
	unknownError = 16_000_000 // microseconds: NTP_PHASE_LIMIT
	tolerance    = 32_768_000 // MAXFREQ, scaled
	tickMicros   = 10_000
	// adjReading are the modes that change nothing.
	adjOffsetReadonly = 0xa001 // ADJ_OFFSET_SS_READ
)

func adjtimex(t *task.Thread, a task.Args) (uint64, abi.Errno) { return readTimex(t, a[0]) }

// clockAdjtime is clock_adjtime(2). Errors: EINVAL for an unknown clock, EOPNOTSUPP for
// those that are not adjusted.
func clockAdjtime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	id := int32(a[0])
	var b [timexSize]byte
	if errno := t.CopyIn(a[1], b[:]); errno != 0 {
		return 0, errno
	}
	if _, errno := readClock(t.P, ownClock(t, id)); errno != 0 {
		return 0, errno
	}
	if id != unix.CLOCK_REALTIME {
		return 0, abi.ENOTSUP
	}
	return readTimex(t, a[1])
}

// readTimex tells how the wall clock is kept. Errors: EFAULT, EPERM for a change.
func readTimex(t *task.Thread, addr uint64) (uint64, abi.Errno) {
	var b [timexSize]byte
	if errno := t.CopyIn(addr, b[:]); errno != 0 {
		return 0, errno
	}
	le := binary.LittleEndian
	modes := le.Uint32(b[timexModes:])
	if modes != 0 && modes != adjOffsetReadonly {
		return 0, abi.EPERM
	}
	clear(b[:])
	le.PutUint32(b[timexModes:], modes)
	le.PutUint64(b[timexMaxError:], unknownError)
	le.PutUint64(b[timexEstError:], unknownError)
	le.PutUint32(b[timexStatus:], staUnsync)
	le.PutUint64(b[timexPrecision:], 1)
	le.PutUint64(b[timexTolerance:], tolerance)
	now := max(0, t.K.Clock.Realtime())
	le.PutUint64(b[timexTime:], uint64(now/nanosPerSecond))
	le.PutUint64(b[timexTime+8:], uint64(now%nanosPerSecond/1000))
	le.PutUint64(b[timexTick:], tickMicros)
	le.PutUint32(b[timexTAI:], 0)
	if errno := t.CopyOut(addr, b[:]); errno != 0 {
		return 0, errno
	}
	return timeError, abi.OK
}
