// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Pidfd is a descriptor that stands for a process; pidfd_open(2). It is readable
// once the process has ended.
type Pidfd struct {
	fd.Base
	p *Process
}

// NewPidfd makes one; flags may have O_NONBLOCK.
func NewPidfd(p *Process, flags int, inode uint64) *Pidfd {
	return &Pidfd{Base: fd.Base{Flags: unix.O_RDWR | flags, Ino: inode}, p: p}
}

// Process returns the process, which may be gone.
func (f *Pidfd) Process() *Process { return f.p }

// Gone reports whether the process has ended and its parent knows.
func (p *Process) Gone() bool { return p.dead }

// Readiness implements fd.File.
func (f *Pidfd) Readiness() fd.Events {
	switch {
	case f.p.dead:
		return fd.In | fd.Hup
	case f.p.zombie:
		return fd.In
	}
	return 0
}

// Queue implements fd.File.
func (f *Pidfd) Queue() *waitq.Queue { return &f.p.ended }

// Name is what /proc/self/fd shows.
func (f *Pidfd) Name() string { return "anon_inode:[pidfd]" }

// CloneFile implements fd.Cloner.
func (f *Pidfd) CloneFile(c *fd.CloneContext) fd.File {
	p, ok := c.Lookup(f.p).(*Process)
	if !ok { // it is gone
		p = &Process{PID: f.p.PID, zombie: true, dead: true, status: f.p.status}
		c.Record(f.p, p)
	}
	n := &Pidfd{Base: f.Base, p: p}
	return n
}
