// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package task is the kernel of one VM: processes, threads, signals, futexes
// and the run loop that owns them all. It is single-threaded: everything here
// runs on the loop's goroutine, and what comes from outside (input, a
// cancellation) is posted to it. So nothing in the guest kernel is locked.
package task

import (
	"context"
	"errors"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/waitq"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Calls is one past the largest system call number that a table can serve.
const Calls = 512

// Table holds the handlers by number; nil is ENOSYS.
type Table [Calls]Handler

// Limits bound what a guest may have at once.
type Limits struct {
	Threads, Files int
	Wall, CPU      time.Duration // zero: no limit
}

// Config says what a kernel is made of.
type Config struct {
	Table    *Table
	Memory   *guestmem.Memory
	MM       *mm.MM
	Machine  platform.Machine
	Features platform.Features
	Limits   Limits
	Rand     io.Reader
}

// Ending says how a program ended.
type Ending uint8

// The ways a program ends.
const (
	Exited Ending = iota
	Signaled
	WallLimit
	CPULimit
	MemoryLimit
	OutputLimit
	Canceled
	Deadlock
	// Answered: the host has what it wanted.
	Answered
	// Waiting: the run is paused at its wait point.
	Waiting
)

// Death describes the signal that ended a program.
type Death struct {
	Signal    int
	Vector    int // exception vector, -1 for none
	ErrorCode uint64
	RIP, Addr uint64
}

// Outcome is the end of a run.
type Outcome struct {
	Ending Ending
	Status int    // Exited
	Death  Death  // Signaled
	Detail string // Signaled by a broken processor state: what it was
	// Blocked are the threads that are left when the ending is Deadlock, in the order
	// of their numbers.
	Blocked []Blocked
}

// Blocked is a thread that cannot go on.
type Blocked struct {
	TID     int
	Stopped bool   // its process is, by a signal
	Call    uint64 // the system call that it waits in, unless Stopped
}

// Stats counts what a run cost.
type Stats struct {
	Exits, Kicks, Signals, Switches uint64
	Answered                        uint64 // calls answered inside the guest, without an exit
	Syscalls                        [Calls]uint64
	Unsupported                     map[uint64]uint64
	Exceptions                      [32]uint64
	Threads                         int
}

// Kernel is the kernel of one VM.
type Kernel struct {
	Clock  *Clock
	Limits Limits
	Rand   io.Reader `snapshot:"-"` // given by Clone
	FS     *vfs.FS
	Net    *net.Stack
	Memory *guestmem.Memory
	// Init is the first process.
	Init *Process
	// WaitPoint, when set, tells whether the program waits for its event. The
	// run is paused there, once nothing else goes on.
	WaitPoint func() bool `snapshot:"-"` // of the run that led to the snapshot

	table    *Table            `snapshot:"-"` // Restore gives it
	machine  platform.Machine  `snapshot:"-"` // given by Clone
	features platform.Features `snapshot:"-"` // Restore gives them
	external bool
	tracer   Tracer

	threads map[int]*Thread
	procs   map[int]*Process // zombies too
	nextID  int
	runq    []*Thread `snapshot:"-"` // nothing can run in a frozen kernel
	caller  *Thread   `snapshot:"-"` // makes the call that is served
	running *Thread   // at the front, in its time slice
	yield   bool      // end the slice of running
	futexes *futexes
	// signaled is woken when a signal begins to wait.
	signaled waitq.Queue

	answers answers `snapshot:"-"` // are found anew at each entry

	timers    timerHeap `snapshot:"-"` // of calls, which are made again
	ticker    ticker
	refreshed int64
	cpuStart  int64 // processor time of the OS thread before the run

	cpuBefore    int64 // processor time up to the run: before the snapshot; after it all
	onCPU        bool
	charged      *Thread // who uses the processor, since cpuTime was chargedAt
	chargedAt    int64
	waitingSince int64 // when the program first waited for its event
	frozenAt     int64 // the monotonic clock at the snapshot

	ended   bool
	outcome Outcome
	err     error `snapshot:"-"` // a kernel that failed is not frozen
	stats   Stats `snapshot:"-"` // a clone counts from the start

	// Nothing is posted to a frozen kernel.
	mu      sync.Mutex `snapshot:"-"` // guards posted and closed
	posted  []func()   `snapshot:"-"`
	closed  bool
	hasPost atomic.Bool   `snapshot:"-"`
	inGuest atomic.Bool   `snapshot:"-"`
	bell    chan struct{} `snapshot:"-"`
}

// maxUnsupported bounds the distinct unknown calls that are counted: the
// numbers are the guest's.
const maxUnsupported = 64

// firstPID is the number of the first process: a number that libraries do not
// take for init.
const firstPID = 100

// stackRlimit is the soft limit of RLIMIT_STACK, and the size of the first
// thread's stack.
const stackRlimit = 8 << 20

// StackSize is the size of the first thread's stack in bytes.
const StackSize = stackRlimit

// New makes a kernel with one process that has one thread and no program yet.
func New(c Config) *Kernel {
	k := &Kernel{
		Clock: newClock(c.Features), Limits: c.Limits, Rand: c.Rand, Memory: c.Memory,
		table: c.Table, machine: c.Machine, features: c.Features,
		threads: map[int]*Thread{}, procs: map[int]*Process{}, nextID: firstPID, futexes: newFutexes(),
		bell: make(chan struct{}, 1),
	}
	k.stats.Unsupported = map[uint64]uint64{}
	p := &Process{K: k, PGID: firstPID, SID: firstPID, MM: c.MM, FDs: fd.NewTable(c.Limits.Files), Place: &Place{Umask: 0o022}, actions: &actions{}}
	p.PID = k.newID()
	p.Attr.Dumpable = 1
	k.procs[p.PID] = p
	p.FDs.System().Memory = c.Memory
	k.Net = net.NewStack(p.FDs.System())
	for i := range p.Rlimits {
		p.Rlimits[i] = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	}
	p.Rlimits[unix.RLIMIT_STACK].Cur = stackRlimit
	p.Rlimits[unix.RLIMIT_NICE], p.Rlimits[unix.RLIMIT_RTPRIO] = unix.Rlimit{}, unix.Rlimit{}
	p.Rlimits[unix.RLIMIT_CORE].Cur = 0
	p.Rlimits[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: uint64(c.Limits.Files), Max: uint64(c.Limits.Files)}
	p.Rlimits[unix.RLIMIT_SIGPENDING] = unix.Rlimit{Cur: maxQueued, Max: maxQueued}
	p.Rlimits[unix.RLIMIT_NPROC] = unix.Rlimit{Cur: uint64(c.Limits.Threads), Max: uint64(c.Limits.Threads)}
	k.Init = p
	t := k.newThread(p, p.PID)
	k.charged = t
	initFP(t.Ctx.FP)
	k.enqueue(t)
	return k
}

// SetExternal says whether posts may come from outside at any time (streams), so
// that a program with nothing to wait for inside is not deadlocked.
func (k *Kernel) SetExternal(on bool) { k.external = on }

// Features returns what the processor offers to the guest.
func (k *Kernel) Features() platform.Features { return k.features }

// Stats returns the counts so far.
func (k *Kernel) Stats() *Stats { return &k.stats }

// Threads returns the number of threads of all processes.
func (k *Kernel) Threads() int { return len(k.threads) }

// Thread finds a thread by its number, or nil.
func (k *Kernel) Thread(tid int) *Thread { return k.threads[tid] }

// Post hands f to the run loop. It may be called from any goroutine; after the
// end of the run f is dropped.
func (k *Kernel) Post(f func()) {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	k.posted = append(k.posted, f)
	k.hasPost.Store(true)
	k.mu.Unlock()
	// The loop looks at hasPost after it has set inGuest, so one of the two
	// always sees the other.
	if k.inGuest.Load() {
		k.machine.Kick()
	}
	select {
	case k.bell <- struct{}{}:
	default:
	}
}

func (k *Kernel) runPosted() {
	for k.hasPost.Load() {
		k.mu.Lock()
		fs := k.posted
		k.posted = nil
		k.hasPost.Store(false)
		k.mu.Unlock()
		for _, f := range fs {
			f()
		}
	}
}

// End ends the run as a limit or a cancellation does. It belongs to the loop.
func (k *Kernel) End(e Ending) { k.finish(Outcome{Ending: e}) }

func (k *Kernel) finish(o Outcome) {
	if !k.ended {
		k.ended, k.outcome = true, o
	}
}

func (k *Kernel) exit(status int) { k.finish(Outcome{Ending: Exited, Status: status & 0xff}) }

func (k *Kernel) die(d Death) { k.finish(Outcome{Ending: Signaled, Death: d}) }

// fail ends the run because the monitor or the host failed.
func (k *Kernel) fail(err error) {
	if k.err == nil {
		k.err = err
	}
	k.ended = true
}

func (k *Kernel) enqueue(t *Thread) {
	if !t.queued && !t.dead {
		t.queued = true
		k.runq = append(k.runq, t)
	}
}

// Run runs the program to its end, or until ctx is done. The calling goroutine
// is locked to its OS thread meanwhile.
func (k *Kernel) Run(ctx context.Context) (Outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := k.machine.Bind(); err != nil {
		return Outcome{}, err
	}
	stop := context.AfterFunc(ctx, func() { k.Post(func() { k.End(Canceled) }) })
	defer stop()
	defer k.setLimits()()
	k.Clock.encode(k.Memory.Page(x86.ClockGPA))
	k.resume()
	for {
		k.runPosted()
		if k.ended { // by a post, perhaps: a program that spins must not be entered again
			break
		}
		t := k.pick()
		if t == nil {
			k.idle()
			continue
		}
		k.step(t)
	}
	if k.tracer != nil {
		k.tracer.End(k.outcome)
	}
	if k.ticker.state != timerOff {
		k.setTimer(0)
	}
	k.cpuBefore, k.onCPU = k.CPUTime(), false
	if m, ok := k.machine.(platform.Unbinder); ok {
		if err := m.Unbind(); err != nil {
			k.fail(err)
		}
	}
	k.mu.Lock()
	k.closed, k.posted = true, nil
	k.mu.Unlock()
	if k.err != nil {
		return k.outcome, k.err
	}
	return k.outcome, nil
}

// setLimits starts the timers of the wall-clock and processor-time limits, and
// returns what stops them. They are the host's and post, because the machine's
// timer loses the kicks that fall between two runs: a program that spends its
// time in calls would see few of them.
func (k *Kernel) setLimits() (stop func()) {
	k.cpuStart, k.onCPU = k.usedCPU(), true
	var wall, cpu *time.Timer
	if w := k.Limits.Wall; w > 0 {
		wall = time.AfterFunc(w, func() { k.Post(func() { k.End(WallLimit) }) })
	}
	if c := k.Limits.CPU; c > 0 {
		cpu = time.AfterFunc(c, func() {
			k.Post(func() {
				left := c - time.Duration(k.CPUTime()-k.cpuBefore)
				if left <= 0 {
					k.End(CPULimit)
					return
				}
				cpu.Reset(max(left, time.Millisecond))
			})
		})
	}
	return func() {
		for _, t := range []*time.Timer{wall, cpu} {
			if t != nil {
				t.Stop()
			}
		}
	}
}

func threadCPU() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}

