// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

const (
	numSignals = 64
	// maxQueued is the first RLIMIT_SIGPENDING, and its bound.
	maxQueued = 1024
)

// Values of SigInfo.Code; sigaction(2).
const (
	CodeUser   = 0    // SI_USER: kill
	CodeKernel = 0x80 // SI_KERNEL
	CodeQueue  = -1   // SI_QUEUE: sigqueue
	CodeTimer  = -2   // SI_TIMER
	CodeTkill  = -6   // SI_TKILL
)

// SigInfo is the part of siginfo_t that belongs to the signal's cause.
type SigInfo struct {
	Code int32
	PID  int32  // of the sender; CodeTimer: the timer's id
	UID  uint32 // of the sender; CodeTimer: the overrun count
	// Value is si_value of a queued signal or timer.
	Value uint64
	// Addr is si_addr of a fault.
	Addr uint64
	// Errno is si_errno, which only a program sets.
	Errno int32
	// UTime is si_utime of SIGCHLD: the child's processor time in clock ticks.
	UTime int64
	sent  bool // by rt_sigqueueinfo: the program says what it is
	bare  bool // there was no room for its cause
	// A fault's exception, for the handler's context and the death report.
	fault     bool
	vector    int
	errorCode uint64
}

// SigAction is struct kernel_sigaction; rt_sigaction(2).
type SigAction struct {
	Handler, Flags, Restorer, Mask uint64
}

const (
	sigDefault = 0
	sigIgnore  = 1
	// actionFlags are the flags that there are; a program finds out by setting others.
	actionFlags = saRestart | saNoDefer | saResetHand | saOnStack | saRestorer | saExposeTags |
		1 | 2 | 4 // SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO
)

// AltStack is stack_t; sigaltstack(2).
type AltStack struct {
	Addr  uint64
	Flags uint32
	Size  uint64
}

type queuedSignal struct {
	sig  int
	info SigInfo
}

// sigQueue is a set of pending signals. Standard signals are kept once,
// real-time signals as often as they were sent.
type sigQueue struct {
	set   uint64
	queue []queuedSignal
}

func bit(sig int) uint64 { return 1 << (sig - 1) }

func (q *sigQueue) add(sig int, info SigInfo) {
	if q.set&bit(sig) != 0 && (sig < 32 || info.bare) {
		return
	}
	q.set |= bit(sig)
	q.queue = append(q.queue, queuedSignal{sig, info})
}

// room reports whether one more signal may be queued with its cause, to the process
// or to any of its threads: RLIMIT_SIGPENDING. Standard signals of the kernel and of
// kill, faults among them, are bounded by their number and always find room. When
// there is none, the cause of others is lost, as Linux has it. Errors: EAGAIN for a
// real-time signal that carries one.
func (p *Process) room(sig int, info *SigInfo) abi.Errno {
	if sig < 32 && info.Code >= 0 {
		return 0
	}
	n := len(p.pending.queue)
	for _, t := range p.Threads {
		n += len(t.pending.queue)
	}
	switch {
	case info.Code == CodeTimer && !info.sent && n < 2*maxQueued: // a timer's place was taken when it was made
	case uint64(n) < min(p.Rlimits[unix.RLIMIT_SIGPENDING].Cur, maxQueued):
	case sig >= 32 && info.Code != CodeUser:
		return abi.EAGAIN
	default:
		*info = SigInfo{bare: true}
	}
	return 0
}

// synchronous are the signals of faults: also when they were sent they come first.
const synchronous = uint64(1)<<(unix.SIGSEGV-1) | uint64(1)<<(unix.SIGBUS-1) | uint64(1)<<(unix.SIGILL-1) |
	uint64(1)<<(unix.SIGTRAP-1) | uint64(1)<<(unix.SIGFPE-1) | uint64(1)<<(unix.SIGSYS-1)

