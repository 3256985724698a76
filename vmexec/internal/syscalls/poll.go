// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// pollCalls are the calls that wait for any of several descriptors.
func pollCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_POLL, Name: "poll", Fn: sysPoll, Support: Full},
		{Nr: unix.SYS_PPOLL, Name: "ppoll", Fn: sysPpoll, Support: Full},
		{Nr: unix.SYS_SELECT, Name: "select", Fn: sysSelect, Support: Full},
		{Nr: unix.SYS_PSELECT6, Name: "pselect6", Fn: sysPselect6, Support: Full},
	}
}

const second = int64(1e9)

// timeout is how long a call waits, in nanoseconds.
type timeout int64

// forever waits without end; so does every negative timeout.
const forever timeout = -1

// timeoutOf makes a timeout of a struct timespec or timeval, whose second member
// counts units of unit nanoseconds. EINVAL for values that are no time.
func timeoutOf(sec, frac, unit int64) (timeout, abi.Errno) {
	switch {
	case sec < 0 || frac < 0 || frac >= second/unit:
		return 0, abi.EINVAL
	case sec >= math.MaxInt64/second:
		return math.MaxInt64, abi.OK
	}
	return timeout(sec*second + frac*unit), abi.OK
}

func millis(arg uint64) timeout {
	if ms := int32(arg); ms >= 0 {
		return timeout(ms) * 1e6
	}
	return forever
}

// copyInTimeout reads a struct timespec (unit 1) or timeval (unit 1000); a null
// pointer is forever.
func copyInTimeout(t *task.Thread, addr uint64, unit int64) (timeout, abi.Errno) {
	if addr == 0 {
		return forever, abi.OK
	}
	var b [16]byte
	if errno := t.CopyIn(addr, b[:]); errno != abi.OK {
		return 0, errno
	}
	le := binary.LittleEndian
	return timeoutOf(int64(le.Uint64(b[:])), int64(le.Uint64(b[8:])), unit)
}

// copyInMask reads the signal mask that ppoll and its like wait with; a null pointer
// is none.
func copyInMask(t *task.Thread, addr, size uint64) (*uint64, abi.Errno) {
	if addr == 0 {
		return nil, abi.OK
	}
	if size != 8 {
		return nil, abi.EINVAL
	}
	mask, errno := t.CopyInU64(addr)
	return &mask, errno
}

// wait is what these calls keep from their first run to the last.
type wait struct {
	deadline int64
	instant  bool   // never waits
	left     uint64 // address that gets the rest of the timeout; 0: none
	unit     int64  // of the second member there
	// mask is the signal mask of the wait; nil: the thread's. It takes effect only
	// when nothing is ready: a call that has something to return leaves the signals
	// that it would let through where they are, as Linux does.
	mask *uint64
}

func startWait(t *task.Thread, d timeout, left uint64, unit int64) wait {
	return wait{deadline: t.Deadline(int64(d)), instant: d == 0, left: left, unit: unit}
}

// signalDue reports whether a wait must end for a signal: also one that the mask of
// ppoll and its like has just let through.
func signalDue(t *task.Thread) bool { return t.Woken() == task.WakeSignal || t.Deliverable() }

// on waits for the queues. It returns EBLOCK, or ERESTARTNOHAND when a signal is
// due, or OK when the time is over.
func (w *wait) on(t *task.Thread, qs []*waitq.Queue) abi.Errno {
	if w.mask != nil {
		t.SwapMask(*w.mask)
	}
	switch {
	case signalDue(t):
		return abi.ERESTARTNOHAND
	case w.instant || t.Woken() == task.WakeTimeout:
		return abi.OK
	}
	return t.Block(w.deadline, qs...)
}

// end writes the rest of the timeout back, as Linux does. A timeout in memory that
// cannot be written is left alone.
func (w *wait) end(t *task.Thread) {
	if w.left == 0 {
		return
	}
	var rest int64
	if w.deadline != task.NoDeadline && !w.instant {
		rest = max(0, w.deadline-t.K.Clock.Monotonic())
	} else if !w.instant {
		return // so long that it has no deadline: the same is left
	}
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(rest/second))
	binary.LittleEndian.PutUint64(b[8:], uint64(rest%second/w.unit))
	_ = t.CopyOut(w.left, b[:])
}