// CPUTime returns the processor time of the run so far in nanoseconds: that of
// the guest and of its kernel.
func (k *Kernel) CPUTime() int64 {
	if !k.onCPU {
		return k.cpuBefore
	}
	return k.cpuBefore + k.usedCPU() - k.cpuStart
}

// usedCPU is the processor time of the run loop's thread, and of the guest
// where that runs elsewhere.
func (k *Kernel) usedCPU() int64 {
	ns := threadCPU()
	if m, ok := k.machine.(platform.CPUTimer); ok {
		ns += m.CPUTime()
	}
	return ns
}

// pick returns the thread to run, at the front of the run queue, or nil.
func (k *Kernel) pick() *Thread {
	for len(k.runq) > 0 {
		t := k.runq[0]
		if t.dead || t.blocked || t.P.stopped {
			t.queued = false
			k.runq = k.runq[1:]
			continue
		}
		if k.yield {
			k.yield = false
			if len(k.runq) > 1 {
				k.runq = append(k.runq[1:], t)
				continue
			}
		}
		return t
	}
	k.runq = nil
	return nil
}

// idle waits for a timer or a post.
func (k *Kernel) idle() {
	k.expire(k.Clock.Monotonic())
	if k.hasPost.Load() || k.ended || len(k.runq) > 0 {
		return
	}
	if k.atWaitPoint() {
		k.End(Waiting)
		return
	}
	if !k.external && len(k.timers) == 0 {
		k.finish(Outcome{Ending: Deadlock, Blocked: k.blocked()})
		return
	}
	if len(k.timers) == 0 {
		<-k.bell
		return
	}
	d := k.timers[0].deadline - k.Clock.Monotonic()
	if d <= 0 {
		return
	}
	w := time.NewTimer(time.Duration(d))
	select {
	case <-k.bell:
	case <-w.C:
	}
	w.Stop()
}

