// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl numbers, as the macros _IO, _IOR, _IOW and _IOWR of asm-generic/ioctl.h
// compute them for type 0xAE.
const (
	ioGetAPIVersion     = 0xae00
	ioCreateVM          = 0xae01
	ioCheckExtension    = 0xae03
	ioGetVCPUMmapSize   = 0xae04
	ioGetSupportedCPUID = 0xc008ae05
	ioCreateVCPU        = 0xae41
	ioSetUserMemory     = 0x4020ae46
	ioRun               = 0xae80
	ioGetSregs          = 0x8138ae83
	ioSetSregs          = 0x4138ae84
	ioGetVCPUEvents     = 0x8040ae9f
	ioSetVCPUEvents     = 0x4040aea0
	ioSetMSRs           = 0x4008ae89
	ioSetCPUID2         = 0x4008ae90
	ioGetXSave          = 0x9000aea4
	ioSetXSave          = 0x5000aea5
	ioSetXCRs           = 0x4188aea7
	ioGetTSCKHz         = 0xaea3
	ioSetDeviceAttr     = 0x4018aee1
)

// Requests returns the ioctl requests that a machine's life needs, the most
// frequent first: what a system call filter must let pass.
func Requests() []uint32 {
	return []uint32{
		ioRun, ioGetXSave, ioSetXSave, ioSetMSRs, ioGetVCPUEvents, ioSetUserMemory, ioGetSregs, ioSetSregs, ioSetXCRs,
		ioCreateVM, ioCreateVCPU, ioSetCPUID2, ioSetDeviceAttr, ioSetVCPUEvents,
	}
}

// Offsets in struct kvm_run.
const (
	runImmediateExit = 1
	runExitReason    = 8
	runIODirection   = 32
	runIOPort        = 34
	runValidRegs     = 288
	runDirtyRegs     = 296
	runRegs          = 304
	runSregs         = runRegs + 144
	runMin           = runSregs + 312
)

// The compiler rejects a drift of the structures' sizes from the kernel's.
var (
	_ [144]byte = [unsafe.Sizeof(Regs{})]byte{}
	_ [312]byte = [unsafe.Sizeof(Sregs{})]byte{}
	_ [24]byte  = [unsafe.Sizeof(Segment{})]byte{}
	_ [64]byte  = [unsafe.Sizeof(vcpuEvents{})]byte{}
	_ [40]byte  = [unsafe.Sizeof(CPUIDEntry{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(MSR{})]byte{}
)

// ioctl makes a request whose argument is a number.
func ioctl(fd int, name string, req, arg uintptr) (int, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, arg)
		if e == 0 {
			return int(r), nil
		}
		if e != unix.EINTR {
			return 0, os.NewSyscallError(name, e)
		}
	}
}

// ioctlPointer makes a request whose argument points to memory. The pointer becomes a
// number in the call to the kernel and not before: what it points to may be on the
// stack, which moves when it grows, and the number would not follow.
func ioctlPointer(fd int, name string, req uintptr, arg unsafe.Pointer) (int, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
		if e == 0 {
			return int(r), nil
		}
		if e != unix.EINTR {
			return 0, os.NewSyscallError(name, e)
		}
	}
}

// System is an open /dev/kvm. It may be used from several goroutines.
type System struct {
	fd      int
	runSize int
}

// Open opens /dev/kvm and checks the version of its interface.
func Open() (*System, error) {
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/kvm", Err: err}
	}
	return Adopt(fd)
}