// pollFD is struct pollfd.
type pollFD struct {
	fd      int32
	events  uint16
	revents uint16
}

const pollFDSize = 8

func decodePollFDs(raw []byte) []pollFD {
	fds := make([]pollFD, len(raw)/pollFDSize)
	for i := range fds {
		b := raw[i*pollFDSize:]
		fds[i] = pollFD{fd: int32(binary.LittleEndian.Uint32(b)), events: binary.LittleEndian.Uint16(b[4:])}
	}
	return fds
}

type pollState struct {
	wait
	addr uint64
	fds  []pollFD
}

func startPoll(t *task.Thread, addr, n uint64, d timeout, left uint64) (*pollState, abi.Errno) {
	if uint64(uint32(n)) > uint64(t.P.FDs.Limit()) {
		return nil, abi.EINVAL
	}
	raw := make([]byte, uint32(n)*pollFDSize)
	if errno := t.CopyIn(addr, raw); errno != abi.OK {
		return nil, errno
	}
	s := &pollState{wait: startWait(t, d, left, 1), addr: addr, fds: decodePollFDs(raw)}
	t.State = s
	return s, abi.OK
}

// look sets revents of all and returns how many are not 0, or the queues to wait on.
func (s *pollState) look(fds *fd.Table) (ready int, qs []*waitq.Queue) {
	for i := range s.fds {
		p := &s.fds[i]
		p.revents = 0
		if p.fd < 0 {
			continue
		}
		f, errno := fds.Get(p.fd)
		if errno != abi.OK {
			p.revents = unix.POLLNVAL
			ready++
			continue
		}
		always := fd.Err | fd.Hup | unix.POLLNVAL
		if p.revents = uint16(f.Readiness() & (fd.Events(p.events) | always)); p.revents != 0 {
			ready++
		} else if ready == 0 {
			qs = append(qs, f.Queue())
		}
	}
	return ready, qs
}

func (s *pollState) run(t *task.Thread) (uint64, abi.Errno) {
	n, qs := s.look(t.P.FDs)
	if n == 0 {
		errno := s.on(t, qs)
		if errno == abi.EBLOCK {
			return 0, errno
		}
		if errno != abi.OK {
			s.end(t)
			return 0, errno
		}
	}
	s.end(t)
	for i, p := range s.fds {
		var b [2]byte
		binary.LittleEndian.PutUint16(b[:], p.revents)
		if errno := t.CopyOut(s.addr+uint64(i)*pollFDSize+6, b[:]); errno != abi.OK {
			return 0, errno
		}
	}
	return uint64(n), abi.OK
}

func sysPoll(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, ok := t.State.(*pollState)
	if !ok {
		var errno abi.Errno
		if s, errno = startPoll(t, a[0], a[1], millis(a[2]), 0); errno != abi.OK {
			return 0, errno
		}
	}
	return s.run(t)
}

func sysPpoll(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, ok := t.State.(*pollState)
	if !ok {
		d, errno := copyInTimeout(t, a[2], 1)
		if errno != abi.OK {
			return 0, errno
		}
		if s, errno = startPoll(t, a[0], a[1], d, a[2]); errno != abi.OK {
			return 0, errno
		}
		if s.mask, errno = copyInMask(t, a[3], a[4]); errno != abi.OK {
			return 0, errno
		}
	}
	return s.run(t)
}

// Conditions that golang.org/x/sys/unix does not have; see
// include/uapi/asm-generic/poll.h of Linux.
const (
	pollRdBand = 0x080
	pollWrBand = 0x200
)

// selectSets are the conditions of select(2)'s three sets.
var selectSets = [3]fd.Events{
	pollRdBand | fd.In | fd.Hup | fd.Err | unix.POLLNVAL,
	pollWrBand | fd.Out | fd.Err | unix.POLLNVAL,
	unix.POLLPRI,
}

