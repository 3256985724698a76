// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package kvm runs guest threads at privilege level 3 of a KVM virtual machine
// with one processor and no guest kernel.
package kvm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Platform is an open /dev/kvm with what its machines have in common.
type Platform struct {
	sys      *kvm.System
	cpuid    []kvm.CPUIDEntry
	features platform.Features
	fsgsbase bool

	// A machine that never runs. While a vCPU exists KVM keeps what it would
	// otherwise set up and tear down with each VM (create and destroy: 855 µs
	// without, 329 µs with, on the development machine).
	spareVM   *kvm.VM
	spareVCPU *kvm.VCPU
}

// Open opens /dev/kvm and checks that it has what the platform needs. The
// error is a *platform.Unavailable.
func Open() (*Platform, error) {
	sys, err := kvm.Open()
	if err != nil {
		u := &platform.Unavailable{Reason: "cannot use /dev/kvm", Err: err}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			u.Reason, u.Hint = "there is no /dev/kvm", "enable virtualization in the firmware, load the kvm module of this processor, or, in a VM, enable nested virtualization"
		case errors.Is(err, fs.ErrPermission):
			u.Hint = "add this user to the group that owns /dev/kvm, usually 'kvm'"
		}
		return nil, u
	}
	p := &Platform{sys: sys}
	if err := p.open(); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Attach takes over a descriptor of /dev/kvm for a short life, such as that of one
// machine: what it has was found out by Open in another process on this machine, whose
// Features f are and whose CPUID gave leaves. To ask KVM for them takes it 0.4 ms on the
// development machine, so they are taken as they are, where they are what f was made of.
func Attach(device int, f platform.Features, leaves []byte) (*Platform, error) {
	sys, err := kvm.Adopt(device)
	if err != nil {
		return nil, err
	}
	entries, err := parseCPUID(leaves)
	if err != nil {
		return nil, errors.Join(err, sys.Close())
	}
	p := &Platform{sys: sys}
	p.setCPUID(entries)
	own := p.features
	p.features = f
	if own.CPUID != f.CPUID || own.HWCAP != f.HWCAP || own.HWCAP2 != f.HWCAP2 {
		return nil, errors.Join(errors.New("the processor is not the one that the other process saw"), sys.Close())
	}
	return p, nil
}

// CPUID returns the leaves that guests see, for Attach.
func (p *Platform) CPUID() []byte { return appendCPUID(nil, p.cpuid) }

// setCPUID takes the leaves that guests see.
func (p *Platform) setCPUID(entries []kvm.CPUIDEntry) {
	p.cpuid = entries
	p.fsgsbase = feature(p.cpuid, 7, 0).EBX&1 != 0
	p.features.CPUID = platform.DigestCPUID(func(function, index uint32) (eax, ebx, ecx, edx uint32) {
		e := feature(p.cpuid, function, index)
		return e.EAX, e.EBX, e.ECX, e.EDX
	})
	p.features.HWCAP = uint64(feature(p.cpuid, 1, 0).EDX)
	if p.fsgsbase {
		p.features.HWCAP2 = 1 << 1 // HWCAP2_FSGSBASE
	}
}

func (p *Platform) open() error {
	for _, c := range []struct {
		name   string
		number int
		need   int // bits that must be set
		linux  string
	}{
		{"KVM_CAP_USER_MEMORY", kvm.CapUserMemory, 1, "2.6.25"},
		{"KVM_CAP_SYNC_REGS with general and special registers", kvm.CapSyncRegs, kvm.SyncRegs | kvm.SyncSregs, "4.17"},
		{"KVM_CAP_IMMEDIATE_EXIT", kvm.CapImmediateExit, 1, "4.11"},
		{"KVM_CAP_XSAVE", kvm.CapXSave, 1, "2.6.36"},
		{"KVM_CAP_XCRS", kvm.CapXCRs, 1, "2.6.36"},
		{"KVM_CAP_GET_TSC_KHZ", kvm.CapGetTSCKHz, 1, "2.6.39"},
	} {
		have, err := p.sys.CheckExtension(c.number)
		if err != nil || have&c.need != c.need {
			return &platform.Unavailable{Reason: fmt.Sprintf("KVM lacks %s", c.name), Hint: "it needs Linux " + c.linux + " or newer", Err: err}
		}
	}
	supported, err := p.sys.SupportedCPUID()
	if err != nil {
		return &platform.Unavailable{Reason: "KVM does not tell its CPUID", Err: err}
	}
	entries, xcr0, xsave := guestCPUID(supported)
	p.setCPUID(entries)
	p.features.XCR0, p.features.XSaveSize = xcr0, xsave
	if shadowPaging() {
		p.features.FaultGroup = prefetched
	}
	if p.spareVM, err = p.sys.CreateVM(); err != nil {
		return &platform.Unavailable{Reason: "KVM makes no virtual machine", Err: err}
	}
	if p.spareVCPU, err = p.spareVM.CreateVCPU(p.sys, 0); err != nil {
		return &platform.Unavailable{Reason: "KVM makes no virtual processor", Err: err}
	}
	if err := p.tryOut(); err != nil {
		return &platform.Unavailable{Reason: "a test program did not run in a virtual machine", Err: err}
	}
	return nil
}

