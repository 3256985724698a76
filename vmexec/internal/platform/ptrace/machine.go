// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Descriptors of the tracee.
const (
	memoryFD = 0
	stubFD   = 1
)

const (
	// kickSignal stops the tracee. No signal ever reaches the guest from the
	// host, so any would do that a terminal or a shell does not send.
	kickSignal = unix.SIGURG
	// endSignal is what the stub sends itself at the end of a list that must not
	// end in an exception.
	endSignal = unix.SIGUSR1
	// syscallStop is the stop signal of a system call, with PTRACE_O_TRACESYSGOOD.
	syscallStop = unix.SIGTRAP | 0x80

	noSyscall = ^uint64(0) // orig_rax: nothing to restart
)

// errDied means that the tracee is no more; machine.death says why.
var errDied = errors.New("the traced process has died")

// tracee is one traced process: the translations of one address space. All that
// it holds but the vector state is derived, so that it can be dropped at any time.
type tracee struct {
	tlb

	pid  int // 0 when it is not there; guarded by machine.mu against Kick
	stub *stub
	regs userRegs // when it last stopped
	// bases are unknown: the next run sets all registers.
	fresh bool
	fp    *platform.Context // whose vector state is loaded
	retry uint64            // address of a page fault that the guest kernel was told of
	turn  uint64            // when it last ran, as machine.turns counts
}

// maxTracees bounds the traced processes of a machine. The one that has not run
// for longest makes room for another.
const maxTracees = 16

// machine runs all threads of a guest in turn, in one traced process for each
// address space.
type machine struct {
	p    *Platform
	mem  *guestmem.Memory
	root uint64 // of contexts that name none

	*tracee // the one that runs; never nil
	tracees map[uint64]*tracee
	turns   uint64
	spent   int64 // processor time of those that are no more

	tid   int    // the OS thread that traces, 0 before Bind
	xbuf  []byte // the kernel's XSAVE area
	death string // why there is no tracee any more

	kicked atomic.Bool // a kick that no signal in the tracee stands for

	mu       sync.Mutex // guards tracee, its pid, asked and timer against Kick
	asked    bool       // a kick that Run has not reported yet
	timer    *time.Timer
	settings uint64 // counts the settings of timer
}

func newMachine(p *Platform, mem *guestmem.Memory, root uint64) *machine {
	m := &machine{p: p, mem: mem, root: root, tracees: map[uint64]*tracee{}, xbuf: make([]byte, max(p.xsize, 1<<12))[:p.xsize]}
	m.tracee = &tracee{}
	return m
}

// enter makes t the tracee that the other methods are about, and returns the one
// before.
func (m *machine) enter(t *tracee) (before *tracee) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked { // the signal may be in the other one
		m.kicked.Store(true)
	}
	before, m.tracee = m.tracee, t
	return before
}

// rootOf returns the root of a context's address space.
func (m *machine) rootOf(c *platform.Context) uint64 {
	if c.Root == 0 {
		return m.root
	}
	return c.Root
}

// choose enters the tracee of an address space, and starts it if there is none.
func (m *machine) choose(root uint64) error {
	t := m.tracees[root]
	m.turns++
	if t == nil {
		if err := m.makeRoom(); err != nil {
			return err
		}
		t = &tracee{tlb: tlb{mem: m.mem, root: root}}
		m.tracees[root] = t
		m.enter(t)
		if err := m.spawn(); err != nil {
			m.kill()
			delete(m.tracees, root)
			return fmt.Errorf("start a traced process: %w", err)
		}
	} else if t != m.tracee {
		m.enter(t)
	}
	t.turn = m.turns
	return nil
}

// makeRoom ends the tracee that has not run for longest if there are too many.
func (m *machine) makeRoom() error {
	if len(m.tracees) < maxTracees {
		return nil
	}
	var old *tracee
	for _, t := range m.tracees {
		if old == nil || t.turn < old.turn {
			old = t
		}
	}
	if old.fp != nil {
		if err := m.SaveFP(old.fp); err != nil {
			return err
		}
	}
	m.DropRoot(old.root)
	return nil
}

