// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	kvmapi "kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/platform/kvm"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Whatever a program puts into a signal frame, KVM takes the state that is left
// of it.
func TestSanitizeFPOnKVM(t *testing.T) {
	p, err := kvm.Open()
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) && os.Getenv("VMEXEC_REQUIRE_KVM") == "" {
		t.Skipf("KVM is not available: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	mem, err := guestmem.New(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	space, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.NewMachine(mem, space.Root())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := m.Bind(); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	c := &platform.Context{FP: new([kvmapi.XSaveSize]byte)}
	for i := range 300 {
		for j := range c.FP {
			c.FP[j] = byte(r.Uint32())
			if i == 0 {
				c.FP[j] = 0xff
			}
		}
		if i != 0 && checkFP(c.FP, true, p.Features().XCR0) {
			t.Errorf("state %d: a random header was taken", i)
		}
		le := binary.LittleEndian
		le.PutUint32(c.FP[fpMXCSR:], le.Uint32(c.FP[fpMXCSR:])&mxcsrMask)
		features := le.Uint64(c.FP[fpHeader:]) & p.Features().XCR0
		clear(c.FP[fpHeader : fpHeader+64])
		le.PutUint64(c.FP[fpHeader:], features)
		if !checkFP(c.FP, i%4 != 3, p.Features().XCR0) {
			t.Fatalf("state %d was refused", i)
		}
		m.LoadFP(c)
		// A routine of the monitor that uses no vector instruction.
		c.Regs.RIP, c.Regs.RFLAGS = x86.TSCProbeVA, 0x202
		exit, err := m.Run(c)
		for err == nil && exit.Kind == platform.ExitKick {
			exit, err = m.Run(c)
		}
		if err != nil || exit.Kind != platform.ExitSyscall {
			t.Fatalf("state %d: %+v, %v", i, exit, err)
		}
	}
}