// prefetched is how many entries of a page table KVM looks at when it shadows one
// of them: PTE_PREFETCH_NUM of arch/x86/kvm/mmu/mmu.c. It stops at the first that
// is not present, or whose page it may not write.
const prefetched = 8

// shadowPaging tells whether KVM shadows the guest's page tables because the
// processor cannot walk them. A first touch costs an exit to KVM then.
func shadowPaging() bool {
	b, err := os.ReadFile("/sys/module/kvm/parameters/tdp_mmu")
	return err == nil && len(b) > 0 && b[0] == 'N'
}

// Device is the descriptor of /dev/kvm, for Attach in another process.
func (p *Platform) Device() int { return p.sys.FD() }

// Features implements platform.Platform.
func (p *Platform) Features() platform.Features { return p.features }

// Close implements platform.Platform.
func (p *Platform) Close() error {
	var errs []error
	if p.spareVCPU != nil {
		errs = append(errs, p.spareVCPU.Close())
	}
	if p.spareVM != nil {
		errs = append(errs, p.spareVM.Close())
	}
	return errors.Join(append(errs, p.sys.Close())...)
}

// tryOut runs a few instructions in a machine: it shows that the platform
// works here, and whether the guest's time stamp counter is the host's, which
// the vDSO's clocks need.
func (p *Platform) tryOut() error {
	mem, err := guestmem.New(1 << 20)
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	control, err := mem.AllocRun(x86.ControlSize() / guestmem.PageSize)
	if err != nil {
		return err
	}
	var tables [4]uint64
	for i := range tables {
		if tables[i], err = mem.Alloc(); err != nil {
			return err
		}
	}
	for i, shift := 0, 39; i < 3; i, shift = i+1, shift-9 {
		mem.Words(tables[i])[uint64(x86.ControlVA)>>shift&511] = tables[i+1] | x86.PTETable
	}
	for _, pg := range x86.BuildControl(mem.Bytes(control, x86.ControlSize())) {
		mem.Words(tables[3])[pg.VA>>12&511] = pg.GPA | pg.Flags
	}
	m, err := p.NewMachine(mem, tables[0])
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := m.Bind(); err != nil {
		return err
	}
	p.features.ClockOK = true
	for range 3 {
		c := platform.Context{FP: new([kvm.XSaveSize]byte)}
		c.Regs.RIP, c.Regs.RFLAGS = x86.TSCProbeVA, 2
		before := x86.ReadTSC()
		exit, err := m.Run(&c)
		for err == nil && exit.Kind == platform.ExitKick {
			exit, err = m.Run(&c)
		}
		after := x86.ReadTSC()
		if err != nil {
			return err
		}
		if exit.Kind != platform.ExitSyscall {
			return fmt.Errorf("unexpected exit %+v at %#x", exit, c.Regs.RIP)
		}
		if tsc := c.Regs.RDX<<32 | c.Regs.RAX&0xffff_ffff; tsc < before || tsc > after {
			p.features.ClockOK = false
		}
	}
	if p.features.Answers, err = tryAnswer(m.(*machine)); err != nil {
		return err
	}
	khz, err := m.(*machine).vcpu.TSCKHz()
	if err != nil || khz <= 0 {
		p.features.ClockOK = false
		return nil
	}
	p.features.TSCMult = uint64(float64(1_000_000) / float64(khz) * float64(1<<32))
	return nil
}

// tryAnswer finds out whether the system call stub can answer a call and return to
// the program, with the registers as they should be.
func tryAnswer(m *machine) (bool, error) {
	x86.ArmAnswers(m.control(), x86.AnswerEnd, 0)
	c := platform.Context{FP: new([kvm.XSaveSize]byte)}
	c.Regs = kvm.Regs{RIP: x86.AnswerProbeVA, RFLAGS: 2, RSP: 0x1000, RBP: 5, R8: 8, R9: 9, R10: 10, R12: 12}
	exit, err := m.Run(&c)
	for err == nil && exit.Kind == platform.ExitKick {
		exit, err = m.Run(&c)
	}
	x86.ArmAnswers(m.control(), 0, 0)
	a := x86.TakeAnswers(m.control(), 0)
	r := &c.Regs
	return err == nil && exit.Kind == platform.ExitSyscall && a.Reads == 1 && m.vcpu.Sregs.CS.Selector == x86.UserCS &&
		r.RAX == 0 && r.RBX == 1 && r.RSP == 0x1000 && r.RBP == 5 && r.R8 == 8 && r.R9 == 9 && r.R10 == 10 && r.R12 == 12, err
}

