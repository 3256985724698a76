// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/itimer"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/start"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// initPID is the parent of processes whose own is no more: a process that no
// call can reach, and that reaps its children at once.
const initPID = 1

// Place is what CLONE_FS shares.
type Place struct {
	Cwd   vfs.Path
	Umask uint32
}

// actions are what CLONE_SIGHAND shares.
type actions [numSignals + 1]SigAction

// Process is a thread group: what its threads share.
type Process struct {
	K         *Kernel
	PID       int
	PGID, SID int
	MM        *mm.MM
	FDs       *fd.Table
	*Place
	Name    string   // at most 15 bytes
	Exe     vfs.Path // what it runs; see SetExe
	Program start.Started
	Rlimits [16]unix.Rlimit
	Timers  itimer.Set // of setitimer and timer_create
	Threads []*Thread  // the leader first, while it lives

	Attr ProcessAttributes
	// DeathSignal is sent when the parent ends, 0 for none; PR_SET_PDEATHSIG.
	DeathSignal int
	// Subreaper takes the orphans among its descendants; PR_SET_CHILD_SUBREAPER.
	Subreaper bool
	// Executed is set by the first execve(2).
	Executed bool

	parent   *Process // nil: initPID
	children []*Process
	// exitSignal is what the parent is sent at the end: SIGCHLD, another, or 0.
	exitSignal int

	formerPID int // in a clone: PID before the snapshot
	actions   *actions
	pending   sigQueue

	stopped   bool // by SIGSTOP and its like
	stopSig   int  // by which signal
	stopNews  bool // the parent has not waited for it yet
	contNews  bool // nor for that it goes on
	vforked   bool // the thread that made it waits for an exec or the end
	zombie    bool // it has ended; dead: and its parent knows
	dead      bool
	status    uint32 // as wait(2) has it, once it has ended
	cpu       int64  // processor time in ns, up to when it last ceased to run
	waitedCPU int64  // of children that were waited for
	waitedMin uint64 // page faults of those
	faults    uint64 // of address spaces that it has left

	childNews waitq.Queue // woken when a child stops, goes on or ends
	ended     waitq.Queue // woken at the end
	vforkDone waitq.Queue // woken when vforked becomes false
}

// PPID returns the number of the parent.
func (p *Process) PPID() int {
	if p.parent == nil {
		return initPID
	}
	return p.parent.PID
}

// Zombie reports whether the process has ended.
func (p *Process) Zombie() bool { return p.zombie }

// Is reports whether pid is the process: in a clone also the number from before
// the snapshot, which libraries may have kept.
func (p *Process) Is(pid int) bool { return pid == p.PID || p.formerPID != 0 && pid == p.formerPID }

// Process returns the process with a number, also one that has ended and was not
// waited for; nil when there is none.
func (k *Kernel) Process(pid int) *Process {
	if p := k.procs[pid]; p != nil {
		return p
	}
	if k.Init.Is(pid) {
		return k.Init
	}
	return nil
}

// Processes returns all processes in the order of their numbers.
func (k *Kernel) Processes() []*Process {
	out := make([]*Process, 0, len(k.procs))
	for _, pid := range slices.Sorted(maps.Keys(k.procs)) {
		out = append(out, k.procs[pid])
	}
	return out
}

// Group returns the processes of a process group.
func (k *Kernel) Group(pgid int) []*Process {
	if k.Init.Is(pgid) {
		pgid = k.Init.PID
	}
	var out []*Process
	for _, p := range k.Processes() {
		if p.PGID == pgid {
			out = append(out, p)
		}
	}
	return out
}

// pidMax is one past the largest number of a process or thread, and reservedPIDs
// how many are left out when the numbers begin again; as Linux has them.
const (
	pidMax       = 32768
	reservedPIDs = 300
)

// taken reports whether a process, thread, group or session has a number.
func (k *Kernel) taken(id int) bool {
	if k.threads[id] != nil || k.procs[id] != nil || k.Init != nil && k.Init.Is(id) {
		return true
	}
	for _, p := range k.procs {
		if p.PGID == id || p.SID == id {
			return true
		}
	}
	return false
}

// newID returns a number that is not taken.
func (k *Kernel) newID() int {
	for {
		id := k.nextID
		if k.nextID++; k.nextID >= pidMax {
			k.nextID = reservedPIDs
		}
		if !k.taken(id) {
			return id
		}
	}
}

// maxTasks bounds the threads of a VM whatever its limits say: numbers run out.
const maxTasks = pidMax / 2

// room reports whether there may be one more thread: zombies count.
func (k *Kernel) roomFor(p *Process) bool {
	n := len(k.threads)
	for _, x := range k.procs {
		if x.zombie {
			n++
		}
	}
	return n < k.Limits.Threads && n < maxTasks && uint64(n) < p.Rlimits[unix.RLIMIT_NPROC].Cur
}

