// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// answers are the calls that the system call stub answers inside the guest; see
// x86.AnswerEnd. What it may answer is found anew before each entry into the guest,
// from the descriptors of the thread that is about to run: nothing that the answers
// depend on changes while the guest runs.
type answers struct {
	bits uint32
	room int
	told bool              // the guest knows bits and room
	out  *fd.CaptureOutput // descriptor 1
	stat *fd.CaptureOutput // whose fstat the guest knows
}

func (k *Kernel) control() []byte { return k.Memory.Bytes(x86.ControlGPA, x86.ControlSize()) }

// offer tells the guest what its stub may answer for t.
func (k *Kernel) offer(t *Thread) {
	if !k.features.Answers {
		return
	}
	a := &k.answers
	bits, room := uint32(0), 0
	if k.tracer == nil { // who looks on wants to see each call
		bits, room = a.find(k, t)
	}
	if !a.told || bits != a.bits || room != a.room {
		x86.ArmAnswers(k.control(), bits, room)
		a.bits, a.room, a.told = bits, room, true
	}
}

// find returns what may be answered to t, and how much of its output captured.
func (a *answers) find(k *Kernel, t *Thread) (bits uint32, room int) {
	a.out = nil
	if f, errno := t.P.FDs.Get(0); errno == abi.OK {
		if in, ok := f.(*fd.EventInput); ok && in.Ended() {
			bits |= x86.AnswerEnd
		}
	}
	if f, errno := t.P.FDs.Get(1); errno == abi.OK {
		if out, ok := f.(*fd.CaptureOutput); ok && a.know(k, out) {
			bits |= x86.AnswerStat
			if room = min(out.Room(), x86.CaptureMax); room > 0 {
				bits |= x86.AnswerWrite
			}
			a.out = out
		}
	}
	return bits, room
}

// know has the guest know what fstat gives of out.
func (a *answers) know(k *Kernel, out *fd.CaptureOutput) bool {
	if a.stat == out {
		return true
	}
	st, errno := out.Stat()
	if errno != abi.OK {
		return false
	}
	x86.AnswerStatWith(k.control(), abi.EncodeStat(&st))
	a.stat = out
	return true
}

// collect takes what the stub has answered. It comes before whatever the exit is
// for: that may be another write.
func (k *Kernel) collect() {
	a := &k.answers
	if a.bits == 0 {
		return
	}
	did := x86.TakeAnswers(k.control(), a.room)
	s := &k.stats
	s.Syscalls[unix.SYS_READ] += uint64(did.Reads)
	s.Syscalls[unix.SYS_WRITE] += uint64(did.Writes)
	s.Syscalls[unix.SYS_NEWFSTATAT] += uint64(did.Newfstatats)
	s.Syscalls[unix.SYS_FSTAT] += uint64(did.Fstats)
	s.Answered += uint64(did.Reads) + uint64(did.Writes) + uint64(did.Newfstatats) + uint64(did.Fstats)
	if len(did.Captured) > 0 && a.out != nil {
		_, _ = a.out.Write(fd.Buffers{did.Captured}, fd.CurrentOffset) // takes all: there is room
	}
}