// Adopt is Open for a descriptor of /dev/kvm, which it takes over, also when it fails.
func Adopt(fd int) (*System, error) {
	s := &System{fd: fd}
	v, err := ioctl(fd, "KVM_GET_API_VERSION", ioGetAPIVersion, 0)
	if err == nil && v != APIVersion {
		err = fmt.Errorf("KVM_GET_API_VERSION: version %d, need %d", v, APIVersion)
	}
	if err == nil {
		s.runSize, err = ioctl(fd, "KVM_GET_VCPU_MMAP_SIZE", ioGetVCPUMmapSize, 0)
	}
	if err == nil && s.runSize < runMin {
		err = fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE: %d bytes, need %d", s.runSize, runMin)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// FD is the descriptor of /dev/kvm, for Adopt in another process.
func (s *System) FD() int { return s.fd }

// Close closes /dev/kvm. Machines that were made stay usable.
func (s *System) Close() error { return unix.Close(s.fd) }

// CheckExtension returns what KVM says of a capability; 0 means it has none.
func (s *System) CheckExtension(capability int) (int, error) {
	return ioctl(s.fd, "KVM_CHECK_EXTENSION", ioCheckExtension, uintptr(capability))
}

// MaxCPUID is the most leaves in one table.
const MaxCPUID = 256

type cpuidTable struct {
	n, _    uint32
	entries [MaxCPUID]CPUIDEntry
}

// SupportedCPUID returns the CPUID leaves that KVM can give to a guest.
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	t := &cpuidTable{n: MaxCPUID}
	if _, err := ioctlPointer(s.fd, "KVM_GET_SUPPORTED_CPUID", ioGetSupportedCPUID, unsafe.Pointer(t)); err != nil {
		return nil, err
	}
	return append([]CPUIDEntry(nil), t.entries[:min(t.n, MaxCPUID)]...), nil
}

// VM is a virtual machine: a guest physical address space.
type VM struct {
	fd int
}

// CreateVM makes a machine without devices, interrupt controller or memory.
func (s *System) CreateVM() (*VM, error) {
	fd, err := ioctl(s.fd, "KVM_CREATE_VM", ioCreateVM, 0)
	if err != nil {
		return nil, err
	}
	return &VM{fd: fd}, nil
}

// Close drops the machine. KVM frees it when its vCPUs are closed too.
func (v *VM) Close() error { return unix.Close(v.fd) }

// SetMemory makes a memslot: guest physical [gpa, gpa+len(mem)) is mem, which
// must stay mapped at its address as long as the slot is there.
func (v *VM) SetMemory(slot uint32, gpa uint64, mem []byte) error {
	r := struct {
		slot, flags     uint32
		gpa, size, addr uint64
	}{slot: slot, gpa: gpa, size: uint64(len(mem)), addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))}
	_, err := ioctlPointer(v.fd, "KVM_SET_USER_MEMORY_REGION", ioSetUserMemory, unsafe.Pointer(&r))
	return err
}

// DropMemory removes a memslot.
func (v *VM) DropMemory(slot uint32, gpa uint64) error { return v.SetMemory(slot, gpa, nil) }

// VCPU is a virtual processor. Its methods belong to the goroutine that runs
// it, but for RequestExit.
type VCPU struct {
	fd  int
	run []byte
	// Regs and Sregs are the registers as the last exit left them, shared with
	// KVM; what Run is to load is named in its argument.
	Regs  *Regs
	Sregs *Sregs
}

// CreateVCPU makes the machine's processor with the given number.
func (v *VM) CreateVCPU(s *System, id int) (*VCPU, error) {
	fd, err := ioctl(v.fd, "KVM_CREATE_VCPU", ioCreateVCPU, uintptr(id))
	if err != nil {
		return nil, err
	}
	run, err := unix.Mmap(fd, 0, s.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("mmap of a vCPU", err)
	}
	c := &VCPU{fd: fd, run: run, Regs: (*Regs)(unsafe.Pointer(&run[runRegs])), Sregs: (*Sregs)(unsafe.Pointer(&run[runSregs]))}
	*(*uint64)(unsafe.Pointer(&run[runValidRegs])) = SyncRegs | SyncSregs
	return c, nil
}

// Close frees the processor.
func (c *VCPU) Close() error {
	err := unix.Munmap(c.run)
	if e := unix.Close(c.fd); err == nil {
		err = e
	}
	return err
}

// Run enters the guest until the next exit. load names the registers
// (SyncRegs, SyncSregs) that are taken from Regs and Sregs first. A signal or
// RequestExit ends the run with unix.EINTR; the guest state is complete then.
func (c *VCPU) Run(load uint64) unix.Errno {
	*(*uint64)(unsafe.Pointer(&c.run[runDirtyRegs])) = load
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), ioRun, 0)
	return e
}

func (c *VCPU) immediateExit() *uint32 {
	// The flag is one byte; its neighbours in the word are request_interrupt_window
	// (never used here) and padding. Go has no atomic byte store.
	return (*uint32)(unsafe.Pointer(&c.run[0]))
}

// RequestExit makes the current or next Run end with EINTR, once the thread
// that runs it is signalled. It may be called from any goroutine.
func (c *VCPU) RequestExit() { atomic.StoreUint32(c.immediateExit(), 1<<(8*runImmediateExit)) }

// ClearExitRequest undoes RequestExit.
func (c *VCPU) ClearExitRequest() { atomic.StoreUint32(c.immediateExit(), 0) }

// ExitReason says why Run came back.
func (c *VCPU) ExitReason() ExitReason {
	return *(*ExitReason)(unsafe.Pointer(&c.run[runExitReason]))
}

// IOPort is the port of an ExitIO.
func (c *VCPU) IOPort() uint16 { return *(*uint16)(unsafe.Pointer(&c.run[runIOPort])) }

// GetSregs reads the special registers into Sregs.
func (c *VCPU) GetSregs() error {
	_, err := ioctlPointer(c.fd, "KVM_GET_SREGS", ioGetSregs, unsafe.Pointer(c.Sregs))
	return err
}

// SetSregs loads the special registers from Sregs.
func (c *VCPU) SetSregs() error {
	_, err := ioctlPointer(c.fd, "KVM_SET_SREGS", ioSetSregs, unsafe.Pointer(c.Sregs))
	return err
}

type msrTable struct {
	n, _    uint32
	entries [16]MSR
}