// DropRoot implements platform.Machine.
func (m *machine) DropRoot(root uint64) {
	t := m.tracees[root]
	if t == nil {
		return
	}
	delete(m.tracees, root)
	before := m.enter(t)
	m.kill()
	if before != t {
		m.enter(before)
	}
}

// killAll ends every tracee.
func (m *machine) killAll() {
	for root := range m.tracees {
		m.DropRoot(root)
	}
}

// Bind implements platform.Machine. Linux ties a tracee to the thread that
// traces it, so another thread gets other tracees: all of their state is derived
// from the guest's memory and contexts.
func (m *machine) Bind() error {
	tid := unix.Gettid()
	if len(m.tracees) > 0 && m.tid == tid {
		return nil
	}
	for _, t := range m.tracees {
		if t.fp != nil {
			return errors.New("the machine was not unbound from its former thread")
		}
	}
	m.killAll()
	m.tid, m.death = tid, ""
	return m.choose(m.root)
}

// Unbind implements platform.Unbinder.
func (m *machine) Unbind() error {
	for _, t := range m.tracees {
		if t.fp == nil {
			continue
		}
		err := m.SaveFP(t.fp)
		t.fp = nil
		if err != nil && !errors.Is(err, errDied) {
			return err
		}
	}
	return nil
}

// spawn starts the tracee and empties its address space but for the stub.
func (m *machine) spawn() error {
	var err error
	if m.stub, err = newStub(); err != nil {
		return err
	}
	// The descriptors are numbers in a name, resolved before they are closed.
	name := fmt.Sprintf("/proc/self/fd/%d", m.p.loader)
	pid, err := syscall.ForkExec(name, []string{"kontain-guest"}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: []uintptr{uintptr(m.mem.FD()), uintptr(m.stub.fd)},
		// If this process is killed before the tracee asks to be traced, the tracee would
		// ask process 1, and stop for ever.
		Sys: &syscall.SysProcAttr{Ptrace: true, Setsid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return os.NewSyscallError("fork and exec", err)
	}
	m.setPID(pid)
	if _, err := m.waitFor(unix.SIGTRAP); err != nil {
		return err
	}
	if e := ptrace(unix.PTRACE_SETOPTIONS, pid, 0, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD); e != 0 {
		return os.NewSyscallError("PTRACE_SETOPTIONS", e)
	}
	if err := m.getRegs(); err != nil {
		return err
	}
	const shared = unix.MAP_SHARED | unix.MAP_FIXED
	for _, c := range []call{
		{unix.SYS_MMAP, stubVA, pageSize, unix.PROT_READ | unix.PROT_EXEC, shared, stubFD, 0},
		{unix.SYS_MMAP, callsVA, pageSize, unix.PROT_READ, shared, stubFD, offCalls},
	} {
		if err := m.first(c); err != nil {
			return err
		}
	}
	// Linux before 5.9 has no close_range; the tracee cannot use what it inherited.
	if err := m.do([]call{{unix.SYS_CLOSE_RANGE, stubFD + 1, 1<<32 - 1}}); err != nil && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := m.do(m.seal()); err != nil {
		return err
	}
	clear(m.stub.mem[offCalls:])
	m.fresh = true
	return nil
}

// seal returns the calls that leave the tracee with nothing but the stub and
// the guest's memory. They use the end of the calls' page for what they point to.
func (m *machine) seal() []call {
	const (
		at       = pageSize - 512
		action   = callsVA + at
		altStack = callsVA + at + 32
		name     = callsVA + at + 64
		zeros    = callsVA + at + 96
		program  = callsVA + at + 128 // struct sock_fprog, and the filter behind it
		rules    = program + 16

		setFilter, specAllow = 1, 4 // of seccomp(2)

		onStack, sigInfo, noDefer, restorer = 0x0800_0000, 4, 0x4000_0000, 0x0400_0000
	)
	b, le := m.stub.mem[offCalls+at:], binary.LittleEndian
	le.PutUint64(b, handlerVA)
	le.PutUint64(b[8:], onStack|sigInfo|noDefer|restorer)
	le.PutUint64(b[16:], handlerVA)
	le.PutUint64(b[32:], stackVA)
	le.PutUint64(b[48:], stackSize)
	copy(b[64:], "kontain-guest")
	f := filter()
	le.PutUint16(b[128:], uint16(len(f)/8))
	le.PutUint64(b[136:], rules)
	copy(b[144:], f)
	var list []call
	for _, s := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP} {
		list = append(list, call{unix.SYS_RT_SIGACTION, uint64(s), action, 0, 8})
	}
	return append(list,
		call{unix.SYS_SIGALTSTACK, altStack, 0},
		call{unix.SYS_PRCTL, unix.PR_SET_NAME, name},
		call{unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1},
		call{unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0},
		call{unix.SYS_SETRLIMIT, unix.RLIMIT_CORE, zeros},
		call{unix.SYS_SETRLIMIT, unix.RLIMIT_NPROC, zeros},
		call{unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, zeros},
		call{unix.SYS_MMAP, stackVA, stackSize, unix.PROT_NONE, unix.MAP_SHARED | unix.MAP_FIXED, stubFD, offStack},
		call{unix.SYS_CLOSE, stubFD},
		call{unix.SYS_MUNMAP, 0, stubVA},
		call{unix.SYS_MUNMAP, stubVA + stubSize, taskSize - stubVA - stubSize},
		call{unix.SYS_SECCOMP, setFilter, specAllow, program},
	)
}

