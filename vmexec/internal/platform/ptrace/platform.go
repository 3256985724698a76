// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package ptrace runs guest threads in a process that it traces, where there is
// no KVM. System calls of the process stop before they are made, and are never
// made: PTRACE_SYSEMU (Linux 2.6.14, any x86-64). The guest's page tables are
// the truth about its memory as on platform kvm; the process's mappings are
// derived from them. What separates guest and host is then what separates
// processes: the host's kernel.
package ptrace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Platform is what the machines have in common.
type Platform struct {
	loader   int // the program that a tracee begins as
	features platform.Features
	xsize    int // bytes of the kernel's XSAVE area
}

// Open checks that a process can be traced here, by doing it. The error is a
// *platform.Unavailable.
func Open() (*Platform, error) {
	first := sampleClocks()
	loader, err := newLoader()
	if err != nil {
		return nil, unavailable(err)
	}
	p := &Platform{loader: loader}
	setHost(&p.features)
	p.features.SharedMemory = true
	if err := p.tryOut(); err != nil {
		_ = p.Close()
		return nil, unavailable(err)
	}
	if p.features.ClockOK {
		p.features.TSCMult = tscMult(first)
		p.features.ClockOK = p.features.TSCMult != 0
	}
	return p, nil
}

func unavailable(err error) error {
	u := &platform.Unavailable{Reason: "a test program did not run in a traced process", Err: err}
	scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	switch {
	case errors.Is(err, unix.ENOENT):
		u.Hint = "is /proc mounted?"
	case errors.Is(err, unix.EPERM) && strings.TrimSpace(string(scope)) >= "2":
		u.Hint = "kernel.yama.ptrace_scope forbids tracing: set it to 1 or 0"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EACCES):
		u.Hint = "in a container, allow ptrace in the seccomp profile (--cap-add SYS_PTRACE), and programs in memory (sysctl vm.memfd_noexec=0); a kernel that seals its own mappings (CONFIG_MSEAL_SYSTEM_MAPPINGS) cannot be used"
	}
	return u
}

// Features implements platform.Platform.
func (p *Platform) Features() platform.Features { return p.features }

// Close implements platform.Platform.
func (p *Platform) Close() error { return os.NewSyscallError("close", unix.Close(p.loader)) }

// NewMachine implements platform.Platform. The process starts with Bind.
func (p *Platform) NewMachine(mem *guestmem.Memory, root uint64) (platform.Machine, error) {
	if mem.FD() < 0 {
		return nil, errors.New("platform ptrace needs shared guest memory")
	}
	m := newMachine(p, mem, root)
	mem.OnForget(m.forget)
	return m, nil
}

// tryOut runs a program of one system call, and learns how large the vector
// state is.
func (p *Platform) tryOut() error {
	const (
		va     = 0x10000
		number = 39
	)
	mem, err := guestmem.NewShared(1 << 20)
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	var pages [5]uint64 // four levels of tables and one of code
	for i := range pages {
		if pages[i], err = mem.Alloc(); err != nil {
			return err
		}
	}
	for i, shift := 0, 39; i < 3; i, shift = i+1, shift-9 {
		mem.Words(pages[i])[va>>shift&511] = pages[i+1] | x86.PTETable
	}
	mem.Words(pages[3])[va>>12&511] = pages[4] | x86.PTEPresent | x86.PTEUser
	copy(mem.Page(pages[4]), []byte{0xb8, number, 0, 0, 0, 0x0f, 0x05}) // mov eax, number; syscall

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := newMachine(p, mem, pages[0])
	m.xbuf = make([]byte, 1<<16)
	defer func() { _ = m.Close() }()
	if err := m.Bind(); err != nil {
		return err
	}
	n, e := getXState(m.pid, m.xbuf)
	if e != 0 {
		return m.check("PTRACE_GETREGSET", e)
	}
	if n < legacyArea {
		return fmt.Errorf("the kernel's XSAVE area has %d bytes", n)
	}
	p.xsize = n
	// What the kernel enabled, in the software's part of the area; struct _fpx_sw_bytes.
	p.features.XCR0 = binary.LittleEndian.Uint64(m.xbuf[464:])&usableXCR0 | 3
	p.features.XSaveSize = xsaveSize(p.features.XCR0)
	m.xbuf = m.xbuf[:n]
	if int(p.features.XSaveSize) > min(n, kvm.XSaveSize) {
		return fmt.Errorf("vector state of %d bytes for components %#x", p.features.XSaveSize, p.features.XCR0)
	}

	c := platform.Context{FP: new([kvm.XSaveSize]byte)}
	copy(c.FP[:], m.xbuf[:p.features.XSaveSize])
	binary.LittleEndian.PutUint64(c.FP[512:], 0)
	c.Regs.RIP, c.Regs.RFLAGS = va, 2
	for deadline := time.Now().Add(time.Second); ; {
		exit, err := m.Run(&c)
		switch {
		case err != nil:
			return err
		case exit.Kind == platform.ExitKick && time.Now().Before(deadline):
		case exit.Kind != platform.ExitSyscall || c.Regs.RAX != number:
			return fmt.Errorf("unexpected exit %+v at %#x", exit, c.Regs.RIP)
		default:
			return nil
		}
	}
}
