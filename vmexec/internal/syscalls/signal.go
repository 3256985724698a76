// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

func signalCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_RT_SIGACTION, Name: "rt_sigaction", Fn: rtSigaction},
		{Nr: unix.SYS_RT_SIGPROCMASK, Name: "rt_sigprocmask", Fn: rtSigprocmask},
		{Nr: unix.SYS_RT_SIGRETURN, Name: "rt_sigreturn", Fn: rtSigreturn},
		{Nr: unix.SYS_RT_SIGPENDING, Name: "rt_sigpending", Fn: rtSigpending},
		{Nr: unix.SYS_RT_SIGSUSPEND, Name: "rt_sigsuspend", Fn: rtSigsuspend},
		{Nr: unix.SYS_RT_SIGTIMEDWAIT, Name: "rt_sigtimedwait", Fn: rtSigtimedwait},
		{Nr: unix.SYS_RT_SIGQUEUEINFO, Name: "rt_sigqueueinfo", Fn: rtSigqueueinfo},
		{Nr: unix.SYS_RT_TGSIGQUEUEINFO, Name: "rt_tgsigqueueinfo", Fn: rtTgsigqueueinfo},
		{Nr: unix.SYS_SIGALTSTACK, Name: "sigaltstack", Fn: sigaltstack},
		{Nr: unix.SYS_KILL, Name: "kill", Fn: kill},
		{Nr: unix.SYS_TKILL, Name: "tkill", Fn: tkill},
		{Nr: unix.SYS_TGKILL, Name: "tgkill", Fn: tgkill},
		{Nr: unix.SYS_PAUSE, Name: "pause", Fn: pause},
	}
}

const sigsetSize = 8

func rtSigaction(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	sig := int(int32(a[0]))
	if !task.ValidSignal(sig) || a[3] != sigsetSize || a[1] != 0 && (sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP)) {
		return 0, abi.EINVAL
	}
	le := binary.LittleEndian
	var in [32]byte
	if a[1] != 0 {
		if errno := t.CopyIn(a[1], in[:]); errno != 0 {
			return 0, errno
		}
	}
	old := t.P.Action(sig)
	if a[1] != 0 { // as Linux, also when the old one cannot be told
		t.P.SetAction(sig, task.SigAction{Handler: le.Uint64(in[:]), Flags: le.Uint64(in[8:]), Restorer: le.Uint64(in[16:]), Mask: le.Uint64(in[24:])})
	}
	if a[2] != 0 {
		var b [32]byte
		for i, v := range [...]uint64{old.Handler, old.Flags, old.Restorer, old.Mask} {
			le.PutUint64(b[8*i:], v)
		}
		return 0, t.CopyOut(a[2], b[:])
	}
	return 0, 0
}

func rtSigprocmask(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[3] != sigsetSize {
		return 0, abi.EINVAL
	}
	old := t.Mask()
	if a[1] != 0 {
		set, errno := t.CopyInU64(a[1])
		if errno != 0 {
			return 0, errno
		}
		switch int32(a[0]) {
		case unix.SIG_BLOCK:
			t.SetMask(old | set)
		case unix.SIG_UNBLOCK:
			t.SetMask(old &^ set)
		case unix.SIG_SETMASK:
			t.SetMask(set)
		default:
			return 0, abi.EINVAL
		}
	}
	if a[2] != 0 {
		return 0, t.CopyOutU64(a[2], old)
	}
	return 0, 0
}

func rtSigreturn(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	t.SigReturn()
	return 0, abi.ENORETURN
}

func rtSigpending(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] > sigsetSize {
		return 0, abi.EINVAL
	}
	var b [sigsetSize]byte
	binary.LittleEndian.PutUint64(b[:], t.Pending())
	return 0, t.CopyOut(a[0], b[:a[1]])
}

