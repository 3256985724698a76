// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl numbers carry the size of their structure in bits 16 to 29.
func TestIoctlSizes(t *testing.T) {
	for _, c := range []struct {
		name string
		req  uintptr
		size uintptr
	}{
		{"KVM_GET_SREGS", ioGetSregs, unsafe.Sizeof(Sregs{})},
		{"KVM_SET_SREGS", ioSetSregs, unsafe.Sizeof(Sregs{})},
		{"KVM_GET_VCPU_EVENTS", ioGetVCPUEvents, unsafe.Sizeof(vcpuEvents{})},
		{"KVM_GET_XSAVE", ioGetXSave, XSaveSize},
		{"KVM_SET_XSAVE", ioSetXSave, XSaveSize},
		{"KVM_SET_VCPU_EVENTS", ioSetVCPUEvents, unsafe.Sizeof(vcpuEvents{})},
		{"KVM_SET_MSRS", ioSetMSRs, unsafe.Offsetof(msrTable{}.entries)},
		{"KVM_SET_CPUID2", ioSetCPUID2, unsafe.Offsetof(cpuidTable{}.entries)},
		{"KVM_GET_SUPPORTED_CPUID", ioGetSupportedCPUID, unsafe.Offsetof(cpuidTable{}.entries)},
		{"KVM_SET_USER_MEMORY_REGION", ioSetUserMemory, 32},
		{"KVM_SET_DEVICE_ATTR", ioSetDeviceAttr, 24},
		{"KVM_SET_XCRS", ioSetXCRs, 392},
	} {
		if got := c.req >> 16 & 0x3fff; got != c.size {
			t.Errorf("%s: %d bytes, want %d", c.name, c.size, got)
		}
	}
	// kvm_valid_regs and kvm_dirty_regs stand before the union of 2048 bytes.
	if runValidRegs+8 != runDirtyRegs || runDirtyRegs+8 != runRegs || runSregs-runRegs != unsafe.Sizeof(Regs{}) {
		t.Error("the offsets in struct kvm_run do not fit together")
	}
}

func openSystem(t *testing.T) *System {
	t.Helper()
	s, err := Open()
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) && os.Getenv("VMEXEC_REQUIRE_KVM") == "" {
		t.Skipf("KVM is not available: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestVCPU(t *testing.T) {
	s := openSystem(t)
	vm, err := s.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	c, err := vm.CreateVCPU(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(c.Close(), vm.Close()); err != nil {
			t.Error(err)
		}
	}()
	supported, err := s.SupportedCPUID()
	if err != nil || len(supported) == 0 {
		t.Fatalf("%d leaves, %v", len(supported), err)
	}
	if err := c.SetCPUID(supported); err != nil {
		t.Fatal(err)
	}
	if err := c.SetCPUID(make([]CPUIDEntry, MaxCPUID+1)); err == nil {
		t.Error("more leaves than fit were taken")
	}
	if err := c.SetMSRs(make([]MSR, 17)...); err == nil {
		t.Error("more registers than fit were taken")
	}
	if err := c.SetXCR0(3); err != nil {
		t.Fatal(err)
	}
	const ioGetXCRs = 0x8188aea6
	var x [392]byte
	if _, err := ioctlPointer(c.fd, "KVM_GET_XCRS", ioGetXCRs, unsafe.Pointer(&x)); err != nil {
		t.Fatal(err)
	}
	if n, xcr0 := *(*uint32)(unsafe.Pointer(&x)), *(*uint64)(unsafe.Pointer(&x[16])); n != 1 || xcr0 != 3 {
		t.Errorf("%d registers, XCR0 %#x", n, xcr0)
	}
	var area [XSaveSize]byte
	if err := c.GetXSave(&area); err != nil {
		t.Fatal(err)
	}
	if err := c.SetXSave(&area); err != nil {
		t.Error(err)
	}
	area[512+8] = 1 // XCOMP_BV: KVM takes the standard format only
	if err := c.SetXSave(&area); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a compacted area: %v", err)
	}
	if pending, err := c.ExceptionPending(); pending || err != nil {
		t.Errorf("a new processor: exception pending %v, %v", pending, err)
	}
	e := vcpuEvents{nr: vecBreakpoint}
	if _, err := ioctlPointer(c.fd, "KVM_SET_VCPU_EVENTS", ioSetVCPUEvents, unsafe.Pointer(&e)); err != nil {
		t.Fatal(err)
	}
	if pending, err := c.ExceptionPending(); !pending || err != nil {
		t.Errorf("INT3: exception pending %v, %v", pending, err)
	}
	if err := c.ForgetException(); err != nil {
		t.Error(err)
	}
	if pending, err := c.ExceptionPending(); pending || err != nil {
		t.Errorf("after INT3: exception pending %v, %v", pending, err)
	}
	c.RequestExit()
	if errno := c.Run(0); errno != unix.EINTR {
		t.Errorf("a run with an exit requested: %v", errno)
	}
	c.ClearExitRequest()
	if err := vm.SetMemory(0, 0, make([]byte, 100)); err == nil {
		t.Error("a slot that is not a page was taken")
	}
}

func TestExitReasonString(t *testing.T) {
	if s := ExitShutdown.String(); s != "SHUTDOWN (triple fault)" {
		t.Error(s)
	}
	if s := ExitReason(99).String(); s != "exit reason 99" {
		t.Error(s)
	}
}