// take removes the first signal of the set want: faults first, then the signals of
// faults, then the lowest number.
func (q *sigQueue) take(want uint64) (queuedSignal, bool) {
	best := -1
	if q.set&want&synchronous != 0 {
		want &= synchronous
	}
	for i, s := range q.queue {
		if want&bit(s.sig) == 0 {
			continue
		}
		if s.info.fault {
			best = i
			break
		}
		if best < 0 || s.sig < q.queue[best].sig {
			best = i
		}
	}
	if best < 0 {
		return queuedSignal{}, false
	}
	s := q.queue[best]
	q.queue = append(q.queue[:best], q.queue[best+1:]...)
	q.set = 0
	for _, x := range q.queue {
		q.set |= bit(x.sig)
	}
	return s, true
}

func (q *sigQueue) discard(set uint64) {
	rest := q.queue[:0]
	q.set = 0
	for _, s := range q.queue {
		if set&bit(s.sig) == 0 {
			rest = append(rest, s)
			q.set |= bit(s.sig)
		}
	}
	q.queue = rest
}

const (
	unmaskable = uint64(1)<<(unix.SIGKILL-1) | uint64(1)<<(unix.SIGSTOP-1)
	stopSet    = uint64(1)<<(unix.SIGSTOP-1) | uint64(1)<<(unix.SIGTSTP-1) | uint64(1)<<(unix.SIGTTIN-1) | uint64(1)<<(unix.SIGTTOU-1)
	ignoredSet = uint64(1)<<(unix.SIGCHLD-1) | uint64(1)<<(unix.SIGURG-1) | uint64(1)<<(unix.SIGWINCH-1) | uint64(1)<<(unix.SIGCONT-1)
)

// ignored reports whether the process drops the signal when it arrives.
func (p *Process) ignored(sig int) bool {
	h := p.actions[sig].Handler
	return h == sigIgnore || h == sigDefault && ignoredSet&bit(sig) != 0
}

// Action returns what the process does on a signal.
func (p *Process) Action(sig int) SigAction { return p.actions[sig] }

// SetAction changes what the process does on a signal, which is neither
// SIGKILL nor SIGSTOP. Pending signals that are ignored from now on are dropped.
func (p *Process) SetAction(sig int, a SigAction) {
	a.Mask &^= unmaskable
	a.Flags &= actionFlags
	p.actions[sig] = a
	if p.ignored(sig) {
		p.pending.discard(bit(sig))
		for _, t := range p.Threads {
			t.pending.discard(bit(sig))
		}
	}
}

// ValidSignal reports whether sig is a signal number.
func ValidSignal(sig int) bool { return sig >= 1 && sig <= numSignals }

// Signal sends a signal to the thread. Errors: EAGAIN when too many are queued.
func (t *Thread) Signal(sig int, info SigInfo) abi.Errno {
	if t.P.jobControl(sig) {
		return 0
	}
	if t.P.ignored(sig) && (t.mask|t.waitSet)&bit(sig) == 0 {
		return 0
	}
	if errno := t.P.room(sig, &info); errno != 0 {
		return errno
	}
	t.pending.add(sig, info)
	t.interrupt()
	t.K.signaled.WakeAll()
	return 0
}

// Signal sends a signal to the process: any thread that does not block it
// takes it. Errors: EAGAIN when too many are queued.
func (p *Process) Signal(sig int, info SigInfo) abi.Errno { return p.signal(sig, info, nil) }

// SignalRunning is Signal for what the processor time of the process brings about: as on
// Linux the thread that spends it gets the signal, when it takes it.
func (p *Process) SignalRunning(sig int, info SigInfo) abi.Errno {
	return p.signal(sig, info, p.K.running)
}

func (p *Process) signal(sig int, info SigInfo, prefer *Thread) abi.Errno {
	if p.jobControl(sig) {
		return 0
	}
	blocked, waited := true, false
	for _, t := range p.Threads {
		blocked = blocked && t.mask&bit(sig) != 0
		waited = waited || t.waitSet&bit(sig) != 0
	}
	if p.ignored(sig) && !blocked && !waited {
		return 0
	}
	if errno := p.room(sig, &info); errno != 0 {
		return errno
	}
	p.pending.add(sig, info)
	if prefer != nil && prefer.P == p && !prefer.dead && prefer.mask&bit(sig) == 0 {
		prefer.interrupt()
		p.K.signaled.WakeAll()
		return 0
	}
	for _, t := range p.Threads {
		if (t.mask&^t.waitSet)&bit(sig) == 0 {
			t.interrupt()
			if !t.blocked {
				break
			}
		}
	}
	p.K.signaled.WakeAll()
	return 0
}

