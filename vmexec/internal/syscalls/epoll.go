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

// epollCalls are the calls of epoll(7).
func epollCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_EPOLL_CREATE, Name: "epoll_create", Fn: sysEpollCreate, Support: Full},
		{Nr: unix.SYS_EPOLL_CREATE1, Name: "epoll_create1", Fn: sysEpollCreate1, Support: Full},
		{Nr: unix.SYS_EPOLL_CTL, Name: "epoll_ctl", Fn: sysEpollCtl, Support: Partial, Note: "EPOLLEXCLUSIVE wakes every waiter, which it may; 65536 watches a VM, 64 of them on other epoll sets"},
		{Nr: unix.SYS_EPOLL_WAIT, Name: "epoll_wait", Fn: sysEpollWait, Support: Full},
		{Nr: unix.SYS_EPOLL_PWAIT, Name: "epoll_pwait", Fn: sysEpollPwait, Support: Full},
		{Nr: unix.SYS_EPOLL_PWAIT2, Name: "epoll_pwait2", Fn: sysEpollPwait2, Support: Full},
	}
}

func sysEpollCreate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int32(a[0]) <= 0 {
		return 0, abi.EINVAL
	}
	return makeEpoll(t, false)
}

func sysEpollCreate1(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	flags := uint32(a[0])
	if flags&^uint32(unix.EPOLL_CLOEXEC) != 0 {
		return 0, abi.EINVAL
	}
	return makeEpoll(t, flags != 0)
}

func makeEpoll(t *task.Thread, cloexec bool) (uint64, abi.Errno) {
	n, errno := t.P.FDs.Install(fd.NewEpoll(t.P.FDs.System()), cloexec, 0)
	return uint64(n), errno
}

// epollSet returns the set of a descriptor: EBADF when it is not open, EINVAL when
// it is something else.
func epollSet(t *task.Thread, arg uint64) (*fd.Epoll, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(arg))
	if errno != abi.OK {
		return nil, errno
	}
	ep, ok := f.(*fd.Epoll)
	if !ok {
		return nil, abi.EINVAL
	}
	return ep, abi.OK
}

// epollEventSize is the size of struct epoll_event, which is packed on x86-64.
const epollEventSize = 12

func decodeEpollEvent(b *[epollEventSize]byte) fd.EpollEvent {
	return fd.EpollEvent{Events: binary.LittleEndian.Uint32(b[:]), Data: binary.LittleEndian.Uint64(b[4:])}
}

func appendEpollEvent(b []byte, e fd.EpollEvent) []byte {
	b = binary.LittleEndian.AppendUint32(b, e.Events)
	return binary.LittleEndian.AppendUint64(b, e.Data)
}

func sysEpollCtl(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	op := int32(a[1])
	var raw [epollEventSize]byte
	if op != unix.EPOLL_CTL_DEL {
		if errno := t.CopyIn(a[3], raw[:]); errno != abi.OK {
			return 0, errno
		}
	}
	ev := decodeEpollEvent(&raw)
	if _, errno := t.P.FDs.Get(int32(a[0])); errno != abi.OK {
		return 0, errno
	}
	d, errno := t.P.FDs.Description(int32(a[2]))
	if errno != abi.OK {
		return 0, errno
	}
	if d.StatusFlags()&unix.O_PATH != 0 {
		return 0, abi.EBADF
	}
	if d.Queue() == nil {
		return 0, abi.EPERM
	}
	ep, errno := epollSet(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	switch op {
	case unix.EPOLL_CTL_ADD:
		return 0, ep.Add(d, int32(a[2]), ev)
	case unix.EPOLL_CTL_MOD:
		return 0, ep.Modify(d, int32(a[2]), ev)
	case unix.EPOLL_CTL_DEL:
		return 0, ep.Delete(d, int32(a[2]))
	}
	return 0, abi.EINVAL
}

// waitEpoll serves the three forms; first is called once, before the wait begins.
func waitEpoll(t *task.Thread, a task.Args, first func() (timeout, *uint64, abi.Errno)) (uint64, abi.Errno) {
	limit := int64(int32(a[2]))
	if limit <= 0 || limit > math.MaxInt32/epollEventSize {
		return 0, abi.EINVAL
	}
	if a[1] > userEnd-uint64(limit)*epollEventSize {
		return 0, abi.EFAULT
	}
	ep, errno := epollSet(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	w, ok := t.State.(*wait)
	if !ok {
		d, mask, errno := first()
		if errno != abi.OK {
			return 0, errno
		}
		s := startWait(t, d, 0, 1)
		s.mask = mask
		w = &s
		t.State = w
	}
	if ep.Readiness() == 0 {
		if w.instant { // unlike poll, whatever signals there are
			return 0, abi.OK
		}
		errno := w.on(t, []*waitq.Queue{ep.Queue()})
		if errno == abi.ERESTARTNOHAND {
			errno = abi.EINTR // unlike poll, never made again: signal(7)
		}
		return 0, errno
	}
	// Events that cannot be delivered must not be taken: the place for them is
	// looked at first. No more of it than can be used: looking maps memory.
	dst, errno := t.Buffers(a[1], uint64(min(limit, int64(ep.Len())))*epollEventSize, true)
	if errno != abi.OK {
		return 0, errno
	}
	room := dst.Len() / epollEventSize
	if room == 0 {
		return 0, abi.EFAULT
	}
	events := ep.Collect(room)
	raw := make([]byte, 0, len(events)*epollEventSize)
	for _, e := range events {
		raw = appendEpollEvent(raw, e)
	}
	dst.CopyFrom(raw)
	return uint64(len(events)), abi.OK
}

func sysEpollWait(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return waitEpoll(t, a, func() (timeout, *uint64, abi.Errno) { return millis(a[3]), nil, abi.OK })
}

func sysEpollPwait(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return waitEpoll(t, a, func() (timeout, *uint64, abi.Errno) {
		mask, errno := copyInMask(t, a[4], a[5])
		return millis(a[3]), mask, errno
	})
}

func sysEpollPwait2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return waitEpoll(t, a, func() (timeout, *uint64, abi.Errno) {
		d, errno := copyInTimeout(t, a[3], 1)
		if errno != abi.OK {
			return 0, nil, errno
		}
		mask, errno := copyInMask(t, a[4], a[5])
		return d, mask, errno
	})
}
