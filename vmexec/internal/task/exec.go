// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"slices"

	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/start"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// Image is a program that was loaded into an address space.
type Image struct {
	Name    string   // of the process; its first 15 bytes count
	Exe     vfs.Path // the file
	Program start.Started
}

// Begin makes the thread the first of a program that is in its address space.
func (t *Thread) Begin(i Image) {
	p := t.P
	p.Program = i.Program
	p.SetExe(i.Exe)
	p.Name = i.Name[:min(len(i.Name), 15)]
	t.Name = p.Name
	t.Ctx.FSBase, t.Ctx.GSBase, t.Ctx.Root = 0, 0, p.MM.Root()
	t.Ctx.Regs = kvm.Regs{RIP: i.Program.Entry, RSP: i.Program.Stack, RFLAGS: 0x202}
	initFP(t.Ctx.FP)
}

// SetExe says which file the process runs, the zero Path for none: it is kept, and
// cannot be opened for writing. A file that is open for writing is not taken.
func (p *Process) SetExe(exe vfs.Path) {
	fs := p.K.FS
	if exe.Valid() && fs.Run(exe) != 0 {
		exe = vfs.Path{}
	}
	if p.Exe.Valid() {
		fs.NotRun(p.Exe)
	}
	p.Exe = exe
}

// Exec replaces the program of the thread's process by one that was loaded into
// space; execve(2). The process's other threads end, and the caller becomes its
// first. The handler returns ENORETURN.
func (t *Thread) Exec(space *mm.MM, i Image) {
	k, p := t.K, t.P
	for _, x := range slices.Clone(p.Threads) {
		if x != t {
			x.leave()
			x.drop()
		}
	}
	delete(k.threads, t.TID)
	t.TID, p.formerPID = p.PID, 0
	k.threads[t.TID] = t
	t.leave() // as Linux, under the new number: another thread's robust list is not its
	t.RobustList, t.ClearChildTID = 0, 0

	k.machine.Forget(&t.Ctx)
	p.faults += p.MM.Faults
	p.MM.Release()
	p.MM = space
	if k.shared(p, func(x *Process) bool { return x.FDs == p.FDs }) {
		p.FDs = p.FDs.Clone()
	}
	p.FDs.CloseExec()
	if k.shared(p, func(x *Process) bool { return x.actions == p.actions }) {
		a := *p.actions
		p.actions = &a
	}
	p.actions.reset()
	p.Timers.DeletePOSIX()
	t.altStack = AltStack{}
	p.Executed = true
	p.vforkOver()
	t.Begin(i)
}
