// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// allCalls are the calls of every family but those that a script has of its own.
func allCalls() []Entry {
	var es []Entry
	for _, f := range families {
		for _, e := range f() {
			if e.Nr != unix.SYS_EXIT && e.Nr != unix.SYS_RT_SIGRETURN {
				es = append(es, e)
			}
		}
	}
	return es
}

// TestArguments holds what each call makes of arguments that are out of range, as it
// was seen on Linux 6.18.
func TestArguments(t *testing.T) {
	const (
		kernel  = 1 << 63
		garbage = 0xdead_0000_0000
		most    = 1<<64 - 1
	)
	runScript(t, allCalls(), func(g *guest) {
		path := g.install(newMemFile(unix.O_PATH, ""))
		file := g.install(newMemFile(unix.O_RDWR, "hello"))
		set := uint64(g.call(unix.SYS_EPOLL_CREATE1, 0))
		input := g.install(fd.NewEventInput([]byte("abcdef")))
		buf := g.alloc(4096)
		page := g.call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, most, 0)
		cloneArgs := make([]byte, 128)
		cloneArgs[100] = 1
		unknown := g.put(cloneArgs)

		for _, c := range []struct {
			name string
			want int64
			nr   uint64
			args []uint64
		}{
			{"affinity of a negative id", -int64(abi.ESRCH), unix.SYS_SCHED_GETAFFINITY, []uint64{most, 128, buf}},
			{"no process before no signal", -int64(abi.ESRCH), unix.SYS_KILL, []uint64{999_999, 200}},
			{"no signal", -int64(abi.EINVAL), unix.SYS_KILL, []uint64{100, 200}},
			{"everyone else", -int64(abi.ESRCH), unix.SYS_KILL, []uint64{most, 0}},
			{"no thread before no signal", -int64(abi.ESRCH), unix.SYS_TGKILL, []uint64{100, 999_999, 200}},
			{"thread and no signal", -int64(abi.EINVAL), unix.SYS_TGKILL, []uint64{100, 100, 200}},
			{"signal 0 is queued nowhere", 0, unix.SYS_RT_SIGQUEUEINFO, []uint64{100, 0, buf}},
			{"garbage above sigprocmask's int", 0, unix.SYS_RT_SIGPROCMASK, []uint64{garbage, buf, 0, 8}},
			{"garbage above arch_prctl's int", 0, unix.SYS_ARCH_PRCTL, []uint64{garbage | 0x1003, buf}},
			{"garbage above madvise's int", 0, unix.SYS_MADVISE, []uint64{uint64(page), 0, garbage | unix.MADV_DONTNEED}},
			{"garbage above clone's flags", -int64(abi.EINVAL), unix.SYS_CLONE, []uint64{garbage | unix.CLONE_THREAD}},
			{"clone3 of the future", -int64(abi.E2BIG), unix.SYS_CLONE3, []uint64{unknown, 128}},

			{"mlockall of nothing", -int64(abi.EINVAL), unix.SYS_MLOCKALL, []uint64{0}},
			{"mlockall on fault of nothing", -int64(abi.EINVAL), unix.SYS_MLOCKALL, []uint64{unix.MCL_ONFAULT}},
			{"mlockall unknown", -int64(abi.EINVAL), unix.SYS_MLOCKALL, []uint64{8}},
			{"mlockall", 0, unix.SYS_MLOCKALL, []uint64{unix.MCL_CURRENT | unix.MCL_FUTURE}},
			{"mlock2 unknown", -int64(abi.EINVAL), unix.SYS_MLOCK2, []uint64{uint64(page), 4096, 2}},
			{"mlock2", 0, unix.SYS_MLOCK2, []uint64{uint64(page), 4096, unix.MLOCK_ONFAULT}},
			{"mincore to nowhere", -int64(abi.EFAULT), unix.SYS_MINCORE, []uint64{uint64(page), 4096, kernel}},
			{"huge pages", -int64(abi.ENOMEM), unix.SYS_MMAP, []uint64{0, 4096, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB, most, 0}},
			{"file beyond all files", -int64(abi.EOVERFLOW), unix.SYS_MMAP, []uint64{0, 8192, 1, unix.MAP_PRIVATE, file, 1<<63 - 4096}},
			{"file at a negative offset", -int64(abi.EOVERFLOW), unix.SYS_MMAP, []uint64{0, 8192, 1, unix.MAP_PRIVATE, file, most - 4095}},

			{"memfd that is and is not executable", -int64(abi.EINVAL), unix.SYS_MEMFD_CREATE, []uint64{buf, unix.MFD_EXEC | unix.MFD_NOEXEC_SEAL}},
			{"timer of a coarse clock", -int64(abi.ENOTSUP), unix.SYS_TIMER_CREATE, []uint64{unix.CLOCK_MONOTONIC_COARSE, 0, buf}},
			{"timer of an alarm clock", -int64(abi.ENOTSUP), unix.SYS_TIMER_CREATE, []uint64{unix.CLOCK_BOOTTIME_ALARM, 0, buf}},
			{"futex of the kernel", -int64(abi.EFAULT), unix.SYS_FUTEX, []uint64{kernel, futexWake | futexPrivate, 1}},
			{"requeue to the kernel", -int64(abi.EFAULT), unix.SYS_FUTEX, []uint64{buf, futexRequeue, 1, 1, kernel}},
			{"random bytes for the kernel", -int64(abi.EFAULT), unix.SYS_GETRANDOM, []uint64{1<<47 - 4096 - 8, 9, 0}},

			{"advice on a place", -int64(abi.EBADF), unix.SYS_FADVISE64, []uint64{path, 0, 0, 0}},
			{"watch a place", -int64(abi.EBADF), unix.SYS_EPOLL_CTL, []uint64{set, unix.EPOLL_CTL_ADD, path, buf}},
			{"events to nowhere", -int64(abi.EFAULT), unix.SYS_EPOLL_WAIT, []uint64{set, x86.UserEnd, 1 << 20, 0}},
			{"send less than nothing", -int64(abi.EINVAL), unix.SYS_SENDFILE, []uint64{file, file, 0, most}},
			{"copy around the end", -int64(abi.EOVERFLOW), unix.SYS_COPY_FILE_RANGE, []uint64{file, g.put(words(1)), file, g.put(words(3)), most, 0}},

			{"second range is the kernel's", -int64(abi.EFAULT), unix.SYS_READV, []uint64{input, g.put(words(buf, 1, kernel, 8)), 2}},
			{"second range is too long", -int64(abi.EFAULT), unix.SYS_READV, []uint64{input, g.put(words(buf, 1, buf, 1<<62)), 2}},
			{"a negative length counts first", -int64(abi.EINVAL), unix.SYS_READV, []uint64{input, g.put(words(kernel, 8, buf, kernel)), 2}},
			{"the only range is cut", 6, unix.SYS_READV, []uint64{input, g.put(words(buf, 1<<62)), 1}},
			{"empty range of the kernel", -int64(abi.EFAULT), unix.SYS_WRITEV, []uint64{file, g.put(words(kernel, 0, buf, 1)), 2}},
		} {
			if got := g.call(c.nr, c.args...); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, result(got), result(c.want))
			}
		}
	})
}