// blocked describes all threads; none of them can run.
func (k *Kernel) blocked() []Blocked {
	list := make([]Blocked, 0, len(k.threads))
	for _, tid := range slices.Sorted(maps.Keys(k.threads)) {
		t := k.threads[tid]
		b := Blocked{TID: tid, Stopped: t.P.stopped}
		if !b.Stopped {
			b.Call = t.call.nr
		}
		list = append(list, b)
	}
	return list
}

// canonical is the end of the lower half of the address space. Entering user
// code beyond it is a fault of the processor's entry on some machines and of
// the program on others; here it is always the program's.
const canonical = uint64(1) << 47

// step runs a thread to its next exit and serves it.
func (k *Kernel) step(t *Thread) {
	if t.woken != WakeNone { // a call that waited is made again
		k.call(t)
		k.checkMemory()
		return
	}
	if t.restart != 0 || t.restoreMask || t.deliverable() != 0 {
		t.deliver()
		if k.ended || t.dead || t.P.stopped {
			k.checkMemory() // a frame without room may be one without memory
			return
		}
	}
	if rip := t.Ctx.Regs.RIP; rip >= canonical {
		info := SigInfo{Code: CodeKernel, vector: x86.VecProtection}
		if rip >= ^(canonical - 1) { // an address, but the kernel's
			info = SigInfo{Code: segvMapErr, Addr: rip, vector: x86.VecPageFault, errorCode: x86.FaultUser | x86.FaultFetch}
		}
		t.fault(int(unix.SIGSEGV), info)
		return
	}
	if k.running != t {
		k.charge(t)
		k.running = t
		k.stats.Switches++
	}
	k.arm()
	k.offer(t)
	k.inGuest.Store(true)
	if k.hasPost.Load() {
		k.inGuest.Store(false)
		return
	}
	e, err := k.machine.Run(&t.Ctx)
	k.inGuest.Store(false)
	k.stats.Exits++
	if err != nil {
		k.fail(err)
		return
	}
	k.collect()
	switch e.Kind {
	case platform.ExitSyscall:
		r := &t.Ctx.Regs
		t.call.nr = r.RAX
		t.call.args = Args{r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9}
		if t.call.nr < Calls {
			k.stats.Syscalls[t.call.nr]++
		}
		k.call(t)
	case platform.ExitException:
		t.exception(e)
	case platform.ExitKick:
		k.tick()
	case platform.ExitFatal:
		k.finish(Outcome{Ending: Signaled, Death: Death{Signal: int(unix.SIGKILL), Vector: -1, RIP: t.Ctx.Regs.RIP}, Detail: e.Detail})
	}
	k.checkMemory()
}

