// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

func TestIDs(t *testing.T) {
	runScript(t, idCalls(), func(g *guest) {
		const minusOne = math.MaxUint32
		for _, nr := range []uint64{unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETPGRP, unix.SYS_GETPGID, unix.SYS_GETSID} {
			g.must(100, nr)
		}
		g.must(1, unix.SYS_GETPPID)
		for _, nr := range []uint64{unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_SETFSUID, unix.SYS_SETFSGID} {
			g.must(0, nr)
		}
		buf := g.put(words(^uint64(0), ^uint64(0)))
		g.must(0, unix.SYS_GETRESUID, buf, buf+4, buf+8)
		if g.word(buf) != 0 || g.word(buf+8) != 0xffffffff_00000000 {
			g.t.Errorf("getresuid: %#x %#x", g.word(buf), g.word(buf+8))
		}
		g.fails(abi.EFAULT, unix.SYS_GETRESGID, buf, buf, scriptBadAddr)
		g.must(0, unix.SYS_SETUID, 0)
		g.fails(abi.EPERM, unix.SYS_SETUID, 1000)
		g.fails(abi.EINVAL, unix.SYS_SETGID, minusOne)
		g.must(0, unix.SYS_SETREUID, minusOne, 0)
		g.must(0, unix.SYS_SETRESGID, minusOne, minusOne, minusOne)
		g.fails(abi.EPERM, unix.SYS_SETRESUID, 0, 0, 1)
		g.must(0, unix.SYS_GETGROUPS, 0, 0)
		g.fails(abi.EINVAL, unix.SYS_GETGROUPS, arg(-1), 0)
		g.must(0, unix.SYS_SETGROUPS, 0, 0)
		g.fails(abi.EPERM, unix.SYS_SETGROUPS, 1, buf)

		g.fails(abi.ESRCH, unix.SYS_GETPGID, 1)
		g.fails(abi.ESRCH, unix.SYS_GETSID, 1)
		g.fails(abi.EPERM, unix.SYS_SETSID)        // leads its group
		g.fails(abi.EPERM, unix.SYS_SETPGID, 0, 0) // leads its session
		g.fails(abi.EINVAL, unix.SYS_SETPGID, 0, arg(-1))
		g.fails(abi.ESRCH, unix.SYS_SETPGID, 5, 0)
		p := g.k.Init
		p.PGID, p.SID = 50, 50 // as a child of a shell
		g.fails(abi.EPERM, unix.SYS_SETPGID, 0, 77)
		g.must(0, unix.SYS_SETPGID, 0, 0)
		g.must(100, unix.SYS_GETPGRP)
		p.PGID = 50
		g.must(100, unix.SYS_SETSID)
		g.must(100, unix.SYS_GETSID, 0)

		g.must(0, unix.SYS_PERSONALITY, minusOne)
		g.must(0, unix.SYS_PERSONALITY, 0x40000)
		g.fails(abi.EINVAL, unix.SYS_PERSONALITY, 8)
	})
}

func TestIDsOfUser(t *testing.T) {
	runScript(t, idCalls(), func(g *guest) {
		const minusOne = math.MaxUint32
		fs, err := vfs.New(vfs.Config{Cred: vfs.Cred{UID: 7, GID: 8, Groups: []uint32{9, 10}}})
		if err != nil {
			g.t.Error(err)
			return
		}
		g.k.FS = fs
		for nr, want := range map[uint64]int64{
			unix.SYS_GETUID: 7, unix.SYS_GETEUID: 7, unix.SYS_SETFSUID: 7, unix.SYS_GETGID: 8, unix.SYS_GETEGID: 8, unix.SYS_SETFSGID: 8,
		} {
			g.must(want, nr)
		}
		buf := g.put(words(^uint64(0), ^uint64(0)))
		g.must(0, unix.SYS_GETRESGID, buf, buf+4, buf+8)
		if g.word(buf) != 8<<32|8 || uint32(g.word(buf+8)) != 8 {
			g.t.Errorf("getresgid: %#x %#x", g.word(buf), g.word(buf+8))
		}
		g.must(0, unix.SYS_SETUID, 7)
		g.must(0, unix.SYS_SETRESUID, 7, minusOne, 7)
		g.must(0, unix.SYS_SETREGID, 8, 8)
		g.fails(abi.EPERM, unix.SYS_SETUID, 0)
		g.fails(abi.EPERM, unix.SYS_SETRESUID, 7, 0, 7)
		g.fails(abi.EPERM, unix.SYS_SETGID, 7)
		g.must(2, unix.SYS_GETGROUPS, 0, 0)
		g.fails(abi.EINVAL, unix.SYS_GETGROUPS, 1, buf)
		g.fails(abi.EFAULT, unix.SYS_GETGROUPS, 2, scriptBadAddr)
		g.must(2, unix.SYS_GETGROUPS, 5, buf)
		if g.word(buf) != 10<<32|9 {
			g.t.Errorf("getgroups: %#x", g.word(buf))
		}
		g.fails(abi.EPERM, unix.SYS_SETGROUPS, 0, 0)
	})
}

