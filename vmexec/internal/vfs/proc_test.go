// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// facts is a ProcInfo and the only Process of it.
type facts struct {
	comm  string
	table *fd.Table
	cwd   Path
	exe   Path
}

func (f *facts) Self() (pid, tid int) { return 7, 8 }
func (f *facts) PIDs() []int          { return []int{7} }
func (f *facts) Process(pid int) Process {
	if pid != 7 {
		return nil
	}
	return f
}

func (f *facts) System() System {
	return System{MemTotal: 64 << 20, MemFree: 1 << 20, Uptime: 12_345_678_900, Release: "6.1", Version: "#1", CPUModel: "Test"}
}
func (f *facts) Exe() Path         { return f.exe }
func (f *facts) Cmdline() []string { return []string{"app", "-v", ""} }
func (f *facts) Environ() []string { return []string{"A=1"} }
func (f *facts) Auxv() []byte      { return make([]byte, 16) }
func (f *facts) Maps() []byte      { return []byte("map\n") }
func (f *facts) Cwd() Path         { return f.cwd }
func (f *facts) Table() *fd.Table  { return f.table }
func (f *facts) Threads() []int    { return []int{7, 8} }
func (f *facts) Thread(tid int) ThreadStatus {
	return ThreadStatus{Name: f.comm, State: 'R', UTime: 5e9}
}

func (f *facts) Status() Status { return Status{Parent: 1, VMSize: 1 << 20, RSS: 8192, Caught: 0x42} }

func (f *facts) Limits() (l [16]unix.Rlimit) {
	l[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: 10, Max: unix.RLIM_INFINITY}
	return l
}
func (f *facts) SetComm(name string) { f.comm = name }

// null is an open file without a place.
type null struct{ fd.Base }

func (*null) Name() string { return "pipe:[5]" }

func procFS(t *testing.T) (*FS, *facts) {
	m := NewMemory(0)
	if err := m.AddBytes("/opt/app", 0o755, []byte("ELF")); err != nil {
		t.Fatal(err)
	}
	info := &facts{comm: "app", table: fd.NewTable(16)}
	fs, err := New(Config{Lower: m, Proc: info})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fs.Close)
	info.cwd, _ = fs.Resolve(fs.Root(), "/tmp", 0)
	info.exe, _ = fs.Resolve(fs.Root(), "/opt/app", 0)
	return fs, info
}