func (m *machine) setPID(pid int) {
	m.mu.Lock()
	m.pid = pid
	m.mu.Unlock()
}

// kill ends the tracee and frees what belongs to it.
func (m *machine) kill() {
	if m.pid != 0 {
		if ns, err := cpuClock(m.pid); err == nil {
			m.spent += ns
		}
	}
	m.mu.Lock()
	pid := m.pid
	m.pid = 0
	m.mu.Unlock()
	if pid != 0 {
		_ = unix.Kill(pid, unix.SIGKILL)
		var ws unix.WaitStatus
		for {
			_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
			if err == nil && !ws.Exited() && !ws.Signaled() {
				continue // a stop from before the signal
			}
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
	if m.stub != nil {
		m.stub.close()
		m.stub = nil
	}
	m.fp = nil
}

// Close implements platform.Machine.
func (m *machine) Close() error {
	m.stopTimer()
	m.mem.OnForget(nil)
	m.killAll()
	return nil
}

// Kick implements platform.Machine. The signal waits in the tracee until it runs.
func (m *machine) Kick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = true
	if m.pid == 0 {
		m.kicked.Store(true)
		return
	}
	_ = unix.Tgkill(m.pid, m.pid, kickSignal)
}

// Timer implements platform.Machine.
func (m *machine) Timer(ns, period int64) error {
	m.stopTimer()
	if ns == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	turn := m.settings
	m.timer = time.AfterFunc(time.Duration(ns), func() {
		m.Kick()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.settings == turn && period > 0 {
			m.timer.Reset(time.Duration(period))
		}
	})
	return nil
}

func (m *machine) stopTimer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings++
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
}

// CPUTime implements platform.CPUTimer.
func (m *machine) CPUTime() int64 {
	sum := m.spent
	for _, t := range m.tracees {
		if t.pid != 0 {
			if ns, err := cpuClock(t.pid); err == nil {
				sum += ns
			}
		}
	}
	return sum
}

// wait waits for the tracee to stop. The error is errDied when it ended.
func (m *machine) wait() (unix.Signal, error) {
	if m.pid == 0 {
		return 0, errDied
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(m.pid, &ws, unix.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("wait4", err)
		}
	}
	if ws.Stopped() {
		return ws.StopSignal(), nil
	}
	m.setPID(0) // it is reaped: the number is free for others
	m.fp = nil
	m.death = "the traced process ended"
	if ws.Signaled() {
		m.death = fmt.Sprintf("the traced process was killed by %s from outside: short of memory, or by an operator", unix.SignalName(ws.Signal()))
	}
	return 0, errDied
}