func TestCapabilities(t *testing.T) {
	runScript(t, idCalls(), func(g *guest) {
		ones := bytes.Repeat([]byte{0xff}, 32)
		header, data := g.alloc(8), g.put(ones)
		for version, size := range map[uint64]int{unix.LINUX_CAPABILITY_VERSION_1: 12, unix.LINUX_CAPABILITY_VERSION_2: 24, unix.LINUX_CAPABILITY_VERSION_3: 24} {
			g.set(header, words(version))
			g.set(data, ones)
			g.must(0, unix.SYS_CAPGET, header, data)
			if b := g.get(data, 32); !bytes.Equal(b, append(make([]byte, size), ones[size:]...)) {
				g.t.Errorf("version %#x: %x", version, b)
			}
			g.must(0, unix.SYS_CAPGET, header, 0)
			g.must(0, unix.SYS_CAPSET, header, g.put(make([]byte, 24)))
			g.fails(abi.EPERM, unix.SYS_CAPSET, header, g.put(ones))
			g.fails(abi.EFAULT, unix.SYS_CAPSET, header, scriptBadAddr)
		}
		g.set(header, words(0))
		g.fails(abi.EINVAL, unix.SYS_CAPGET, header, data)
		if v := g.word(header); v != unix.LINUX_CAPABILITY_VERSION_3 {
			g.t.Errorf("preferred version %#x", v)
		}
		g.set(header, words(0))
		g.must(0, unix.SYS_CAPGET, header, 0)
		g.set(header, words(unix.LINUX_CAPABILITY_VERSION_3|55<<32))
		g.fails(abi.ESRCH, unix.SYS_CAPGET, header, data)
		g.fails(abi.EPERM, unix.SYS_CAPSET, header, data)
		g.set(header, words(unix.LINUX_CAPABILITY_VERSION_3|0xffffffff<<32))
		g.fails(abi.EINVAL, unix.SYS_CAPGET, header, data)
	})
}