// CloneSpec says what a new process shares with its maker.
type CloneSpec struct {
	VM, Files, FS, SigHand bool
	ClearSigHand           bool // what is caught is reset
	Sibling                bool // CLONE_PARENT
	ExitSignal             int  // 0: none
	Vfork                  bool // the maker waits; see VforkWait
}

// NewProcess makes a process with one thread, as clone(2) without CLONE_THREAD:
// registers, vector state and signal mask are the maker's; the caller changes what
// the flags say. Errors: EAGAIN at the limit, ENOMEM.
func (k *Kernel) NewProcess(maker *Thread, c CloneSpec) (*Thread, abi.Errno) {
	old := maker.P
	if !k.roomFor(old) {
		return nil, abi.EAGAIN
	}
	if err := k.machine.SaveFP(&maker.Ctx); err != nil {
		k.fail(err)
		return nil, abi.ENOMEM
	}
	space := old.MM
	if c.VM {
		space.Hold()
	} else {
		var errno abi.Errno
		if space, errno = old.MM.Fork(); errno != 0 {
			return nil, errno
		}
	}
	p := &Process{
		K: k, PGID: old.PGID, SID: old.SID, MM: space, FDs: old.FDs, Place: old.Place, Name: old.Name,
		Program: old.Program, Rlimits: old.Rlimits, parent: old, exitSignal: c.ExitSignal, actions: old.actions,
		vforked: c.Vfork, Attr: old.Attr,
	}
	p.SetExe(old.Exe)
	if c.Sibling {
		p.parent, p.exitSignal = old.parent, old.exitSignal
	}
	if !c.Files {
		p.FDs = old.FDs.Clone()
	}
	if !c.FS {
		place := *old.Place
		p.Place = &place
	}
	if !c.SigHand {
		a := *old.actions
		p.actions = &a
	}
	if c.ClearSigHand {
		p.actions.reset()
	}
	p.PID = k.newID()
	k.procs[p.PID] = p
	if p.parent != nil {
		p.parent.children = append(p.parent.children, p)
	}
	t := k.newThread(p, p.PID)
	t.inherit(maker)
	if !c.VM || c.Vfork {
		t.altStack = maker.altStack
	}
	k.enqueue(t)
	return t, 0
}

// inherit gives a new thread the state of the one that makes it.
func (t *Thread) inherit(maker *Thread) {
	fp := t.Ctx.FP
	*fp = *maker.Ctx.FP
	t.Ctx = maker.Ctx
	t.Ctx.FP, t.Ctx.Root = fp, t.P.MM.Root()
	t.Name, t.Attr = maker.Name, maker.Attr
	t.mask = maker.mask
	if maker.restoreMask {
		t.mask = maker.savedMask
	}
}

// reset makes caught signals have their default action, as execve(2) does.
func (a *actions) reset() {
	for sig := range a {
		if a[sig].Handler != sigIgnore {
			a[sig] = SigAction{}
		} else {
			a[sig] = SigAction{Handler: sigIgnore}
		}
	}
}

// vforkWait is the State of a call that waits for the process that it made.
type vforkWait struct{ pid int }

// Progress implements Progress.
func (vforkWait) Progress() {}

// VforkWait makes the call wait until the process that it made, by NewProcess with
// Vfork, has executed a program or ended; done is what it returns then. A handler
// calls it with the new process first, and whenever it is made again with nil; ok
// is false when the call has made no process.
func (t *Thread) VforkWait(made *Process) (pid uint64, errno abi.Errno, ok bool) {
	if made != nil {
		t.State = vforkWait{made.PID}
	}
	w, ok := t.State.(vforkWait)
	if !ok {
		return 0, 0, false
	}
	if p := t.K.procs[w.pid]; p != nil && p.vforked {
		// As Linux, no signal ends the wait but one that kills.
		return 0, t.Block(NoDeadline, &p.vforkDone), true
	}
	return uint64(w.pid), 0, true
}

// vforkOver lets the thread go on that made the process by vfork.
func (p *Process) vforkOver() {
	if p.vforked {
		p.vforked = false
		p.vforkDone.WakeAll()
	}
}

// Status words of wait(2).
func exitStatus(code int) uint32  { return uint32(code&0xff) << 8 }
func signalStatus(sig int) uint32 { return uint32(sig & 0x7f) }

// ExitGroup ends the process with a status. The handler returns ENORETURN.
func (p *Process) ExitGroup(status int) {
	if p == p.K.Init {
		p.K.exit(status)
		return
	}
	p.end(exitStatus(status))
}

