// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"math/rand/v2"
	"testing"
	"time"

	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// traps are instructions that raise exceptions. Each is done again and again by two
// threads, which count their rounds in RBX.
var traps = []struct {
	name   string
	code   []byte
	vector int
	after  bool   // the exception comes after the instruction, not in its stead
	addr   uint64 // of a page fault
}{
	{name: "breakpoint", code: []byte{0xcc}, vector: x86.VecBreakpoint, after: true},
	{name: "divide", code: []byte{0xf7, 0xf1}, vector: x86.VecDivide}, // div ecx, which is 0
	{name: "undefined", code: []byte{0x0f, 0x0b}, vector: x86.VecInvalidOp},
	{name: "privileged", code: []byte{0xfa}, vector: x86.VecProtection},
	{name: "page", code: []byte{0x8a, 0x04, 0x25, 0x34, 0x12, 0, 0}, vector: x86.VecPageFault, addr: 0x1234},
	{name: "write to a page to be read", code: []byte{0x88, 0x04, 0x25, 0xf0, 0, 0x40, 0}, vector: x86.VecPageFault, addr: codeVA + 0xf0},
}

// TestKickedExceptions holds that a kick at any moment between an instruction that
// raises an exception and the exit of its stub neither loses the exception nor
// doubles it nor gives it to another thread: two threads that do nothing else change
// places at every kick, and each must exit exactly once a round.
func TestKickedExceptions(t *testing.T) {
	const (
		rounds = 2000                   // of each thread
		most   = 100 * time.Microsecond // to the next kick: longer than an exception takes, mostly
	)
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			code := append([]byte{0x48, 0xff, 0xc3}, trap.code...) // inc rbx
			m, first := newMachine(t, code...)
			threads := [2]*platform.Context{first, {FP: new([kvm.XSaveSize]byte)}}
			at := uint64(codeVA + 3)
			if trap.after {
				at += uint64(len(trap.code))
			}
			for i, c := range threads {
				c.Regs = kvm.Regs{RIP: codeVA, RFLAGS: 0x202, RSP: 0x7000 + uint64(i), R15: uint64(i)}
			}
			var seen [2]uint64
			kicks, within := 0, 0
			for i := 0; seen[0] < rounds || seen[1] < rounds; {
				c := threads[i]
				if rand.N(8) == 0 {
					m.Kick()
				}
				if err := m.Timer(1+rand.Int64N(int64(most)), 0); err != nil {
					t.Fatal(err)
				}
				exit, err := m.Run(c)
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case exit.Kind == platform.ExitKick:
					kicks++
					i = 1 - i
					continue
				case exit.Kind != platform.ExitException || exit.Vector != trap.vector || trap.addr != 0 && exit.Addr != trap.addr:
					t.Fatalf("after %d rounds and %d kicks: %+v at %#x", seen[i], kicks, exit, c.Regs.RIP)
				}
				seen[i]++
				if c.Regs.RBX != seen[i] || c.Regs.RIP != at || c.Regs.RSP != 0x7000+uint64(i) || c.Regs.R15 != uint64(i) {
					t.Fatalf("thread %d, exception %d after %d kicks: round %d at %#x, want %#x; registers %+v", i, seen[i], kicks, c.Regs.RBX, c.Regs.RIP, at, c.Regs)
				}
				c.Regs.RIP = codeVA
				if m.kicked {
					within++
				}
			}
			t.Logf("%d exceptions, %d kicks, %d of them while an exception was on its way", seen[0]+seen[1], kicks, within)
		})
	}
}