func TestProc(t *testing.T) {
	fs, info := procFS(t)
	for path, want := range map[string]string{
		"/proc/self/cmdline":      "app\x00-v\x00\x00",
		"/proc/7/environ":         "A=1\x00",
		"/proc/thread-self/comm":  "app\n",
		"/proc/self/maps":         "map\n",
		"/proc/self/exe":          "ELF",
		"/proc/self/root/opt/app": "ELF",
		"/proc/self/statm":        "256 2 0 0 0 0 0\n",
		"/proc/uptime":            "12.34 12.34\n",
		"/proc/sys/kernel/ostype": "Linux\n",
		"/proc/8":                 "!ENOENT",
		"/proc/07":                "!ENOENT",
		"/proc/self/task/9":       "!ENOENT",
		"/proc/self/nothing":      "!ENOENT",
		"/proc/self/cgroup":       "0::/\n",
		"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": "2097152\n",
	} {
		if got := get(t, fs, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"/proc/self/status":    "\nSigCgt:\t0000000000000042\n",
		"/proc/self/stat":      "7 (app) R 1 ",
		"/proc/self/limits":    "Max open files            10                   unlimited            files",
		"/proc/meminfo":        "MemTotal:          65536 kB\n",
		"/proc/cpuinfo":        "model name\t: Test\n",
		"/proc/self/mounts":    "proc /proc proc ",
		"/proc/stat":           "cpu0 ",
		"/proc/self/mountinfo": " / /dev/shm ",
	} {
		if got := get(t, fs, path); !strings.Contains(got, want) {
			t.Errorf("%s: %q lacks %q", path, got, want)
		}
	}
	if n := len(strings.Fields(get(t, fs, "/proc/self/stat"))); n != 52 {
		t.Errorf("/proc/self/stat has %d fields, want 52", n)
	}
	if got := names(t, fs, "/proc/self/task"); !slices.Equal(got, []string{"7", "8"}) {
		t.Errorf("threads: %q", got)
	}
	f, errno := fs.Open(fs.Root(), "/proc/self/comm", unix.O_WRONLY|unix.O_TRUNC, 0, 0)
	want(t, "open comm", errno, 0)
	f.Write(fd.Buffers{[]byte("a name that is too long\n")}, fd.CurrentOffset)
	if info.comm != "a name that is " {
		t.Errorf("comm: %q", info.comm)
	}
	for what, got := range map[string][2]abi.Errno{
		"mkdir":  {fs.Mkdir(fs.Root(), "/proc/x", 0o755), abi.ENOENT},
		"unlink": {fs.Unlink(fs.Root(), "/proc/version"), abi.EPERM},
		"rename": {fs.Rename(fs.Root(), "/proc/version", fs.Root(), "/proc/x", 0), abi.EPERM},
		"cross":  {fs.Rename(fs.Root(), "/opt/app", fs.Root(), "/dev/x", 0), abi.EXDEV},
		"rmdir":  {fs.Rmdir(fs.Root(), "/proc"), abi.EBUSY},
	} {
		want(t, what, got[0], got[1])
	}
	if _, errno := fs.Open(fs.Root(), "/proc/version", unix.O_WRONLY, 0, 0); errno != abi.EACCES {
		t.Errorf("open version for writing: %s", errno)
	}
}

func TestProcFD(t *testing.T) {
	fs, info := procFS(t)
	put(t, fs, "/tmp/f", "file")
	f, errno := fs.Open(fs.Root(), "/tmp/f", unix.O_RDONLY, 0, 0)
	want(t, "open", errno, 0)
	anon := &null{fd.Base{Flags: unix.O_RDONLY}}
	for i, f := range []fd.File{anon, f} {
		if n, errno := info.table.Install(f, false, 0); int(n) != i || errno != 0 {
			t.Fatal(n, errno)
		}
	}
	link := func(path string) string {
		p, errno := fs.Resolve(fs.Root(), path, NoFollow)
		if errno != 0 {
			return "!" + errno.String()
		}
		s, _ := fs.Readlink(p)
		return s
	}
	if got := names(t, fs, "/dev/fd"); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("/dev/fd: %q", got)
	}
	if a, b := link("/proc/self/fd/0"), link("/dev/fd/1"); a != "pipe:[5]" || b != "/tmp/f" {
		t.Errorf("links: %q, %q", a, b)
	}
	want(t, "unlink", fs.Unlink(fs.Root(), "/tmp/f"), 0)
	if got := link("/dev/fd/1"); got != "/tmp/f (deleted)" {
		t.Errorf("link of a removed file: %q", got)
	}
	if got := get(t, fs, "/proc/self/fd/1"); got != "file" {
		t.Errorf("a removed file opened again: %q", got)
	}
	again, errno := fs.Open(fs.Root(), "/dev/stdin", unix.O_RDONLY, 0, 0)
	want(t, "open /dev/stdin", errno, 0)
	if e, ok := again.(Existing); !ok || e.File != fd.File(anon) {
		t.Errorf("/dev/stdin is %T", again)
	}
	_, errno = fs.Open(fs.Root(), "/dev/stdin", unix.O_WRONLY, 0, 0)
	want(t, "open /dev/stdin for writing", errno, abi.EACCES)
	_, errno = fs.Resolve(fs.Root(), "/proc/self/fd/0/x", 0)
	want(t, "below a pipe", errno, abi.ENOTDIR)
	_, errno = fs.Resolve(fs.Root(), "/proc/self/fd/1", NoMagicLinks)
	want(t, "no magic links", errno, abi.ELOOP)
	if _, errno := fs.Open(fs.Root(), "/dev/tty", unix.O_RDWR, 0, 0); errno != abi.ENXIO {
		t.Errorf("/dev/tty: %s", errno)
	}
	info.table.CloseAll()
	info.table.Install(&stream{fd.Base{Mode: unix.S_IFIFO | 0o600, Ino: 9}}, false, 0)
	if got := link("/dev/stdin"); got != "/proc/self/fd/0" {
		t.Errorf("/dev/stdin leads to %q", got)
	}
	if got := link("/proc/self/fd/0"); got != "pipe:[9]" {
		t.Errorf("link of a stream: %q", got)
	}
}

// stream is a pipe that does not say its name.
type stream struct{ fd.Base }

// largeMaps is a process with many mappings.
type largeMaps struct{ facts }

func (f *largeMaps) Process(int) Process { return f }
func (f *largeMaps) Maps() []byte        { return make([]byte, 1<<20) }

// The texts that a program holds open count against its memory.
func TestProcTextIsCharged(t *testing.T) {
	b := &fixedBudget{total: 4096, free: 4096}
	fs, err := New(Config{Budget: b, Proc: &largeMaps{}})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	before := b.free
	var open []fd.File
	for {
		f, errno := fs.Open(fs.Root(), "/proc/self/maps", unix.O_RDONLY, 0, 0)
		if errno == abi.ENOMEM {
			break
		}
		if errno != 0 || len(open) > 16 {
			t.Fatalf("%d texts of 1 MiB fit in 16 MiB, then %v", len(open), errno)
		}
		if _, errno := f.Read(fd.Buffers{make([]byte, 10)}, 0); errno == abi.ENOMEM { // taken anew, beside the old
			f.Release()
			break
		} else if errno != 0 {
			t.Fatal(errno)
		}
		open = append(open, f)
	}
	if len(open) < 14 {
		t.Errorf("only %d texts of 1 MiB fit in 16 MiB", len(open))
	}
	for _, f := range open {
		f.Release()
	}
	if b.free != before {
		t.Errorf("%d pages are free, before %d", b.free, before)
	}
}