func (k *Kernel) checkMemory() {
	switch err := k.Init.MM.Err(); {
	case err == nil:
	case errors.Is(err, guestmem.ErrLimit):
		// More than a death by the call at hand: the program needed the memory.
		k.ended, k.outcome = true, Outcome{Ending: MemoryLimit}
	default:
		k.fail(err)
	}
}

// call makes the thread's system call and stores what it returns.
func (k *Kernel) call(t *Thread) {
	nr := t.call.nr
	k.caller = t
	var h Handler
	if nr < Calls {
		h = k.table[nr]
	}
	if k.tracer != nil {
		k.tracer.Enter(t, nr, t.call.args, t.woken != WakeNone || t.again)
	}
	ret, errno := uint64(0), abi.ENOSYS
	if h != nil {
		ret, errno = h(t, t.call.args)
	} else if _, known := k.stats.Unsupported[nr]; known || len(k.stats.Unsupported) < maxUnsupported {
		k.stats.Unsupported[nr]++
	}
	if k.tracer != nil {
		k.tracer.Leave(t, ret, errno)
	}
	if errno == abi.EBLOCK {
		t.again = false
		return
	}
	t.woken, t.again, t.State = WakeNone, false, nil
	k.FS.Tidy()
	r := &t.Ctx.Regs
	switch errno {
	case abi.OK:
		r.RAX = ret
	case abi.ENORETURN:
	case abi.ERESTARTSYS, abi.ERESTARTNOHAND, abi.ERESTARTNOINTR:
		t.restart = errno
	default:
		r.RAX = negErrno(errno)
	}
}
