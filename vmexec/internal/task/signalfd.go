// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// signalFDSize is the size of struct signalfd_siginfo; signalfd(2).
const signalFDSize = 128

// SignalFD gives the signals that wait for whoever reads it, as signalfd(2).
type SignalFD struct {
	fd.Base
	k    *Kernel
	mask uint64
}

// NewSignalFD makes a descriptor of the signals of a set. flags may have O_NONBLOCK.
func (k *Kernel) NewSignalFD(sys *fd.System, mask uint64, flags int) *SignalFD {
	s := &SignalFD{Base: fd.Base{Flags: unix.O_RDWR | flags, Ino: sys.NextInode()}, k: k}
	s.SetMask(mask)
	return s
}

// SetMask changes the set; SIGKILL and SIGSTOP are never in it.
func (s *SignalFD) SetMask(mask uint64) {
	s.mask = mask &^ unmaskable
	s.k.signaled.WakeAll()
}

// reader is the thread whose signals are meant: the one that makes a call.
func (s *SignalFD) reader() *Thread {
	if t := s.k.caller; t != nil {
		return t
	}
	if ts := s.k.Init.Threads; len(ts) > 0 {
		return ts[0]
	}
	return nil
}

// Read takes pending signals, as many as fit; EAGAIN when there is none, EINVAL when
// dst is too short for one, ESPIPE for an offset.
func (s *SignalFD) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	room := dst.Len() / signalFDSize
	switch {
	case off != fd.CurrentOffset:
		return 0, abi.ESPIPE
	case room == 0:
		return 0, abi.EINVAL
	}
	t := s.reader()
	var out []byte
	for ; room > 0 && t != nil; room-- {
		sig, info, ok := t.TakePending(s.mask)
		if !ok {
			break
		}
		out = appendSignalFD(out, sig, &info)
	}
	if len(out) == 0 {
		return 0, abi.EAGAIN
	}
	return dst.CopyFrom(out), 0
}

// appendSignalFD adds a struct signalfd_siginfo.
func appendSignalFD(b []byte, sig int, info *SigInfo) []byte {
	le := binary.LittleEndian
	n := len(b)
	b = append(b, make([]byte, signalFDSize)...)
	e := b[n:]
	le.PutUint32(e[0:], uint32(sig))
	le.PutUint32(e[4:], uint32(info.Errno))
	le.PutUint32(e[8:], uint32(info.Code))
	switch {
	case info.Code == CodeTimer:
		le.PutUint32(e[24:], uint32(info.PID))
		le.PutUint32(e[32:], info.UID)
	case info.fault || info.Addr != 0:
		le.PutUint64(e[72:], info.Addr)
		return b
	default:
		le.PutUint32(e[12:], uint32(info.PID))
		le.PutUint32(e[16:], info.UID)
	}
	if sig == int(unix.SIGCHLD) && info.Code > 0 {
		le.PutUint32(e[40:], uint32(info.Value))
		le.PutUint64(e[56:], uint64(info.UTime))
		return b
	}
	le.PutUint32(e[44:], uint32(info.Value))
	le.PutUint64(e[48:], info.Value)
	return b
}

// Readiness is readable when a signal of the set waits.
func (s *SignalFD) Readiness() fd.Events {
	if t := s.reader(); t != nil && (t.pending.set|t.P.pending.set)&s.mask != 0 {
		return fd.In
	}
	return 0
}

// Queue is woken by every signal that begins to wait.
func (s *SignalFD) Queue() *waitq.Queue { return &s.k.signaled }

// Name is that of Linux.
func (*SignalFD) Name() string { return "anon_inode:[signalfd]" }

// Lseek does nothing, as in Linux.
func (*SignalFD) Lseek(int64, int) (int64, abi.Errno) { return 0, 0 }

// CloneFile implements fd.Cloner.
func (s *SignalFD) CloneFile(c *fd.CloneContext) fd.File {
	k, ok := c.Timers.(*Kernel)
	if !ok {
		return nil
	}
	return &SignalFD{Base: s.Base, k: k, mask: s.mask}
}
