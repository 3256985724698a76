// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kickSignal interrupts KVM_RUN. The Go runtime installs a handler for it that
// tolerates strays (it is its own preemption signal), so no other is needed.
const kickSignal = unix.SIGURG

// threadTimer is a POSIX timer that signals one OS thread; timer_create(2) with
// SIGEV_THREAD_ID.
type threadTimer struct {
	id int32
}

func newThreadTimer(tid int) (*threadTimer, error) {
	const sigevThreadID = 4
	ev := struct {
		value         uint64
		signo, notify int32
		tid           int32
		_             [44]byte
	}{signo: int32(kickSignal), notify: sigevThreadID, tid: int32(tid)}
	t := &threadTimer{}
	if _, _, e := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&t.id))); e != 0 {
		return nil, os.NewSyscallError("timer_create", e)
	}
	return t, nil
}

// set arms the timer for ns nanoseconds from now and then every period; 0
// disarms it.
func (t *threadTimer) set(ns, period int64) error {
	its := unix.ItimerSpec{Interval: unix.NsecToTimespec(period), Value: unix.NsecToTimespec(ns)}
	if _, _, e := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(t.id), 0, uintptr(unsafe.Pointer(&its)), 0, 0, 0); e != 0 {
		return os.NewSyscallError("timer_settime", e)
	}
	return nil
}

func (t *threadTimer) delete() {
	_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(t.id), 0, 0)
}