// jobControl carries out what stopping and continuing do at once, and reports
// whether nothing is left to deliver.
func (p *Process) jobControl(sig int) bool {
	switch {
	case sig == int(unix.SIGCONT):
		p.proceed(true)
		p.pending.discard(stopSet)
	case sig == int(unix.SIGKILL):
		p.die(Death{Signal: int(unix.SIGKILL), Vector: -1})
		return true
	case stopSet&bit(sig) != 0:
		p.pending.discard(bit(int(unix.SIGCONT)))
		if sig == int(unix.SIGSTOP) {
			p.stop(sig)
			return true
		}
	}
	return false
}

// deliverable returns the pending signals that the thread does not block.
func (t *Thread) deliverable() uint64 { return (t.pending.set | t.P.pending.set) &^ t.mask }

// interrupt ends the thread's wait when a signal is to be delivered.
func (t *Thread) interrupt() {
	if t.deliverable() != 0 {
		t.wake(WakeSignal)
	} else if (t.pending.set|t.P.pending.set)&t.waitSet != 0 {
		t.wake(WakeEvent)
	}
}

// Pending returns the signals that wait while they are blocked; sigpending(2).
func (t *Thread) Pending() uint64 { return (t.pending.set | t.P.pending.set) & t.mask }

// TakePending removes one pending signal of the set and returns it, as
// sigwaitinfo(2) does.
func (t *Thread) TakePending(set uint64) (int, SigInfo, bool) {
	s, ok := t.pending.take(set)
	if !ok {
		s, ok = t.P.pending.take(set)
	}
	t.countOverruns(&s.info)
	return s.sig, s.info, ok
}

// countOverruns tells the signal of a timer, which is being taken, how many expiries it
// stands for beside its own: only now are they known.
func (t *Thread) countOverruns(info *SigInfo) {
	if info.Code != CodeTimer || info.sent {
		return
	}
	if p := t.P.Timers.POSIX(info.PID); p != nil {
		info.UID = uint32(p.Taken())
	}
}

// Mask returns the blocked signals.
func (t *Thread) Mask() uint64 { return t.mask }

// SetMask changes the blocked signals; SIGKILL and SIGSTOP cannot be.
func (t *Thread) SetMask(mask uint64) { t.mask = mask &^ unmaskable }

// SwapMask sets a mask for the length of a call (ppoll, sigsuspend and their
// like): the old one comes back once the call is over, after a handler that
// the call was interrupted for. A call that is made again keeps it.
func (t *Thread) SwapMask(mask uint64) {
	if t.woken != WakeNone || t.again && t.restoreMask {
		return
	}
	t.savedMask, t.restoreMask = t.mask, true
	t.SetMask(mask)
}

// AltStack returns the alternative signal stack; its Flags say whether the
// thread runs on it now (SS_ONSTACK) or has none (SS_DISABLE).
func (t *Thread) AltStack() AltStack {
	s := t.altStack
	s.Flags &= ssAutoDisarm
	switch {
	case s.Size == 0:
		s.Flags |= ssDisable
	case t.onAltStack(t.Ctx.Regs.RSP):
		s.Flags |= ssOnStack
	}
	return s
}

const (
	ssOnStack    = 1
	ssDisable    = 2
	ssAutoDisarm = 1 << 31
	// minSigStack is MINSIGSTKSZ.
	minSigStack = 2048
)