// die ends the process as a signal does.
func (p *Process) die(d Death) {
	if p == p.K.Init {
		p.K.die(d)
		return
	}
	p.end(signalStatus(d.Signal))
}

// end is the end of a process that is not the first: that one's is the end of
// the VM.
func (p *Process) end(status uint32) {
	if p.zombie {
		return
	}
	k := p.K
	p.zombie, p.status = true, status
	if c := k.charged; c != nil && c.P == p {
		k.charge(nil)
	}
	for _, t := range slices.Clone(p.Threads) {
		t.leave()
		t.drop()
	}
	p.Timers.Clear()
	p.SetExe(vfs.Path{})
	p.pending = sigQueue{}
	p.stopped, p.stopNews, p.contNews = false, false, false
	p.faults += p.MM.Faults
	p.MM.Release()
	p.MM = &mm.MM{}
	if k.shared(p, func(x *Process) bool { return x.FDs == p.FDs }) {
		p.FDs = fd.NewTable(0)
	} else {
		p.FDs.CloseAll()
	}
	p.vforkOver()
	groups := p.orphan()
	p.ended.WakeAll()
	p.report()
	for _, g := range groups {
		k.orphanedGroup(g)
	}
}

// shared reports whether another process that lives has what same asks for.
func (k *Kernel) shared(p *Process, same func(x *Process) bool) bool {
	for _, x := range k.procs {
		if x != p && !x.zombie && same(x) {
			return true
		}
	}
	return false
}

// orphan gives the children of a process that has ended to another, and returns
// the process groups that may have lost their last link to the session.
func (p *Process) orphan() (groups []int) {
	if a := p.parent; a != nil && a.PGID != p.PGID && a.SID == p.SID {
		groups = append(groups, p.PGID)
	}
	var heir *Process
	for a := p.parent; a != nil && heir == nil; a = a.parent {
		if a.Subreaper && !a.zombie {
			heir = a
		}
	}
	for _, c := range p.children {
		c.parent = heir
		if heir != nil {
			heir.children = append(heir.children, c)
		}
		if c.PGID != p.PGID && c.SID == p.SID {
			groups = append(groups, c.PGID)
		}
		if c.zombie {
			c.exitSignal = int(unix.SIGCHLD)
			c.report()
			continue
		}
		c.exitSignal = int(unix.SIGCHLD)
		if c.DeathSignal != 0 {
			_ = c.Signal(c.DeathSignal, SigInfo{Code: CodeUser, PID: int32(p.PID), UID: p.K.FS.Cred().UID})
		}
	}
	p.children = nil
	return groups
}

// report tells the parent that the process has ended; when there is none, or it
// does not care, the process is gone.
func (p *Process) report() {
	a := p.parent
	if a == nil || a.zombie {
		p.forget()
		return
	}
	chld := a.actions[unix.SIGCHLD]
	reap := p.exitSignal == int(unix.SIGCHLD) && (chld.Handler == sigIgnore || chld.Flags&saNoChildWait != 0)
	if reap {
		p.forget()
	}
	a.childNews.WakeAll()
	if ValidSignal(p.exitSignal) && !(reap && chld.Handler == sigIgnore) {
		code, value := p.cause()
		a.tell(p, p.exitSignal, code, value)
	}
}

// cause returns si_code and si_status of a process that has ended.
func (p *Process) cause() (code int32, value uint64) {
	if sig := p.status & 0x7f; sig != 0 {
		return CodeKilled, uint64(sig)
	}
	return CodeExited, uint64(p.status >> 8)
}

// tell sends the signal that something has become of a child.
func (p *Process) tell(child *Process, sig int, code int32, value uint64) {
	_ = p.Signal(sig, SigInfo{Code: code, PID: int32(child.PID), UID: p.K.FS.Cred().UID, Value: value, UTime: child.CPUTime() / clockTick})
}

// clockTick is the unit of clock_t in nanoseconds.
const clockTick = 10_000_000

// forget removes a process that has ended from everything that knows it.
func (p *Process) forget() {
	p.dead = true
	p.ended.WakeAll()
	delete(p.K.procs, p.PID)
	if a := p.parent; a != nil {
		for i, c := range a.children {
			if c == p {
				a.children = append(a.children[:i:i], a.children[i+1:]...)
				break
			}
		}
		p.parent = nil
	}
}

// orphanedGroup does what POSIX asks for when a group with stopped processes has
// nobody left who could make them go on.
func (k *Kernel) orphanedGroup(pgid int) {
	members := k.Group(pgid)
	stopped := false
	for _, p := range members {
		stopped = stopped || p.stopped
	}
	if !stopped || !k.orphaned(members) {
		return
	}
	for _, p := range members {
		_ = p.Signal(int(unix.SIGHUP), SigInfo{Code: CodeKernel})
		_ = p.Signal(int(unix.SIGCONT), SigInfo{Code: CodeKernel})
	}
}

