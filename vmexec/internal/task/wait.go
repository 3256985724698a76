// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Values of SigInfo.Code with SIGCHLD; sigaction(2).
const (
	CodeExited    = 1 // CLD_EXITED
	CodeKilled    = 2 // CLD_KILLED
	CodeStopped   = 5 // CLD_STOPPED
	CodeContinued = 6 // CLD_CONTINUED
)

// WaitFor says which children wait(2) and its like are about, and which of their
// changes.
type WaitFor struct {
	PID, PGID int      // 0: any
	Process   *Process // of a pidfd; nil: any

	Exited, Stopped, Continued bool
	Keep                       bool // WNOWAIT: it can be waited for again
	Clone, All                 bool // __WCLONE, __WALL
}

func (w *WaitFor) matches(c *Process) bool {
	switch {
	case w.PID != 0 && !c.Is(w.PID), w.PGID != 0 && c.PGID != w.PGID, w.Process != nil && c != w.Process:
		return false
	}
	return w.All || w.Clone == (c.exitSignal != int(unix.SIGCHLD))
}

// Waited is what became of a child.
type Waited struct {
	PID    int
	Status uint32 // as wait4(2) has it
	Code   int32  // as si_code
	Value  int32  // as si_status
	CPU    int64  // ns, with that of children it has waited for
	Faults uint64
}

// Wait returns what became of a child, at most once for each change. ok is false
// when nothing has yet. Errors: ECHILD.
func (p *Process) Wait(w WaitFor) (r Waited, ok bool, errno abi.Errno) {
	errno = abi.ECHILD
	for _, c := range p.children {
		if !w.matches(c) {
			continue
		}
		errno = 0
		switch {
		case c.zombie && w.Exited:
			r = c.waited(c.status)
			if !w.Keep {
				p.waitedCPU += r.CPU
				p.waitedMin += r.Faults
				c.forget()
			}
			return r, true, 0
		case c.stopNews && w.Stopped:
			r = c.waited(uint32(c.stopSig)<<8 | 0x7f)
			r.Code, r.Value = CodeStopped, int32(c.stopSig)
			c.stopNews = w.Keep
			return r, true, 0
		case c.contNews && w.Continued:
			r = c.waited(0xffff)
			r.Code, r.Value = CodeContinued, int32(unix.SIGCONT)
			c.contNews = w.Keep
			return r, true, 0
		}
	}
	return Waited{}, false, errno
}

func (p *Process) waited(status uint32) Waited {
	r := Waited{PID: p.PID, Status: status, CPU: p.CPUTime() + p.waitedCPU, Faults: p.Faults() + p.waitedMin}
	code, value := p.cause()
	r.Code, r.Value = code, int32(value)
	return r
}

// ChildNews is woken when a child of the process stops, goes on or ends.
func (p *Process) ChildNews() *waitq.Queue { return &p.childNews }
