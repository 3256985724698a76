// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package jail

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// In a process of its own, started with jailed set, the test program enters a
// jail and does what the variable names.
const jailed = "KONTAIN_TEST_JAIL"

func TestMain(m *testing.M) {
	if what := os.Getenv(jailed); what != "" {
		inside(what)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// deeds are what is tried in the jail. Those that are forbidden must never come
// back from the kernel.
var deeds = map[string]struct {
	allowed bool
	config  Config
	do      func() error
}{
	"work": {allowed: true, do: func() error {
		// What the runtime does all the time: threads, garbage, timers, locks.
		done := make(chan int)
		for i := range 50 {
			go func() {
				runtime.LockOSThread()
				b := make([]byte, 1<<20)
				b[i] = 1
				done <- len(b)
			}()
		}
		for range 50 {
			<-done
		}
		runtime.GC()
		return nil
	}},
	"open": {do: func() error { return openFile("/etc/passwd", unix.O_RDONLY) }},
	"write in folder": {config: Config{Folder: "/"}, do: func() error {
		return openFile2(filepath.Join(os.TempDir(), "kontain-jail-test"), unix.O_CREAT|unix.O_WRONLY)
	}},
	"read in folder":      {allowed: true, config: Config{Folder: "/etc"}, do: func() error { return openFile2("/etc/passwd", unix.O_RDONLY) }},
	"read beside folder":  {config: Config{Folder: "/etc"}, do: func() error { return openFile2("/proc/self/status", unix.O_RDONLY) }},
	"open without folder": {do: func() error { return openFile2("/etc/passwd", unix.O_RDONLY) }},
	"socket":              {do: func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
	"unix socket":         {do: func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
	"exec": {do: func() error {
		return unix.Exec("/bin/true", []string{"true"}, nil)
	}},
	"fork": {do: func() error {
		_, _, e := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		return errno(e)
	}},
	"vfork":       {do: func() error { _, _, e := unix.RawSyscall(unix.SYS_VFORK, 0, 0, 0); return errno(e) }},
	"clone3":      {do: func() error { _, _, e := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); return errno(e) }},
	"ptrace":      {do: func() error { return unix.PtraceAttach(os.Getppid()) }},
	"kill":        {do: func() error { return unix.Kill(os.Getppid(), 0) }},
	"tgkill":      {do: func() error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) }},
	"mount":       {do: func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") }},
	"unshare":     {do: func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	"setuid":      {do: func() error { _, _, e := unix.RawSyscall(unix.SYS_SETUID, 0, 0, 0); return errno(e) }},
	"bpf":         {do: func() error { _, _, e := unix.RawSyscall(unix.SYS_BPF, 0, 0, 0); return errno(e) }},
	"io_uring":    {do: func() error { _, _, e := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return errno(e) }},
	"keyctl":      {do: func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); return err }},
	"userfaultfd": {do: func() error { _, _, e := unix.RawSyscall(unix.SYS_USERFAULTFD, 0, 0, 0); return errno(e) }},
	"vm_readv":    {do: func() error { _, err := unix.ProcessVMReadv(os.Getppid(), nil, nil, 0); return err }},
	"executable memory": {do: func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		return err
	}},
	"make executable": {do: func() error {
		b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	}},
	"terminal ioctl":  {do: func() error { _, err := unix.IoctlGetTermios(0, unix.TCGETS); return err }},
	"inject input":    {do: func() error { return unix.IoctlSetInt(0, unix.TIOCSTI, 0) }},
	"dumpable":        {do: func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }},
	"32-bit call":     {do: func() error { _, _, e := unix.RawSyscall(0x4000_0000|unix.SYS_GETPID, 0, 0, 0); return errno(e) }},
	"ptrace: socket":  {config: Config{Ptrace: true}, do: func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
	"ptrace: open":    {config: Config{Ptrace: true}, do: func() error { return openFile("/etc/passwd", unix.O_RDONLY) }},
	"ptrace: process": {allowed: true, config: Config{Ptrace: true}, do: tracedProcess},
}