// waitFor waits for a stop with the given signal; kicks on the way are kept.
func (m *machine) waitFor(want unix.Signal) (unix.Signal, error) {
	for {
		sig, err := m.wait()
		if err != nil || sig == want {
			return sig, err
		}
		switch sig {
		case unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP:
			_ = m.getRegs()
			return sig, fmt.Errorf("the traced process stopped with %s at %#x, call %d", unix.SignalName(sig), m.regs.RIP, (m.regs.R15-callsVA)/callSize)
		}
		m.kicked.Store(true)
		if err := m.resume(unix.PTRACE_CONT, 0); err != nil {
			return 0, err
		}
	}
}

// check turns the errno of a ptrace request into an error; ESRCH means that the
// tracee was killed while it was stopped.
func (m *machine) check(request string, e unix.Errno) error {
	switch e {
	case 0:
		return nil
	case unix.ESRCH:
		for {
			if _, err := m.wait(); err != nil {
				return err
			}
		}
	}
	return os.NewSyscallError(request, e)
}

func (m *machine) resume(request int, sig unix.Signal) error {
	if m.pid == 0 {
		return errDied
	}
	return m.check("ptrace", ptrace(request, m.pid, 0, uintptr(sig)))
}

func (m *machine) getRegs() error { return m.check("PTRACE_GETREGSET", getRegs(m.pid, &m.regs)) }

// at returns registers for the stub's own code.
func (m *machine) at(rip uint64) userRegs {
	r := m.regs
	r.RIP, r.RFLAGS, r.CS, r.SS, r.OrigRAX = rip, 0x202, x86.UserCS, x86.UserDS, noSyscall
	return r
}

// forget tells the tracees that guest pages are not what they were.
func (m *machine) forget(r guestmem.Run) {
	for _, t := range m.tracees {
		t.forget(r)
	}
}

// first makes a system call before there is a stub.
func (m *machine) first(c call) error {
	r := m.at(loaderEntry)
	r.RAX, r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9 = c[0], c[1], c[2], c[3], c[4], c[5], c[6]
	if err := m.check("PTRACE_SETREGSET", setRegs(m.pid, &r, generalRegs)); err != nil {
		return err
	}
	if err := m.resume(unix.PTRACE_CONT, 0); err != nil {
		return err
	}
	if _, err := m.waitFor(unix.SIGTRAP); err != nil {
		return err
	}
	if err := m.getRegs(); err != nil {
		return err
	}
	return callError(c, m.regs.RAX)
}

// callError is the error of a system call that the tracee made.
func callError(c call, rax uint64) error {
	if rax <= ^uint64(4095) {
		return nil
	}
	return fmt.Errorf("system call %d (%#x, %#x, %#x) of the traced process: %w", c[0], c[1], c[2], c[3], unix.Errno(-rax))
}

// do makes the tracee make system calls. The registers in m.regs are then the
// stub's: the caller must set those of the guest.
func (m *machine) do(list []call) error {
	for len(list) > 0 {
		n := min(len(list), maxCalls)
		part := list[:n]
		list = list[n:]
		m.stub.setCalls(part)
		r := m.at(loopVA)
		r.R15 = callsVA
		if err := m.check("PTRACE_SETREGSET", setRegs(m.pid, &r, generalRegs)); err != nil {
			return err
		}
		if err := m.resume(unix.PTRACE_CONT, 0); err != nil {
			return err
		}
		if _, err := m.waitFor(unix.SIGTRAP); err != nil {
			return err
		}
		if err := m.getRegs(); err != nil {
			return err
		}
		m.stub.clearCalls(n)
		if done := int(m.regs.R15-callsVA) / callSize; done != n {
			return callError(part[done], m.regs.RAX)
		}
	}
	return nil
}