func rtSigsuspend(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] != sigsetSize {
		return 0, abi.EINVAL
	}
	if t.Woken() == task.WakeSignal {
		return 0, abi.ERESTARTNOHAND
	}
	set, errno := t.CopyInU64(a[0])
	if errno != 0 {
		return 0, errno
	}
	t.SwapMask(set)
	if t.Deliverable() {
		return 0, abi.ERESTARTNOHAND
	}
	return 0, t.Block(task.NoDeadline)
}

func pause(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	if t.Woken() == task.WakeSignal {
		return 0, abi.ERESTARTNOHAND
	}
	return 0, t.Block(task.NoDeadline)
}

func rtSigtimedwait(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[3] != sigsetSize {
		return 0, abi.EINVAL
	}
	set, again := t.State.(uint64) // what the call began with: memory may have changed
	wait := int64(-1)
	if !again {
		var errno abi.Errno
		if set, errno = t.CopyInU64(a[0]); errno != 0 {
			return 0, errno
		}
		if a[2] != 0 {
			if wait, errno = timespec(t, a[2]); errno != 0 {
				return 0, errno
			}
		}
	}
	if sig, info, ok := t.TakePending(set); ok {
		t.StopWaiting()
		if a[1] != 0 {
			var b [task.SigInfoSize]byte
			task.EncodeSigInfo(b[:], sig, info)
			if errno := t.CopyOut(a[1], b[:]); errno != 0 {
				return 0, errno
			}
		}
		return uint64(sig), 0
	}
	deadline := t.Deadline(wait)
	switch {
	case t.Woken() == task.WakeSignal:
		t.StopWaiting()
		return 0, abi.EINTR
	case t.Woken() == task.WakeTimeout, wait == 0:
		t.StopWaiting()
		return 0, abi.EAGAIN
	}
	t.WaitFor(set)
	t.State = set
	return 0, t.Block(deadline)
}

// timespec reads a struct timespec as nanoseconds, capped at centuries.
// Errors: EFAULT, EINVAL.
func timespec(t *task.Thread, addr uint64) (int64, abi.Errno) {
	var b [16]byte
	if errno := t.CopyIn(addr, b[:]); errno != 0 {
		return 0, errno
	}
	sec, nsec := int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))
	if sec < 0 || nsec < 0 || nsec >= 1e9 {
		return 0, abi.EINVAL
	}
	const most = 1 << 62
	if sec >= most/1_000_000_000 {
		return most, 0
	}
	return sec*1e9 + nsec, 0
}

func sigaltstack(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	old := t.AltStack()
	le := binary.LittleEndian
	if a[0] != 0 {
		var b [24]byte
		if errno := t.CopyIn(a[0], b[:]); errno != 0 {
			return 0, errno
		}
		if errno := t.SetAltStack(task.AltStack{Addr: le.Uint64(b[:]), Flags: le.Uint32(b[8:]), Size: le.Uint64(b[16:])}); errno != 0 {
			return 0, errno
		}
	}
	if a[1] != 0 {
		var b [24]byte
		le.PutUint64(b[:], old.Addr)
		le.PutUint32(b[8:], old.Flags)
		le.PutUint64(b[16:], old.Size)
		return 0, t.CopyOut(a[1], b[:])
	}
	return 0, 0
}

func userInfo(t *task.Thread, code int32) task.SigInfo {
	return task.SigInfo{Code: code, PID: int32(t.P.PID), UID: t.K.FS.Cred().UID}
}

// sigPipe sends the signal of a write that nobody will read: as Linux, from the
// program itself.
func sigPipe(t *task.Thread) { _ = t.Signal(int(unix.SIGPIPE), userInfo(t, task.CodeUser)) }