// tracedProcess starts a process to be traced, from an open descriptor.
func tracedProcess() error {
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", programFD), []string{"x"}, &syscall.ProcAttr{Dir: "/", Sys: &syscall.SysProcAttr{Ptrace: true, Setsid: true}})
	if err != nil {
		return err
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return err
	}
	if !ws.Stopped() {
		return fmt.Errorf("the process has not stopped: %#x", ws)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	_, err = unix.Wait4(pid, &ws, unix.WALL, nil)
	return err
}

const programFD = 9

// tinyELF is a static program of a few bytes; elf(5).
func tinyELF() []byte {
	const base, size = 0x10000, 120 + 8
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2)  // ET_EXEC
	b = le.AppendUint16(b, 62) // EM_X86_64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+120) // entry
	b = le.AppendUint64(b, 64)       // program headers
	b = append(b, make([]byte, 8+4)...)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 4096} {
		b = le.AppendUint64(b, v)
	}
	return append(b, 0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0xf4) // mov eax, SYS_exit; syscall; hlt
}

func openFile(path string, flags int) error {
	f, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(f)
	}
	return err
}

func openFile2(path string, flags uint64) error {
	f, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC})
	if err == nil {
		_ = unix.Close(f)
	}
	return err
}

func errno(e syscall.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// inside enters the jail and does the deed. What comes back is printed.
func inside(name string) {
	d := deeds[name]
	d.config.Files = 64
	if d.config.Ptrace && d.allowed {
		// In memory, as the platform has it: files are out of reach.
		f, err := unix.MemfdCreate("program", 0)
		if err == nil {
			_, err = unix.Write(f, tinyELF())
		}
		if err == nil {
			err = unix.Dup3(f, programFD, 0)
		}
		if err != nil {
			fmt.Println("open:", err)
			return
		}
	}
	runtime.LockOSThread()
	r, err := Enter(d.config)
	if err != nil || !r.Seccomp {
		fmt.Println("enter:", r, err)
		os.Exit(3)
	}
	if !r.Landlock && d.config.Folder != "" && !d.allowed {
		fmt.Println("skipped: this kernel has no Landlock")
		return
	}
	fmt.Println("done:", d.do())
}

// program returns a test program that may enter a jail: this one, or one without
// the C library.
func program(t *testing.T) string {
	if !linkedWithC {
		return os.Args[0]
	}
	out := filepath.Join(t.TempDir(), "jail.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", out, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

func TestJail(t *testing.T) {
	program := program(t)
	for name, d := range deeds {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), jailed+"="+name)
			out, err := cmd.CombinedOutput()
			text := strings.TrimSpace(string(out))
			if strings.HasPrefix(text, "skipped") {
				t.Skip(text)
			}
			if d.allowed {
				if err != nil || text != "done: <nil>" {
					t.Errorf("%v, %q", err, text)
				}
				return
			}
			ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !ok || !ws.Signaled() || ws.Signal() != unix.SIGSYS {
				// x32 calls are answered, with ENOSYS; Landlock may come before the filter.
				if text == "done: function not implemented" || strings.HasSuffix(text, "permission denied") {
					return
				}
				t.Errorf("%v, %q; the jail let it pass", err, text)
			}
		})
	}
}

// What should be in a cell and is not does not get into the jail.
func TestNotInCell(t *testing.T) {
	if linkedWithC {
		t.Skip("linked with the C library")
	}
	if _, err := Enter(Config{User: 4_000_000_000}); err == nil || !strings.Contains(err.Error(), "it is not in a cell") {
		t.Errorf("%v", err)
	}
}

// Every rule says why, and names a call once.
func TestRules(t *testing.T) {
	for _, c := range []Config{{}, {Ptrace: true}, {Folder: "/x"}, {Folder: "/x", Ptrace: true}, {Freeze: true}, {Freeze: true, Ptrace: true}} {
		f := filter(c)
		if _, err := f.Policy.Assemble(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		for _, r := range rules(c) {
			if r.why == "" {
				t.Errorf("%s has no reason", r.name)
			}
		}
	}
}