// NewMachine implements platform.Platform.
func (p *Platform) NewMachine(mem *guestmem.Memory, root uint64) (platform.Machine, error) {
	vm, err := p.sys.CreateVM()
	if err != nil {
		return nil, err
	}
	m := &machine{p: p, vm: vm, mem: mem, root: root}
	mem.OnFlush(m.flush)
	if err := m.init(root); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

var (
	userCode = kvm.Segment{Limit: 0xffff_ffff, Selector: x86.UserCS, Type: 11, Present: 1, DPL: 3, S: 1, L: 1, G: 1}
	userData = kvm.Segment{Limit: 0xffff_ffff, Selector: x86.UserDS, Type: 3, Present: 1, DPL: 3, DB: 1, S: 1, G: 1}
)

// Control register bits; SDM volume 3, section 2.5.
const (
	cr0PE, cr0MP, cr0ET, cr0NE, cr0WP, cr0AM, cr0PG = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 18, 1 << 31
	cr4PAE, cr4OSFXSR, cr4OSXMM, cr4FSGS, cr4XSAVE  = 1 << 5, 1 << 9, 1 << 10, 1 << 16, 1 << 18
	eferSCE, eferLME, eferLMA, eferNX               = 1 << 0, 1 << 8, 1 << 10, 1 << 11
)

// Model specific registers; SDM volume 4.
const (
	msrSTAR     = 0xc000_0081
	msrLSTAR    = 0xc000_0082
	msrFMASK    = 0xc000_0084
	msrKernelGS = 0xc000_0102
	msrTSCAux   = 0xc000_0103
)

func (m *machine) setMSRs() error {
	return m.vcpu.SetMSRs(kvm.MSR{Index: msrSTAR, Value: x86.STAR}, kvm.MSR{Index: msrLSTAR, Value: x86.SyscallStubVA},
		kvm.MSR{Index: msrFMASK, Value: x86.FMASK}, kvm.MSR{Index: msrKernelGS})
}

func (m *machine) init(root uint64) error {
	var err error
	if m.vcpu, err = m.vm.CreateVCPU(m.p.sys, 0); err != nil {
		return err
	}
	if err := m.vcpu.SetCPUID(m.p.cpuid); err != nil {
		return err
	}
	if err := m.mem.OnGrow(func(slot int, r guestmem.Run, host []byte) error {
		return m.vm.SetMemory(uint32(slot), r.Start, host)
	}); err != nil {
		return err
	}
	if err := m.vcpu.GetSregs(); err != nil {
		return err
	}
	s := m.vcpu.Sregs
	s.CR0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0AM | cr0PG
	s.CR3 = root
	s.CR4 = cr4PAE | cr4OSFXSR | cr4OSXMM | cr4XSAVE
	if m.p.fsgsbase {
		s.CR4 |= cr4FSGS
	}
	s.EFER = eferSCE | eferLME | eferLMA | eferNX
	s.GDT = kvm.DTable{Base: x86.GDTBase, Limit: x86.GDTLimit}
	s.IDT = kvm.DTable{Base: x86.IDTBase, Limit: x86.IDTLimit}
	s.TR = kvm.Segment{Base: x86.TSSBase, Limit: x86.TSSLimit, Selector: x86.TSSSel, Type: 11, Present: 1}
	s.LDT = kvm.Segment{Unusable: 1}
	s.CS, s.SS, s.DS, s.ES, s.FS, s.GS = userCode, userData, userData, userData, userData, userData
	if err := m.vcpu.SetSregs(); err != nil {
		return err
	}
	if err := m.vcpu.SetXCR0(m.p.features.XCR0); err != nil {
		return err
	}
	if err := m.setMSRs(); err != nil {
		return err
	}
	// Where RDTSCP and RDPID are not emulated the register cannot be set and the
	// guest sees the host's processor number; nothing rests on it.
	_ = m.vcpu.SetMSRs(kvm.MSR{Index: msrTSCAux})
	// Linux before 5.16 does not know the offset: the guest's counter starts near
	// 0 then, tryOut sees it, and the vDSO's clocks stay off.
	err = m.vcpu.SetTSCOffset(0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