func TestPrctl(t *testing.T) {
	runScript(t, prctlCalls(), func(g *guest) {
		buf := g.alloc(16)
		for name, want := range map[string]string{"worker": "worker", "": "", "a name of more than fifteen": "a name of more "} {
			g.must(0, unix.SYS_PRCTL, unix.PR_SET_NAME, g.put([]byte(name+"\x00")))
			g.must(0, unix.SYS_PRCTL, unix.PR_GET_NAME, buf)
			if got, _, _ := bytes.Cut(g.get(buf, 16), []byte{0}); string(got) != want || g.k.Init.Name != want {
				g.t.Errorf("name %q, of the process %q; want %q", got, g.k.Init.Name, want)
			}
		}
		g.set(scriptMem+scriptMemSize-3, []byte("ab\x00"))
		g.must(0, unix.SYS_PRCTL, unix.PR_SET_NAME, scriptMem+scriptMemSize-3) // ends with the memory
		g.fails(abi.EFAULT, unix.SYS_PRCTL, unix.PR_SET_NAME, scriptBadAddr)
		for _, tc := range []struct {
			op, a, b uint64
			want     int64
		}{
			{unix.PR_GET_DUMPABLE, 0, 0, 1},
			{unix.PR_SET_DUMPABLE, 1, 0, 0},
			{unix.PR_SET_DUMPABLE, 2, 0, -int64(abi.EINVAL)},
			{unix.PR_SET_PDEATHSIG, 9, 0, 0},
			{unix.PR_SET_PDEATHSIG, 65, 0, -int64(abi.EINVAL)},
			{unix.PR_SET_PDEATHSIG, 1 << 63, 0, -int64(abi.EINVAL)},
			{unix.PR_GET_PDEATHSIG, buf, 0, 0},
			{unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, buf, -int64(abi.EINVAL)},
			{unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0},
			{unix.PR_SET_NO_NEW_PRIVS, 0, 0, -int64(abi.EINVAL)},
			{unix.PR_GET_NO_NEW_PRIVS, 0, 0, 1},
			{unix.PR_CAPBSET_READ, 0, 0, 0},
			{unix.PR_CAPBSET_READ, 999, 0, -int64(abi.EINVAL)},
			{unix.PR_CAPBSET_DROP, 0, 0, -int64(abi.EPERM)},
			{unix.PR_SET_KEEPCAPS, 1, 0, 0},
			{unix.PR_GET_KEEPCAPS, 0, 0, 1},
			{unix.PR_GET_SECUREBITS, 0, 0, 1 << secbitKeepCaps},
			{unix.PR_SET_TIMERSLACK, 1, 0, 0},
			{unix.PR_GET_TIMERSLACK, 0, 0, 1},
			{unix.PR_SET_TIMERSLACK, 0, 0, 0},
			{unix.PR_GET_TIMERSLACK, 0, 0, 50_000},
			{unix.PR_SET_THP_DISABLE, 1, 0, 0},
			{unix.PR_GET_THP_DISABLE, 0, 0, 1},
			{unix.PR_SET_DUMPABLE, 0, 0, 0},
			{unix.PR_GET_DUMPABLE, 0, 0, 0},
			{unix.PR_SET_SECCOMP, 2, buf, -int64(abi.EINVAL)},
			{unix.PR_SET_MM, 1, 0, -int64(abi.EINVAL)},
			{12345, 0, 0, -int64(abi.EINVAL)},
		} {
			g.must(tc.want, unix.SYS_PRCTL, tc.op, tc.a, tc.b)
		}
	})
}

func TestRlimits(t *testing.T) {
	runScript(t, limitCalls(), func(g *guest) {
		buf := g.alloc(16)
		g.must(0, unix.SYS_GETRLIMIT, unix.RLIMIT_NOFILE, buf)
		if g.word(buf) != 64 || g.word(buf+8) != 64 {
			g.t.Errorf("NOFILE %d, %d", g.word(buf), g.word(buf+8))
		}
		g.must(0, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, g.put(words(16, 32)), buf)
		if g.word(buf) != 64 || g.k.Init.FDs.Limit() != 16 {
			g.t.Errorf("old NOFILE %d, table %d", g.word(buf), g.k.Init.FDs.Limit())
		}
		g.must(0, unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, g.put(words(32, 32)))
		g.fails(abi.EPERM, unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, g.put(words(32, 33)))
		g.fails(abi.EINVAL, unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, g.put(words(9, 8)))
		g.fails(abi.EFAULT, unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, scriptBadAddr)
		g.must(0, unix.SYS_PRLIMIT64, 100, unix.RLIMIT_STACK, 0, buf)
		if g.word(buf) != 8<<20 {
			g.t.Errorf("STACK %d", g.word(buf))
		}
		g.fails(abi.ESRCH, unix.SYS_PRLIMIT64, 1, unix.RLIMIT_STACK, 0, buf)
		g.fails(abi.EINVAL, unix.SYS_PRLIMIT64, 0, 16, 0, buf)
		g.fails(abi.EINVAL, unix.SYS_GETRLIMIT, ^uint64(0), buf)
		g.fails(abi.EFAULT, unix.SYS_GETRLIMIT, unix.RLIMIT_STACK, scriptBadAddr)
	})
}