// orphaned reports whether no process of a group has its parent in another group
// of the same session.
func (k *Kernel) orphaned(members []*Process) bool {
	for _, p := range members {
		if a := p.parent; !p.zombie && a != nil && a.PGID != p.PGID && a.SID == p.SID {
			return false
		}
	}
	return true
}

// stop stops the process by a signal.
func (p *Process) stop(sig int) {
	if p.stopped || p.zombie {
		return
	}
	p.stopped, p.stopSig, p.stopNews, p.contNews = true, sig, true, false
	p.K.yield = true
	p.changed(CodeStopped, uint64(sig))
}

// proceed makes a stopped process go on; news says whether its parent is told.
func (p *Process) proceed(news bool) {
	if !p.stopped {
		return
	}
	p.stopped, p.stopNews = false, false
	for _, t := range p.Threads {
		if !t.blocked {
			p.K.enqueue(t)
		}
	}
	if news {
		p.contNews = true
		p.changed(CodeContinued, uint64(unix.SIGCONT))
	}
}

func (p *Process) changed(code int32, value uint64) {
	a := p.parent
	if a == nil {
		return
	}
	a.childNews.WakeAll()
	if a.actions[unix.SIGCHLD].Flags&saNoChildStop == 0 {
		a.tell(p, int(unix.SIGCHLD), code, value)
	}
}

// SetGroup is setpgid(2) for a target that is the caller's or a child's. Errors:
// EPERM, EACCES.
func (p *Process) SetGroup(caller *Process, pgid int) abi.Errno {
	switch {
	case p != caller && p.SID != caller.SID:
		return abi.EPERM
	case p != caller && p.Executed:
		return abi.EACCES
	case p.SID == p.PID:
		return abi.EPERM
	}
	if pgid == 0 || p.Is(pgid) {
		p.PGID = p.PID
		return 0
	}
	for _, m := range p.K.Group(pgid) {
		if m.SID == caller.SID {
			p.PGID = m.PGID
			return 0
		}
	}
	return abi.EPERM
}

// IsChildOf reports whether the process was made by a.
func (p *Process) IsChildOf(a *Process) bool { return p.parent == a }

// NewSession is setsid(2). Errors: EPERM for the leader of a process group.
func (p *Process) NewSession() abi.Errno {
	if len(p.K.Group(p.PID)) > 0 {
		return abi.EPERM
	}
	p.PGID, p.SID = p.PID, p.PID
	return 0
}

// CPUTime returns the processor time of the process in nanoseconds.
func (p *Process) CPUTime() int64 {
	if c := p.K.charged; c != nil && c.P == p {
		return p.cpu + max(0, p.K.CPUTime()-p.K.chargedAt)
	}
	return p.cpu
}

// Faults counts the page faults of the process.
func (p *Process) Faults() uint64 {
	if p.zombie {
		return p.faults
	}
	return p.faults + p.MM.Faults
}

// WaitedCPU returns the processor time of the children that were waited for, and
// of theirs.
func (p *Process) WaitedCPU() int64 { return p.waitedCPU }

// WaitedFaults counts the page faults of those.
func (p *Process) WaitedFaults() uint64 { return p.waitedMin }

// charge says who uses the processor from now on.
func (k *Kernel) charge(t *Thread) {
	now := k.CPUTime()
	if c := k.charged; c != nil {
		used := max(0, now-k.chargedAt)
		c.cpu += used
		c.P.cpu += used
	}
	k.charged, k.chargedAt = t, now
}

// CPUTime returns the processor time of the thread in nanoseconds.
func (t *Thread) CPUTime() int64 {
	if t.K.charged == t {
		return t.cpu + max(0, t.K.CPUTime()-t.K.chargedAt)
	}
	return t.cpu
}

// CloseFiles closes the descriptors of all processes.
func (k *Kernel) CloseFiles() {
	for _, p := range k.Processes() {
		p.FDs.CloseAll()
	}
}

// newThread makes a thread that is not on the run queue yet.
func (k *Kernel) newThread(p *Process, tid int) *Thread {
	t := &Thread{K: k, P: p, TID: tid, Name: p.Name}
	t.Ctx.FP = new([kvm.XSaveSize]byte)
	t.Ctx.Root = p.MM.Root()
	k.threads[t.TID] = t
	p.Threads = append(p.Threads, t)
	k.stats.Threads = max(k.stats.Threads, len(k.threads))
	return t
}

// Abandon undoes the making of a process that has not run.
func (p *Process) Abandon() {
	p.exitSignal = 0
	p.end(0)
	if !p.dead {
		p.forget()
	}
}