// TestEpollWaitMapsNothing: the place for a hundred million events is not touched
// for the two that there are.
func TestEpollWaitMapsNothing(t *testing.T) {
	runScript(t, allCalls(), func(g *guest) {
		set := uint64(g.call(unix.SYS_EPOLL_CREATE1, 0))
		for range 2 {
			f := uint64(g.call(unix.SYS_EVENTFD2, 1, 0))
			g.must(0, unix.SYS_EPOLL_CTL, set, unix.EPOLL_CTL_ADD, f, g.put(appendU32(nil, unix.EPOLLIN, 7, 0)))
		}
		room := uint64(g.call(unix.SYS_MMAP, 0, 2<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, 1<<64-1, 0))
		before := g.k.Memory.Used()
		g.must(2, unix.SYS_EPOLL_WAIT, set, room, 100_000_000, 0)
		if more := g.k.Memory.Used() - before; more > 1024 {
			t.Errorf("%d pages were mapped for two events", more)
		}
	})
}

// TestWriteInterruptedByUnmap: what is in the pipe counts, although the rest of the
// buffer is gone when the write goes on.
func TestWriteInterruptedByUnmap(t *testing.T) {
	const size = 128 << 10
	runScript(t, allCalls(), func(g *guest) {
		ends := g.alloc(8)
		g.must(0, unix.SYS_PIPE2, ends, 0)
		buf := uint64(g.call(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, 1<<64-1, 0))
		to := g.alloc(65536)
		g.spawn(func(g *guest) {
			g.must(0, unix.SYS_MUNMAP, buf, size)
			g.must(65536, unix.SYS_READ, 0, to, 65536)
		})
		g.must(65536, unix.SYS_WRITE, 1, buf, size)
	})
}

