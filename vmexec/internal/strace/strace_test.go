// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package strace

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/task"
)

// fakeMemory is one range of guest memory.
type fakeMemory struct {
	base  uint64
	bytes []byte
}

func (m fakeMemory) CopyIn(addr uint64, dst []byte) abi.Errno {
	if addr < m.base || addr-m.base > uint64(len(m.bytes)) || uint64(len(dst)) > uint64(len(m.bytes))-(addr-m.base) {
		return abi.EFAULT
	}
	copy(dst, m.bytes[addr-m.base:])
	return 0
}

// pack lays out values of fixed size and strings one after the other.
func pack(values ...any) []byte {
	var b []byte
	for _, v := range values {
		switch v := v.(type) {
		case string:
			b = append(b, v...)
		default:
			var err error
			if b, err = binary.Append(b, binary.LittleEndian, v); err != nil {
				panic(err)
			}
		}
	}
	return b
}

func TestCalls(t *testing.T) {
	const at = 0x10000
	tests := []struct {
		name  string
		nr    uint64
		args  task.Args
		mem   []byte
		ret   uint64
		errno abi.Errno
		want  string
	}{
		{"no arguments", unix.SYS_GETPID, task.Args{}, nil, 100, 0, "getpid() = 100"},
		{"write", unix.SYS_WRITE, task.Args{1, at, 6}, []byte("hi\n\x001\x80"), 6, 0, `write(1, "hi\n\0001\200", 6) = 6`},
		{"write long", unix.SYS_WRITE, task.Args{1, at, 70}, []byte(strings.Repeat("x", 70)), 70, 0, `write(1, "` + strings.Repeat("x", 64) + `"..., 70) = 70`},
		{"write bad pointer", unix.SYS_WRITE, task.Args{1, 16, 6}, nil, 0, abi.EFAULT, "write(1, 0x10, 6) = -1 EFAULT (Bad address)"},
		{"read", unix.SYS_READ, task.Args{0, at, 100}, []byte("abc"), 3, 0, `read(0, "abc", 100) = 3`},
		{"read failed", unix.SYS_READ, task.Args{9, at, 100}, []byte("abc"), 0, abi.EBADF, "read(9, 0x10000, 100) = -1 EBADF (Bad file descriptor)"},
		{"open", unix.SYS_OPENAT, task.Args{^uint64(99), at, unix.O_RDONLY | unix.O_CLOEXEC, 0o777}, []byte("/etc\x00"), 3, 0, `openat(AT_FDCWD, "/etc", O_RDONLY|O_CLOEXEC) = 3`},
		{"open creating", unix.SYS_OPENAT, task.Args{5, at, unix.O_RDWR | unix.O_CREAT, 0o644}, []byte("f\x00"), 3, 0, `openat(5, "f", O_RDWR|O_CREAT, 0644) = 3`},
		{"open NULL", unix.SYS_OPEN, task.Args{0, 3}, nil, 0, abi.EFAULT, "open(NULL, O_ACCMODE) = -1 EFAULT (Bad address)"},
		{"path without end", unix.SYS_CHDIR, task.Args{at}, []byte(strings.Repeat("y", 256)), 0, abi.EFAULT, `chdir("` + strings.Repeat("y", 256) + `"...) = -1 EFAULT (Bad address)`},
		{"mmap", unix.SYS_MMAP, task.Args{0, 4096, 3, 0x22, ^uint64(0), 0}, nil, 0x7000, 0, "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0x0) = 0x7000"},
		{"fcntl", unix.SYS_FCNTL, task.Args{1, unix.F_GETFL}, nil, unix.O_RDWR | unix.O_NONBLOCK, 0, "fcntl(1, F_GETFL) = O_RDWR|O_NONBLOCK"},
		{"futex", unix.SYS_FUTEX, task.Args{at, 128, 7, at}, pack(uint64(1), uint64(5)), 0, abi.ETIMEDOUT, "futex(0x10000, FUTEX_WAIT_PRIVATE, 7, {tv_sec=1, tv_nsec=5}) = -1 ETIMEDOUT (Connection timed out)"},
		{"futex wake", unix.SYS_FUTEX, task.Args{at, 129, 1}, nil, 1, 0, "futex(0x10000, FUTEX_WAKE_PRIVATE, 1) = 1"},
		{"poll", unix.SYS_POLL, task.Args{at, 1, 50}, pack(int32(3), uint16(1), uint16(1)), 1, 0, "poll([{fd=3, events=POLLIN}], 1, 50) = 1 ([{fd=3, revents=POLLIN}])"},
		{"pipe", unix.SYS_PIPE, task.Args{at}, pack(int32(3), int32(4)), 0, 0, "pipe([3, 4]) = 0"},
		{"connect", unix.SYS_CONNECT, task.Args{3, at, 16}, pack(uint16(2), uint8(0), uint8(80), uint32(0x0100007f), uint64(0)), 0, abi.ENETUNREACH, `connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 ENETUNREACH (Network is unreachable)`},
		{"bind unix", unix.SYS_BIND, task.Args{3, at, 4}, pack(uint16(1), "a\x00"), 0, 0, `bind(3, {sa_family=AF_UNIX, sun_path="a"}, 4) = 0`},
		{"execve", unix.SYS_EXECVE, task.Args{at, at + 8, 0}, pack("/bin/ls\x00", uint64(at), uint64(0)), 0, abi.ENORETURN, `execve("/bin/ls", ["/bin/ls"], NULL) = 0`},
		{"sigprocmask", unix.SYS_RT_SIGPROCMASK, task.Args{2, at, 0, 8}, pack(uint64(2)), 0, 0, "rt_sigprocmask(SIG_SETMASK, [INT], NULL, 8) = 0"},
		{"select", unix.SYS_SELECT, task.Args{5, at, 0, 0, 0}, pack(uint64(0b10010)), 1, 0, "select(5, [1 4], NULL, NULL, NULL) = 1"},
		{"writev", unix.SYS_WRITEV, task.Args{1, at, 1}, pack(uint64(at+16), uint64(2), "ok"), 2, 0, `writev(1, [{iov_base="ok", iov_len=2}], 1) = 2`},
		{"exit", unix.SYS_EXIT_GROUP, task.Args{3}, nil, 0, abi.ENORETURN, "exit_group(3) = ?"},
		{"restart", unix.SYS_PAUSE, task.Args{}, nil, 0, abi.ERESTARTNOHAND, "pause() = ? ERESTARTNOHAND (To be restarted if no handler)"},
		{"no signature", unix.SYS_IO_URING_SETUP, task.Args{1, 2}, nil, 0, abi.ENOSYS, "io_uring_setup(0x1, 0x2, 0x0, 0x0, 0x0, 0x0) = -1 ENOSYS (Function not implemented)"},
		{"no such call", 1 << 60, task.Args{}, nil, 0, abi.ENOSYS, "syscall_0x1000000000000000(0x0, 0x0, 0x0, 0x0, 0x0, 0x0) = -1 ENOSYS (Function not implemented)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mem := append(test.mem, make([]byte, -len(test.mem)&255)...)
			c := newCall(fakeMemory{at, mem}, test.nr, test.args)
			if got := c.head() + c.tail(test.ret, test.errno); got != test.want {
				t.Errorf("\ngot  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestSignatures holds that every signature is of a call that exists, is made of kinds
// that exist, and has no more words than there are registers.
func TestSignatures(t *testing.T) {
	names := map[string]bool{}
	for _, name := range abi.SyscallNames {
		names[name] = true
	}
	used := map[string]bool{}
	for name, words := range signatures() {
		if !names[name] {
			t.Errorf("%s is not a system call", name)
		}
		if len(words) > len(task.Args{}) {
			t.Errorf("%s has %d arguments", name, len(words))
		}
		for _, w := range words {
			used[w] = true
			if kinds()[w].show == nil {
				t.Errorf("%s: there is no kind %q", name, w)
			}
		}
	}
	for name := range kinds() {
		if !used[name] {
			t.Errorf("no call has an argument of kind %q", name)
		}
	}
}

// TestThreads holds how the calls of two threads are told apart.
func TestThreads(t *testing.T) {
	var b strings.Builder
	tr := New(&b)
	mem, err := guestmem.New(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	space, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	k := task.New(task.Config{Limits: task.Limits{Threads: 4, Files: 4}, Memory: mem, MM: space})
	first := k.Init.Threads[0]
	tr.Enter(first, unix.SYS_GETPID, task.Args{}, false)
	tr.Leave(first, 100, 0)
	second := &task.Thread{K: k, P: k.Init, TID: 101}
	tr.many = true
	tr.Enter(first, unix.SYS_PAUSE, task.Args{}, false)
	tr.Leave(first, 0, abi.EBLOCK)
	tr.Enter(second, unix.SYS_GETUID, task.Args{}, false)
	tr.Leave(second, 0, 0)
	tr.Signal(first, int(unix.SIGINT), task.SigInfo{PID: 100})
	tr.Enter(first, unix.SYS_PAUSE, task.Args{}, true)
	tr.Leave(first, 0, abi.ERESTARTNOHAND)
	tr.Enter(second, unix.SYS_EXIT, task.Args{}, false)
	tr.Gone(second)
	tr.Leave(second, 0, abi.ENORETURN)
	tr.Enter(first, unix.SYS_PAUSE, task.Args{}, false)
	tr.Leave(first, 0, abi.EBLOCK)
	tr.End(task.Outcome{Ending: task.Signaled, Death: task.Death{Signal: int(unix.SIGKILL)}})
	const want = `getpid() = 100
[pid 100] pause( <unfinished ...>
[pid 101] getuid() = 0
[pid 100] --- SIGINT {si_signo=SIGINT, si_code=SI_USER, si_pid=100, si_uid=0} ---
[pid 100] <... pause resumed>) = ? ERESTARTNOHAND (To be restarted if no handler)
[pid 101] exit(0) = ?
[pid 100] pause( <unfinished ...>
+++ killed by SIGKILL +++
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	if len(tr.calls) != 1 {
		t.Errorf("%d calls are kept, want the one of the first thread", len(tr.calls))
	}
}

type badWriter struct{ writes int }

var errBad = errors.New("bad")

func (w *badWriter) Write([]byte) (int, error) {
	w.writes++
	return 0, errBad
}

func TestWriteError(t *testing.T) {
	w := &badWriter{}
	tr := New(w)
	tr.End(task.Outcome{})
	tr.End(task.Outcome{})
	if w.writes != 1 || !errors.Is(tr.Err(), errBad) {
		t.Errorf("%d writes, error %v; want one write and its error", w.writes, tr.Err())
	}
}

// maxLine bounds what one call prints: some arguments with some strings in each.
const maxLine = 64 << 10

// FuzzCall shows calls with any arguments that point to any memory.
func FuzzCall(f *testing.F) {
	for nr := range abi.SyscallNames {
		f.Add(uint16(nr), uint64(0), []byte("/a\x00"), []byte{0, 1, 2, 3, 4, 5}, uint16(0))
		f.Add(uint16(nr), uint64(1)<<63, []byte(strings.Repeat("\xff", 300)), []byte{255, 0, 255, 0, 255, 0}, uint16(0))
		f.Add(uint16(nr), ^uint64(0), make([]byte, 300), []byte{1, 1, 1, 1, 1, 1}, uint16(abi.EFAULT))
	}
	f.Fuzz(func(t *testing.T, nr uint16, ret uint64, mem, which []byte, errno uint16) {
		const base = 1<<47 - 8192
		var a task.Args
		for i, w := range which[:min(len(which), len(a))] {
			switch w % 4 { // a pointer, a small number, a huge one, a value from memory
			case 0:
				a[i] = base + uint64(w/4)
			case 1:
				a[i] = uint64(w)
			case 2:
				a[i] = ^uint64(0) - uint64(w/4)
			case 3:
				a[i] = le.Uint64(append(mem[min(int(w), len(mem)):], make([]byte, 8)...))
			}
		}
		c := newCall(fakeMemory{base, mem}, uint64(nr), a)
		got := c.head() + c.tail(ret, abi.Errno(errno))
		if len(got) > maxLine || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%d bytes: %q", len(got), got[:min(len(got), 200)])
		}
	})
}