// flush makes the calls that the TLB wants.
func (m *machine) flush() error {
	if len(m.queue) == 0 {
		return nil
	}
	err := m.do(m.queue)
	if errors.Is(err, unix.ENOMEM) {
		// Too many mappings (vm.max_map_count): begin anew.
		m.forgetAll()
		err = m.do(m.queue)
	}
	m.queue = m.queue[:0]
	return err
}

// SaveFP implements platform.Machine.
func (m *machine) SaveFP(c *platform.Context) error {
	t := m.tracees[m.rootOf(c)]
	if t == nil || t.fp != c {
		return nil
	}
	if before := m.tracee; before != t {
		m.enter(t)
		defer m.enter(before)
	}
	if unix.Gettid() != m.tid {
		return errors.New("the vector state is in a process that another thread traces")
	}
	if _, e := getXState(m.pid, m.xbuf); e != 0 {
		return m.check("PTRACE_GETREGSET", e)
	}
	n := copy(c.FP[:], m.xbuf[:min(len(m.xbuf), int(m.p.features.XSaveSize))])
	clear(c.FP[n:])
	header := c.FP[512:]
	binary.LittleEndian.PutUint64(header, binary.LittleEndian.Uint64(header)&m.p.features.XCR0)
	return nil
}

// LoadFP implements platform.Machine.
func (m *machine) LoadFP(c *platform.Context) {
	if t := m.tracees[m.rootOf(c)]; t != nil && t.fp == c {
		t.fp = nil
	}
}

// Forget implements platform.Machine.
func (m *machine) Forget(c *platform.Context) { m.LoadFP(c) }

// Reset implements platform.Machine.
func (m *machine) Reset() error {
	m.kicked.Store(false)
	for root, t := range m.tracees {
		t.fp, t.fresh, t.retry = nil, true, 0
		// Linux lets a program set the ID flag, but not its tracer clear it: only
		// another process has it clear.
		const flagID = 1 << 21
		if t.regs.RFLAGS&flagID != 0 {
			m.DropRoot(root)
		}
	}
	return nil
}

// load gives the tracee the vector state of c.
func (m *machine) load(c *platform.Context) error {
	if m.fp == c {
		return nil
	}
	if m.fp != nil {
		if err := m.SaveFP(m.fp); err != nil {
			return err
		}
	}
	n := copy(m.xbuf, c.FP[:m.p.features.XSaveSize])
	clear(m.xbuf[n:])
	if e := setXState(m.pid, m.xbuf); e != 0 {
		return m.check("PTRACE_SETREGSET", e)
	}
	m.fp, m.fresh = c, true
	return nil
}

// Run implements platform.Machine.
func (m *machine) Run(c *platform.Context) (platform.Exit, error) {
	e, err := m.run(c)
	if e.Kind == platform.ExitKick {
		m.mu.Lock()
		m.asked = false
		m.mu.Unlock()
	}
	if errors.Is(err, errDied) {
		return platform.Exit{Kind: platform.ExitFatal, Detail: m.death}, nil
	}
	return e, err
}

func (m *machine) run(c *platform.Context) (platform.Exit, error) {
	if err := m.choose(m.rootOf(c)); err != nil {
		return platform.Exit{}, err
	}
	if m.pid == 0 {
		return platform.Exit{}, errDied
	}
	if m.retry != 0 {
		m.fill(m.retry) // the guest is about to touch it again
		m.retry = 0
	}
	if err := m.load(c); err != nil {
		return platform.Exit{}, err
	}
	for {
		if err := m.flush(); err != nil {
			return platform.Exit{}, err
		}
		if m.kicked.Load() && m.kicked.Swap(false) {
			return platform.Exit{Kind: platform.ExitKick}, nil
		}
		if bad, err := m.setGuest(c); bad || err != nil {
			return platform.Exit{Kind: platform.ExitFatal, Detail: fmt.Sprintf("FS base %#x or GS base %#x is no address", c.FSBase, c.GSBase)}, err
		}
		if err := m.resume(ptraceSysemu, 0); err != nil {
			return platform.Exit{}, err
		}
		sig, err := m.wait()
		if err != nil {
			return platform.Exit{}, err
		}
		if err := m.getRegs(); err != nil {
			return platform.Exit{}, err
		}
		m.getGuest(c)
		if m.regs.CS != x86.UserCS {
			// There is no 32-bit code. A kick on the way is not forgotten.
			if sig == kickSignal {
				m.kicked.Store(true)
			}
			return protection(0), nil
		}
		switch sig {
		case syscallStop:
			return m.syscall(c), nil
		case unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP:
			e, done, err := m.fault(c, sig)
			if done || err != nil {
				return e, err
			}
		default: // a kick, or a stray signal
			return platform.Exit{Kind: platform.ExitKick}, nil
		}
	}
}

