// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"cmp"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

func prctlCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_PRCTL, Name: "prctl", Fn: prctl, Support: Partial, Note: "names, and what asks for less privilege; the rest is EINVAL"},
	}
}

// nameSize is TASK_COMM_LEN: a thread's name with its NUL.
const nameSize = 16

// defaultSlack is the timer slack of a thread in nanoseconds.
const defaultSlack = 50_000

// prctl is prctl(2). What a guest may set has no effect beyond what is said
// here: there is no core dump, no other user, and huge pages are not used. PR_SET_VMA is EINVAL, as it is where Linux is
// built without names for memory: runtimes then stop giving them, which spares
// a Go program a tenth of its exits at start.
func prctl(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	switch int32(a[0]) {
	case unix.PR_SET_NAME:
		name, errno := copyInName(t, a[1])
		if errno != 0 {
			return 0, errno
		}
		t.Name = name
		if t.P.Is(t.TID) {
			t.P.Name = name
		}
		return 0, abi.OK
	case unix.PR_GET_NAME:
		var b [nameSize]byte
		copy(b[:nameSize-1], t.Name)
		return 0, t.CopyOut(a[1], b[:])

	case unix.PR_GET_DUMPABLE:
		return uint64(t.P.Attr.Dumpable), abi.OK
	case unix.PR_SET_DUMPABLE:
		if a[1] > 1 {
			return 0, abi.EINVAL
		}
		t.P.Attr.Dumpable = uint32(a[1])
		return 0, abi.OK
	case unix.PR_SET_KEEPCAPS:
		if a[1] > 1 {
			return 0, abi.EINVAL
		}
		t.P.Attr.KeepCaps = a[1] == 1
		return 0, abi.OK
	case unix.PR_GET_KEEPCAPS:
		return oneIf(t.P.Attr.KeepCaps), abi.OK
	case unix.PR_SET_PDEATHSIG:
		if a[1] != 0 && (a[1] > 64 || !task.ValidSignal(int(a[1]))) {
			return 0, abi.EINVAL
		}
		t.P.DeathSignal = int(a[1])
		return 0, abi.OK
	case unix.PR_GET_PDEATHSIG:
		return 0, t.CopyOutU32(a[1], uint32(t.P.DeathSignal))

	case unix.PR_SET_NO_NEW_PRIVS:
		return 0, check(a[1] == 1 && a[2]|a[3]|a[4] == 0)
	case unix.PR_GET_NO_NEW_PRIVS: // there are no privileges to be had
		return 1, check(a[1]|a[2]|a[3]|a[4] == 0)
	case unix.PR_CAPBSET_READ:
		return 0, check(a[1] <= unix.CAP_LAST_CAP)
	case unix.PR_CAPBSET_DROP:
		return 0, abi.EPERM
	case unix.PR_CAP_AMBIENT:
		return ambient(a)
	case unix.PR_GET_SECCOMP:
		return 0, abi.OK
	case unix.PR_GET_SECUREBITS:
		return oneIf(t.P.Attr.KeepCaps) << secbitKeepCaps, abi.OK
	case unix.PR_GET_TIMING: // PR_TIMING_STATISTICAL
		return 0, abi.OK
	case unix.PR_SET_TIMING:
		return 0, check(a[1] == 0)
	case unix.PR_GET_TSC:
		return 0, t.CopyOutU32(a[1], unix.PR_TSC_ENABLE)
	case unix.PR_SET_TSC: // what the guest reads it by cannot be trapped
		return 0, check(a[1] == unix.PR_TSC_ENABLE)
	case unix.PR_MCE_KILL_GET:
		return unix.PR_MCE_KILL_DEFAULT, check(a[1]|a[2]|a[3]|a[4] == 0)

	case unix.PR_SET_TIMERSLACK: // docs/adr/0008 says when sleeps end
		if t.Attr.TimerSlack = a[1]; int64(a[1]) <= 0 {
			t.Attr.TimerSlack = 0
		}
		return 0, abi.OK
	case unix.PR_GET_TIMERSLACK:
		return cmp.Or(t.Attr.TimerSlack, defaultSlack), abi.OK
	case unix.PR_SET_THP_DISABLE:
		if a[2]|a[3]|a[4] != 0 {
			return 0, abi.EINVAL
		}
		t.P.Attr.NoHuge = a[1] != 0
		return 0, abi.OK
	case unix.PR_GET_THP_DISABLE:
		return oneIf(t.P.Attr.NoHuge), check(a[1]|a[2]|a[3]|a[4] == 0)
	case unix.PR_SET_CHILD_SUBREAPER:
		t.P.Subreaper = a[1] != 0
		return 0, abi.OK
	case unix.PR_GET_CHILD_SUBREAPER:
		v := uint32(0)
		if t.P.Subreaper {
			v = 1
		}
		return 0, t.CopyOutU32(a[1], v)
	}
	return 0, abi.EINVAL
}

// secbitKeepCaps is SECURE_KEEP_CAPS, which PR_SET_KEEPCAPS sets.
const secbitKeepCaps = 4

func oneIf(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}

// ambient serves PR_CAP_AMBIENT: the set is empty, and nothing may be put there.
func ambient(a task.Args) (uint64, abi.Errno) {
	if a[1] == unix.PR_CAP_AMBIENT_CLEAR_ALL {
		return 0, check(a[2]|a[3]|a[4] == 0)
	}
	if a[3]|a[4] != 0 || a[2] > unix.CAP_LAST_CAP {
		return 0, abi.EINVAL
	}
	switch a[1] {
	case unix.PR_CAP_AMBIENT_IS_SET, unix.PR_CAP_AMBIENT_LOWER:
		return 0, abi.OK
	case unix.PR_CAP_AMBIENT_RAISE:
		return 0, abi.EPERM
	}
	return 0, abi.EINVAL
}

func check(ok bool) abi.Errno {
	if ok {
		return abi.OK
	}
	return abi.EINVAL
}

// copyInName reads up to 15 bytes of a name, never past its NUL: it may be the
// last byte of mapped memory.
func copyInName(t *task.Thread, addr uint64) (string, abi.Errno) {
	var b [nameSize - 1]byte
	for i := range b {
		if errno := t.CopyIn(addr+uint64(i), b[i:i+1]); errno != 0 {
			return "", errno
		}
		if b[i] == 0 {
			break
		}
	}
	name, _, _ := bytes.Cut(b[:], []byte{0})
	return string(name), abi.OK
}