// TestSigtimedwaitKeepsItsSet although the memory that held it is gone.
func TestSigtimedwaitKeepsItsSet(t *testing.T) {
	runScript(t, allCalls(), func(g *guest) {
		page := uint64(g.call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, 1<<64-1, 0))
		g.set(page, words(1<<(unix.SIGUSR1-1)))
		g.must(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, page, 0, 8)
		g.spawn(func(g *guest) {
			g.must(0, unix.SYS_MUNMAP, page, 4096)
			g.must(0, unix.SYS_KILL, 100, uint64(unix.SIGUSR1))
		})
		g.must(int64(unix.SIGUSR1), unix.SYS_RT_SIGTIMEDWAIT, page, 0, 0, 8)
	})
}

// heldFile is a file that counts the mappings of it.
type heldFile struct {
	*memFile
	held int
}

func (*heldFile) Path() vfs.Path                         { return vfs.Path{} }
func (*heldFile) MapID() vfs.MapID                       { return vfs.MapID{} }
func (*heldFile) MapRead(int64, []byte) (int, abi.Errno) { return 0, abi.OK }
func (*heldFile) MapWrite(int64, []byte) abi.Errno       { return abi.OK }
func (*heldFile) MapSize() int64                         { return 1 << 20 }
func (f *heldFile) MapHold()                             { f.held++ }
func (f *heldFile) MapDrop()                             { f.held-- }

// TestMappingIsDroppedOnce although it was cut into pieces before.
func TestMappingIsDroppedOnce(t *testing.T) {
	runScript(t, allCalls(), func(g *guest) {
		f := &heldFile{memFile: newMemFile(unix.O_RDWR, "")}
		n := g.install(f)
		at := uint64(g.call(unix.SYS_MMAP, 0, 5*4096, unix.PROT_READ, unix.MAP_PRIVATE, n, 0))
		for _, i := range []uint64{1, 3} {
			g.must(int64(at+i*4096), unix.SYS_MMAP, at+i*4096, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, 1<<64-1, 0)
		}
		if f.held != 1 {
			t.Errorf("held %d times while it is mapped", f.held)
		}
		g.must(0, unix.SYS_MUNMAP, at, 5*4096)
		if f.held != 0 {
			t.Errorf("held %d times at the end", f.held)
		}
	})
}

// TestMaskOfWait: the mask of a wait lets a signal through only when the call has
// nothing else to return; as it was seen on Linux 6.18.
func TestMaskOfWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		ready  bool
		want   int64
		caught int
		call   func(g *guest, e, set, none, zero uint64) int64
	}{
		{"ppoll, ready", true, 1, 0, ppollMasked},
		{"ppoll, not ready", false, -int64(abi.EINTR), 1, ppollMasked},
		{"pselect6, ready", true, 1, 0, pselectMasked},
		{"pselect6, not ready", false, -int64(abi.EINTR), 1, pselectMasked},
		{"epoll_pwait, ready", true, 1, 0, epollMasked(100)},
		{"epoll_pwait, not ready", false, -int64(abi.EINTR), 1, epollMasked(100)},
		{"epoll_pwait at once", false, 0, 0, epollMasked(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			runScript(t, allCalls(), func(g *guest) {
				g.handle(unix.SIGUSR1, 0)
				usr1, none, zero := g.put(words(1<<(unix.SIGUSR1-1))), g.put(words(0)), g.put(words(0, 0))
				count := uint64(0)
				if c.ready {
					count = 1
				}
				e := uint64(g.call(unix.SYS_EVENTFD2, count, 0))
				set := uint64(g.call(unix.SYS_EPOLL_CREATE1, 0))
				g.must(0, unix.SYS_EPOLL_CTL, set, unix.EPOLL_CTL_ADD, e, g.put(appendU32(nil, unix.EPOLLIN, 0, 0)))
				g.must(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, usr1, 0, 8)
				g.must(0, unix.SYS_KILL, 100, uint64(unix.SIGUSR1))
				if got := c.call(g, e, set, none, zero); got != c.want {
					t.Errorf("%s, want %s", result(got), result(c.want))
				}
				g.call(unix.SYS_GETPID)
				if len(g.caught) != c.caught {
					t.Errorf("the handler ran %d times, want %d", len(g.caught), c.caught)
				}
			})
		})
	}
}

func ppollMasked(g *guest, e, _, none, zero uint64) int64 {
	return g.call(unix.SYS_PPOLL, g.put(appendU32(nil, uint32(e), unix.POLLIN)), 1, zero, none, 8)
}

func pselectMasked(g *guest, e, _, none, zero uint64) int64 {
	return g.call(unix.SYS_PSELECT6, e+1, g.put(words(1<<e)), 0, 0, zero, g.put(words(none, 8)))
}

func epollMasked(ms uint64) func(g *guest, e, set, none, zero uint64) int64 {
	return func(g *guest, _, set, none, _ uint64) int64 {
		return g.call(unix.SYS_EPOLL_PWAIT, set, g.alloc(12), 1, ms, none, 8)
	}
}