// setGuest writes the registers of c. It reports true when the kernel refuses
// them, which it does for bases that are not addresses of a program.
func (m *machine) setGuest(c *platform.Context) (bool, error) {
	g := &c.Regs
	r := userRegs{
		R15: g.R15, R14: g.R14, R13: g.R13, R12: g.R12, RBP: g.RBP, RBX: g.RBX, R11: g.R11, R10: g.R10,
		R9: g.R9, R8: g.R8, RAX: g.RAX, RCX: g.RCX, RDX: g.RDX, RSI: g.RSI, RDI: g.RDI,
		OrigRAX: noSyscall, RIP: g.RIP, CS: x86.UserCS, RFLAGS: g.RFLAGS, RSP: g.RSP, SS: x86.UserDS,
		FSBase: c.FSBase, GSBase: c.GSBase,
	}
	n := generalRegs
	if old := &m.regs; m.fresh || old.FSBase != r.FSBase || old.GSBase != r.GSBase || old.DS|old.ES|old.FS|old.GS != 0 {
		n = allRegs
	}
	e := setRegs(m.pid, &r, n)
	if e == unix.EIO || e == unix.EINVAL {
		return true, nil
	}
	m.fresh = false
	return false, m.check("PTRACE_SETREGSET", e)
}

// userFlags are the RFLAGS bits that a program may set, as on platform kvm; RF
// is kept over a fault.
const userFlags = 0x24_0dd5 | 1<<16

// getGuest reads the registers into c.
func (m *machine) getGuest(c *platform.Context) {
	r, g := &m.regs, &c.Regs
	g.RAX, g.RBX, g.RCX, g.RDX, g.RSI, g.RDI, g.RSP, g.RBP = r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI, r.RSP, r.RBP
	g.R8, g.R9, g.R10, g.R11, g.R12, g.R13, g.R14, g.R15 = r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15
	g.RIP, g.RFLAGS = r.RIP, r.RFLAGS&userFlags|0x202
	c.FSBase, c.GSBase = r.FSBase, r.GSBase
}

// syscall is the exit of a system call that was stopped before it was made.
func (m *machine) syscall(c *platform.Context) platform.Exit {
	g := &c.Regs
	g.RAX = m.regs.OrigRAX
	// INT 0x80 asks for a 32-bit call, which there is not.
	if a, b := m.code(g.RIP-2), m.code(g.RIP-1); a == 0xcd && b == 0x80 {
		g.RIP -= 2
		return protection(0x80<<3 | 2)
	}
	g.RCX, g.R11 = g.RIP, g.RFLAGS
	return platform.Exit{Kind: platform.ExitSyscall}
}

// protection is what 32-bit code and gates come to: there are none.
func protection(code uint64) platform.Exit {
	return platform.Exit{Kind: platform.ExitException, Vector: x86.VecProtection, ErrorCode: code}
}

// code returns a byte of guest memory, 0 when there is none.
func (m *machine) code(va uint64) byte {
	e := m.leaf(va)
	if rights(e) == 0 {
		return 0
	}
	return m.mem.Bytes(e&x86.PTEAddr+va%pageSize, 1)[0]
}