// SetMSRs writes model specific registers, at most 16.
func (c *VCPU) SetMSRs(msrs ...MSR) error {
	t := msrTable{n: uint32(len(msrs))}
	if copy(t.entries[:], msrs) != len(msrs) {
		return fmt.Errorf("KVM_SET_MSRS: %d registers in one call", len(msrs))
	}
	n, err := ioctlPointer(c.fd, "KVM_SET_MSRS", ioSetMSRs, unsafe.Pointer(&t))
	if err == nil && n != len(msrs) {
		err = fmt.Errorf("KVM_SET_MSRS: register %#x was refused", msrs[n].Index)
	}
	return err
}

// SetCPUID gives the guest its CPUID leaves.
func (c *VCPU) SetCPUID(entries []CPUIDEntry) error {
	t := &cpuidTable{n: uint32(len(entries))}
	if copy(t.entries[:], entries) != len(entries) {
		return fmt.Errorf("KVM_SET_CPUID2: %d entries", len(entries))
	}
	_, err := ioctlPointer(c.fd, "KVM_SET_CPUID2", ioSetCPUID2, unsafe.Pointer(t))
	return err
}

// SetXCR0 sets the extended state that the guest may use.
func (c *VCPU) SetXCR0(v uint64) error {
	var x struct {
		n, flags uint32
		xcrs     [16]struct {
			xcr, _ uint32
			value  uint64
		}
		_ [16]uint64
	}
	x.n, x.xcrs[0].value = 1, v
	_, err := ioctlPointer(c.fd, "KVM_SET_XCRS", ioSetXCRs, unsafe.Pointer(&x))
	return err
}

// GetXSave reads the vector and floating point state into area.
func (c *VCPU) GetXSave(area *[XSaveSize]byte) error {
	_, err := ioctlPointer(c.fd, "KVM_GET_XSAVE", ioGetXSave, unsafe.Pointer(area))
	return err
}

// SetXSave loads the vector and floating point state from area. KVM refuses a
// header that names features outside XCR0.
func (c *VCPU) SetXSave(area *[XSaveSize]byte) error {
	_, err := ioctlPointer(c.fd, "KVM_SET_XSAVE", ioSetXSave, unsafe.Pointer(area))
	return err
}

// vcpuEvents is struct kvm_vcpu_events.
type vcpuEvents struct {
	injected, nr, hasErrorCode, pending uint8 // exception
	_                                   [60]byte
}

// ExceptionPending reports whether KVM still has to deliver an exception to the
// guest: the last Run was cut short between the instruction that caused it and
// the guest's handler. When there is none, the next Run must load the registers.
//
// KVM does not tell of INT3 (kvm_vcpu_ioctl_x86_get_vcpu_events), on the ground that
// the instruction is yet to be executed. That does not hold where KVM emulates the
// exception (PVM): the instruction pointer is behind it already. The vector is told
// all the same, that of the last exception KVM has dealt with, also when that was
// delivered long ago: so ForgetException must follow each delivery of INT3.
func (c *VCPU) ExceptionPending() (bool, error) {
	var e vcpuEvents
	_, err := ioctlPointer(c.fd, "KVM_GET_VCPU_EVENTS", ioGetVCPUEvents, unsafe.Pointer(&e))
	return e.injected|e.pending != 0 || e.nr == vecBreakpoint, err
}

// ForgetException has KVM forget the last exception. The vCPU has none pending, and no
// interrupt either, as where there is no interrupt controller.
func (c *VCPU) ForgetException() error {
	var e vcpuEvents
	_, err := ioctlPointer(c.fd, "KVM_SET_VCPU_EVENTS", ioSetVCPUEvents, unsafe.Pointer(&e))
	return err
}

// vecBreakpoint is the vector of INT3.
const vecBreakpoint = 3

// TSCKHz returns the frequency of the guest's time stamp counter in kHz.
func (c *VCPU) TSCKHz() (int, error) { return ioctl(c.fd, "KVM_GET_TSC_KHZ", ioGetTSCKHz, 0) }

// IOOut reports whether an ExitIO was an OUT.
func (c *VCPU) IOOut() bool { return c.run[runIODirection] == 1 }

// SetTSCOffset sets what is added to the host's time stamp counter to give the
// guest's (KVM_VCPU_TSC_OFFSET, Linux 5.16).
func (c *VCPU) SetTSCOffset(offset int64) error {
	// The kernel is given the address of the value as a number: it must not move.
	value := new(int64)
	*value = offset
	var pinner runtime.Pinner
	pinner.Pin(value)
	defer pinner.Unpin()
	a := struct {
		flags, group uint32
		attr, addr   uint64
	}{addr: uint64(uintptr(unsafe.Pointer(value)))}
	_, err := ioctlPointer(c.fd, "KVM_SET_DEVICE_ATTR(KVM_VCPU_TSC_OFFSET)", ioSetDeviceAttr, unsafe.Pointer(&a))
	return err
}