// kill is kill(2). Everyone may signal everyone: there is one user. Errors: EINVAL,
// ESRCH.
func kill(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	pid, sig := int(int32(a[0])), int(int32(a[1]))
	var to []*task.Process
	switch {
	case pid > 0:
		if p := t.K.Process(pid); p != nil {
			to = append(to, p)
		} else if x := t.K.Thread(pid); x != nil { // as Linux, any thread stands for its process
			to = append(to, x.P)
		}
	case pid == 0:
		to = t.K.Group(t.P.PGID)
	case pid == -1:
		for _, p := range t.K.Processes() {
			if p != t.P {
				to = append(to, p)
			}
		}
	case pid != -1<<31: // which has no positive
		to = t.K.Group(-pid)
	}
	if len(to) == 0 {
		return 0, abi.ESRCH
	}
	return sendAll(to, sig, userInfo(t, task.CodeUser))
}

// sendAll signals processes. The error is that of the last one if no one took it, and
// EINVAL when there is no such signal.
func sendAll(to []*task.Process, sig int, info task.SigInfo) (uint64, abi.Errno) {
	if sig != 0 && !task.ValidSignal(sig) {
		return 0, abi.EINVAL
	}
	var errno abi.Errno
	taken := false
	for _, p := range to {
		if sig == 0 || p.Zombie() {
			taken = true
		} else if errno = p.Signal(sig, info); errno == 0 {
			taken = true
		}
	}
	if taken {
		errno = 0
	}
	return 0, errno
}

func findThread(t *task.Thread, tgid, tid int) (*task.Thread, abi.Errno) {
	if tid <= 0 || tgid == 0 {
		return nil, abi.EINVAL
	}
	x := t.K.Thread(tid)
	if x == nil || tgid > 0 && !x.P.Is(tgid) {
		return nil, abi.ESRCH
	}
	return x, 0
}

func sendThread(t *task.Thread, tgid, tid, sig int, info task.SigInfo) (uint64, abi.Errno) {
	x, errno := findThread(t, tgid, tid)
	switch {
	case errno != 0 || sig == 0:
		return 0, errno
	case !task.ValidSignal(sig):
		return 0, abi.EINVAL
	}
	return 0, x.Signal(sig, info)
}

func tkill(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return sendThread(t, -1, int(int32(a[0])), int(int32(a[1])), userInfo(t, task.CodeTkill))
}

func tgkill(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	tgid := int(int32(a[0]))
	if tgid <= 0 {
		return 0, abi.EINVAL
	}
	return sendThread(t, tgid, int(int32(a[1])), int(int32(a[2])), userInfo(t, task.CodeTkill))
}

// queueInfo reads the siginfo of a queued signal. Errors: EFAULT.
func queueInfo(t *task.Thread, addr uint64) (task.SigInfo, abi.Errno) {
	var b [task.SigInfoSize]byte
	errno := t.CopyIn(addr, b[:])
	return task.DecodeSigInfo(b[:]), errno
}

// claimsKernel reports whether the information says that the signal comes from the
// kernel or from kill, which a program may say to itself alone.
func claimsKernel(info task.SigInfo) bool { return info.Code >= 0 || info.Code == task.CodeTkill }

func rtSigqueueinfo(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	pid, sig := int(int32(a[0])), int(int32(a[1]))
	info, errno := queueInfo(t, a[2])
	switch {
	case errno != 0:
		return 0, errno
	case claimsKernel(info) && pid != t.TID && (!t.P.Is(pid) || !t.P.Is(t.TID)):
		return 0, abi.EPERM
	}
	p := t.K.Process(pid)
	if p == nil {
		return 0, abi.ESRCH
	}
	return sendAll([]*task.Process{p}, sig, info)
}

func rtTgsigqueueinfo(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	info, errno := queueInfo(t, a[3])
	if errno != 0 {
		return 0, errno
	}
	tgid := int(int32(a[0]))
	tid := int(int32(a[1]))
	switch {
	case tgid <= 0 || tid <= 0:
		return 0, abi.EINVAL
	case claimsKernel(info) && tid != t.TID:
		return 0, abi.EPERM
	}
	return sendThread(t, tgid, tid, int(int32(a[2])), info)
}