type selectState struct {
	wait
	addr [3]uint64
	want [3][]byte // nil: not asked for
	got  [3][]byte
	n    int
}

func startSelect(t *task.Thread, a task.Args, d timeout, unit int64) (*selectState, abi.Errno) {
	n := int(int32(a[0]))
	if n < 0 {
		return nil, abi.EINVAL
	}
	// As on Linux, descriptors beyond what the process may have do not count.
	n = min(n, t.P.FDs.Limit())
	s := &selectState{addr: [3]uint64{a[1], a[2], a[3]}, n: n}
	size := (n + 63) / 64 * 8
	for i, addr := range s.addr {
		if addr == 0 {
			continue
		}
		s.want[i], s.got[i] = make([]byte, size), make([]byte, size)
		if errno := t.CopyIn(addr, s.want[i]); errno != abi.OK {
			return nil, errno
		}
	}
	s.wait = startWait(t, d, a[4], unit)
	t.State = s
	return s, abi.OK
}

// look fills got and returns how many bits it set, or the queues to wait on. EBADF
// when a set names a descriptor that is not open.
func (s *selectState) look(fds *fd.Table) (ready int, qs []*waitq.Queue, errno abi.Errno) {
	for i := range s.got {
		clear(s.got[i])
	}
	for n := range s.n {
		at, bit := n/8, byte(1)<<(n%8)
		var f fd.File
		var ev fd.Events
		before := ready
		for i, want := range s.want {
			if want == nil || want[at]&bit == 0 {
				continue
			}
			if f == nil {
				if f, errno = fds.Get(int32(n)); errno != abi.OK {
					return 0, nil, errno
				}
				ev = f.Readiness()
			}
			if ev&selectSets[i] != 0 {
				s.got[i][at] |= bit
				ready++
			}
		}
		if f != nil && ready == before && ready == 0 {
			qs = append(qs, f.Queue())
		}
	}
	return ready, qs, abi.OK
}

func (s *selectState) run(t *task.Thread) (uint64, abi.Errno) {
	n, qs, errno := s.look(t.P.FDs)
	if errno == abi.OK && n == 0 {
		errno = s.on(t, qs)
	}
	if errno == abi.EBLOCK {
		return 0, errno
	}
	s.end(t)
	if errno != abi.OK {
		return 0, errno
	}
	for i, got := range s.got {
		if got == nil {
			continue
		}
		if errno := t.CopyOut(s.addr[i], got); errno != abi.OK {
			return 0, errno
		}
	}
	return uint64(n), abi.OK
}

// sysSelect is select(2). A timeval may have more than a million microseconds.
func sysSelect(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, ok := t.State.(*selectState)
	if !ok {
		var errno abi.Errno
		d := forever
		if a[4] != 0 {
			var b [16]byte
			if errno = t.CopyIn(a[4], b[:]); errno != abi.OK {
				return 0, errno
			}
			sec, usec := int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))
			if usec >= 1e6 && sec >= 0 && sec < math.MaxInt64/second {
				sec, usec = sec+usec/1e6, usec%1e6
			}
			if d, errno = timeoutOf(sec, usec, 1000); errno != abi.OK {
				return 0, errno
			}
		}
		if s, errno = startSelect(t, a, d, 1000); errno != abi.OK {
			return 0, errno
		}
	}
	return s.run(t)
}

// sysPselect6 is pselect(2): the sixth argument points to the address and the size
// of the signal mask.
func sysPselect6(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	s, ok := t.State.(*selectState)
	if !ok {
		d, errno := copyInTimeout(t, a[4], 1)
		if errno != abi.OK {
			return 0, errno
		}
		var mask [16]byte
		if a[5] != 0 {
			if errno := t.CopyIn(a[5], mask[:]); errno != abi.OK {
				return 0, errno
			}
		}
		if s, errno = startSelect(t, a, d, 1); errno != abi.OK {
			return 0, errno
		}
		if s.mask, errno = copyInMask(t, binary.LittleEndian.Uint64(mask[:]), binary.LittleEndian.Uint64(mask[8:])); errno != abi.OK {
			return 0, errno
		}
	}
	return s.run(t)
}