// fault serves a signal that an exception of the tracee caused. It reports
// false when the guest is to go on.
func (m *machine) fault(c *platform.Context, sig unix.Signal) (platform.Exit, bool, error) {
	var si sigInfo
	if e := getSigInfo(m.pid, &si); e != 0 {
		return platform.Exit{}, true, m.check("PTRACE_GETSIGINFO", e)
	}
	const kernel, busAdrAln = 0x80, 1
	switch {
	case si.Code <= 0: // sent by somebody
		return platform.Exit{Kind: platform.ExitKick}, true, nil
	case m.regs.RIP >= taskSize:
		// The kernel's half, where it emulates some calls of old (vsyscall) and
		// does not say what went wrong with them.
		return platform.Exit{Kind: platform.ExitException, Vector: x86.VecPageFault, ErrorCode: x86.FaultUser | x86.FaultFetch, Addr: m.regs.RIP}, true, nil
	case sig == unix.SIGBUS && si.Code != kernel && si.Code != busAdrAln:
		return platform.Exit{Kind: platform.ExitFatal, Detail: "the host has no memory for the guest's"}, true, nil
	case sig == unix.SIGSEGV && si.Code != kernel && m.fill(si.Addr):
		return platform.Exit{}, false, nil
	}
	f, err := m.probe(c, sig)
	if err != nil {
		return platform.Exit{}, true, err
	}
	exit := platform.Exit{Kind: platform.ExitException, Vector: int(f.trap & 31), ErrorCode: f.err}
	if trap := exit.Vector == x86.VecDebug || exit.Vector == x86.VecBreakpoint; trap != (sig == unix.SIGTRAP) {
		return protection(0), true, nil // no exception was behind it: the frame tells of an earlier one
	}
	if exit.Vector == x86.VecPageFault {
		// The tracee's page tables are not the guest's.
		exit.Addr, exit.ErrorCode = f.cr2, f.err&^x86.FaultPresent
		if rights(m.leaf(f.cr2)) != 0 {
			exit.ErrorCode |= x86.FaultPresent
		}
		m.retry = f.cr2
	}
	return exit, true, nil
}

// probe learns vector, error code and address of the exception behind a signal:
// ptrace does not tell them, but the frame of a signal handler does. So the
// signal is delivered, to the stub.
func (m *machine) probe(c *platform.Context, sig unix.Signal) (frame, error) {
	if err := m.SaveFP(c); err != nil { // the kernel gives a handler a fresh state
		return frame{}, err
	}
	m.fp = nil
	// The list must not end in an exception, which would take the place of the
	// one asked for.
	open := []call{
		{unix.SYS_MPROTECT, stackVA, stackSize, unix.PROT_READ | unix.PROT_WRITE},
		{unix.SYS_TGKILL, uint64(m.pid), uint64(m.pid), uint64(endSignal)},
	}
	m.stub.setCalls(open)
	r := m.at(loopVA)
	r.R15 = callsVA
	if err := m.check("PTRACE_SETREGSET", setRegs(m.pid, &r, generalRegs)); err != nil {
		return frame{}, err
	}
	if err := m.resume(unix.PTRACE_CONT, 0); err != nil {
		return frame{}, err
	}
	if _, err := m.waitFor(endSignal); err != nil {
		return frame{}, err
	}
	shut := []call{{unix.SYS_MPROTECT, stackVA, stackSize, unix.PROT_NONE}}
	m.stub.setCalls(shut)
	if err := m.resume(unix.PTRACE_CONT, sig); err != nil {
		return frame{}, err
	}
	if _, err := m.waitFor(unix.SIGTRAP); err != nil {
		return frame{}, err
	}
	if err := m.getRegs(); err != nil {
		return frame{}, err
	}
	m.stub.clearCalls(len(open))
	if m.regs.R15 != callsVA+callSize {
		return frame{}, callError(shut[0], m.regs.RAX)
	}
	return m.stub.readFrame(m.regs.RSP)
}

var (
	_ platform.Machine  = (*machine)(nil)
	_ platform.Unbinder = (*machine)(nil)
	_ platform.CPUTimer = (*machine)(nil)
)