// SetAltStack changes it; sigaltstack(2). Errors: EPERM, EINVAL, ENOMEM.
func (t *Thread) SetAltStack(s AltStack) abi.Errno {
	if t.altStack.Size != 0 && t.onAltStack(t.Ctx.Regs.RSP) {
		return abi.EPERM
	}
	switch s.Flags &^ ssAutoDisarm {
	case ssDisable:
		t.altStack = AltStack{Flags: s.Flags}
		return 0
	case 0, ssOnStack:
	default:
		return abi.EINVAL
	}
	if s.Size < minSigStack {
		return abi.ENOMEM
	}
	t.altStack = s
	return 0
}

func (t *Thread) onAltStack(sp uint64) bool {
	return t.altStack.Flags&ssAutoDisarm == 0 && sp > t.altStack.Addr && sp-t.altStack.Addr <= t.altStack.Size
}

// fault delivers a signal that the thread caused itself. When it is blocked or
// ignored the process dies, as force_sig_fault of Linux has it.
func (t *Thread) fault(sig int, info SigInfo) {
	a := &t.P.actions[sig]
	info.fault = true
	if a.Handler == sigIgnore || a.Handler == sigDefault || t.mask&bit(sig) != 0 {
		if t.K.tracer != nil {
			t.K.tracer.Signal(t, sig, info)
		}
		t.P.die(t.death(sig, info))
		return
	}
	// Never lost to a signal of the same number that was sent before.
	t.pending.discard(bit(sig))
	t.pending.add(sig, info)
}

func (t *Thread) death(sig int, info SigInfo) Death {
	d := Death{Signal: sig, Vector: -1, RIP: t.Ctx.Regs.RIP}
	if info.fault {
		d.Vector, d.ErrorCode, d.Addr = info.vector, info.errorCode, info.Addr
	}
	return d
}

// deliver does what is due before the thread goes back to its program: it
// settles an interrupted call, starts handlers, and restores a swapped mask.
func (t *Thread) deliver() {
	for t.deliverable() != 0 && !t.K.ended && !t.P.stopped {
		s, ok := t.pending.take(^t.mask)
		if !ok {
			if s, ok = t.P.pending.take(^t.mask); !ok {
				break
			}
		}
		t.countOverruns(&s.info)
		a := t.P.actions[s.sig]
		if t.P.ignored(s.sig) {
			continue
		}
		if t.K.tracer != nil {
			t.K.tracer.Signal(t, s.sig, s.info)
		}
		if a.Handler == sigDefault && stopSet&bit(s.sig) != 0 {
			// Nobody could make it go on in an orphaned group.
			if !t.K.orphaned(t.K.Group(t.P.PGID)) {
				t.P.stop(s.sig)
			}
			continue
		}
		if a.Handler == sigDefault {
			t.P.die(t.death(s.sig, s.info))
			return
		}
		t.settle(a.Flags&saRestart != 0, true)
		if !t.pushFrame(s.sig, s.info, a) {
			return
		}
		t.K.stats.Signals++
	}
	t.settle(true, false)
	if t.restoreMask {
		t.restoreMask = false
		t.mask = t.savedMask
		if t.deliverable() != 0 {
			t.deliver()
		}
	}
}

// settle decides what becomes of a call that a signal interrupted: it is made
// again, or returns EINTR.
func (t *Thread) settle(restartFlag, handler bool) {
	if t.restart == 0 {
		return
	}
	r := &t.Ctx.Regs
	if !handler || t.restart == abi.ERESTARTNOINTR || t.restart == abi.ERESTARTSYS && restartFlag {
		r.RAX = uint64(t.call.nr)
		r.RIP -= 2 // the length of the SYSCALL instruction
	} else {
		r.RAX = negErrno(abi.EINTR)
	}
	t.restart = 0
}

func negErrno(e abi.Errno) uint64 { return -uint64(e) }

// Deliverable reports whether a signal waits to be delivered to the thread.
func (t *Thread) Deliverable() bool { return t.deliverable() != 0 }

// WaitFor makes signals of the set end the thread's next Block, although they
// are blocked; sigtimedwait(2). StopWaiting undoes it.
func (t *Thread) WaitFor(set uint64) { t.waitSet = set &^ unmaskable }

// StopWaiting undoes WaitFor.
func (t *Thread) StopWaiting() { t.waitSet = 0 }
