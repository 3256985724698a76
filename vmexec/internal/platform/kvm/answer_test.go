// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// answerCode makes the call, notes OF in RBX and the other status flags in AH, and
// exits.
var answerCode = []byte{0x0f, 0x05, 0x0f, 0x90, 0xc3, 0x9f, 0xe6, x86.PortSyscall}

// afterCall is where the program goes on after the call, and afterAll after the exit.
const (
	afterCall = codeVA + 2
	room      = 100
)

// answerCall is a call that the stub may be asked.
type answerCall struct {
	name  string
	nr    uint64
	args  [4]uint64 // RDI, RSI, RDX, R10
	flags uint64
	want  x86.Answers // none: an exit
	ret   uint64
}

func answerMachine(t *testing.T) (*machine, *platform.Context, *[abi.StatSize]byte) {
	t.Helper()
	m, c := newMachine(t, answerCode...)
	if !m.p.features.Answers {
		t.Skip("the stub answers nothing on this machine")
	}
	var stat [abi.StatSize]byte
	for i := range stat {
		stat[i] = byte(i + 1)
	}
	x86.AnswerStatWith(m.control(), &stat)
	return m, c, &stat
}

// set prepares the registers of a call.
func (a *answerCall) set(c *platform.Context) {
	c.Regs = kvm.Regs{
		RAX: a.nr, RDI: a.args[0], RSI: a.args[1], RDX: a.args[2], R10: a.args[3], RBX: 77, RCX: 1, R11: 2,
		R8: 8, R9: 9, R12: 12, R13: 13, R14: 14, R15: 15, RBP: 5, RSP: 0x1234, RIP: codeVA, RFLAGS: 0x202 | a.flags,
	}
}

// kept returns a's registers as they are after it, but for RAX, RBX and what
// SYSCALL changes.
func (a *answerCall) kept() kvm.Regs {
	var c platform.Context
	a.set(&c)
	c.Regs.RAX, c.Regs.RBX, c.Regs.RCX, c.Regs.R11, c.Regs.RIP, c.Regs.RFLAGS = 0, 0, 0, 0, 0, 0
	return c.Regs
}

func runAnswer(t *testing.T, m *machine, c *platform.Context) platform.Exit {
	t.Helper()
	for {
		e, err := m.Run(c)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != platform.ExitKick {
			return e
		}
	}
}

const statusFlags = 0x8d5 // OF SF ZF AF PF CF

func answerCalls() []answerCall {
	const (
		fstatat = unix.SYS_NEWFSTATAT
		empty   = unix.AT_EMPTY_PATH
		path    = dataVA + 1000 // zeros
		none    = 0x60_0000
		ctl     = x86.ControlVA
		far     = uint64(1) << 63
	)
	data := x86.Answers{Writes: 1, Captured: []byte("data")}
	calls := []answerCall{
		{name: "read", nr: 0, args: [4]uint64{0, dataVA, 10}, want: x86.Answers{Reads: 1}},
		{name: "read upper bits of the descriptor", nr: 0, args: [4]uint64{far, dataVA, 10}, want: x86.Answers{Reads: 1}},
		{name: "read to the end of addresses", nr: 0, args: [4]uint64{0, dataVA, ctl - dataVA}, want: x86.Answers{Reads: 1}},
		{name: "read beyond", nr: 0, args: [4]uint64{0, dataVA, ctl - dataVA + 1}},
		{name: "read far", nr: 0, args: [4]uint64{0, far, 10}},
		{name: "read wraps", nr: 0, args: [4]uint64{0, dataVA, ^uint64(0)}},
		{name: "read 1", nr: 0, args: [4]uint64{1, dataVA, 10}},
		{name: "write", nr: 1, args: [4]uint64{1, dataVA, 4}, ret: 4, want: data},
		{name: "write fills the room", nr: 1, args: [4]uint64{1, dataVA, room}, ret: room, want: x86.Answers{Writes: 1, Captured: append([]byte("data"), make([]byte, room-4)...)}},
		{name: "write more than the room", nr: 1, args: [4]uint64{1, dataVA, room + 1}},
		{name: "write 2³²+4", nr: 1, args: [4]uint64{1, dataVA, 1<<32 + 4}},
		{name: "write nothing", nr: 1, args: [4]uint64{1, dataVA, 0}},
		{name: "write 2", nr: 1, args: [4]uint64{2, dataVA, 4}},
		{name: "write unmapped", nr: 1, args: [4]uint64{1, none, 4}},
		{name: "write half unmapped", nr: 1, args: [4]uint64{1, dataVA + 4094, 4}},
		{name: "write far", nr: 1, args: [4]uint64{1, far, 4}},
		{name: "write control area", nr: 1, args: [4]uint64{1, ctl, 4}},
		{name: "write scratch", nr: 1, args: [4]uint64{1, x86.ScratchVA + 64, 4}},
		{name: "fstat", nr: 5, args: [4]uint64{1, dataVA + 200}, want: x86.Answers{Fstats: 1}},
		{name: "fstat 0", nr: 5, args: [4]uint64{0, dataVA + 200}},
		{name: "fstat unmapped", nr: 5, args: [4]uint64{1, none}},
		{name: "fstat half unmapped", nr: 5, args: [4]uint64{1, dataVA + 4090}},
		{name: "fstat read-only", nr: 5, args: [4]uint64{1, codeVA + 100}},
		{name: "fstat far", nr: 5, args: [4]uint64{1, far}},
		{name: "fstat into GDT", nr: 5, args: [4]uint64{1, x86.GDTBase}},
		{name: "fstat into scratch", nr: 5, args: [4]uint64{1, x86.ScratchVA}},
		{name: "newfstatat", nr: fstatat, args: [4]uint64{1, path, dataVA + 200, empty}, want: x86.Answers{Newfstatats: 1}},
		{name: "newfstatat without flag", nr: fstatat, args: [4]uint64{1, path, dataVA + 200, 0}},
		{name: "newfstatat with path", nr: fstatat, args: [4]uint64{1, dataVA, dataVA + 200, empty}},
		{name: "newfstatat without path", nr: fstatat, args: [4]uint64{1, 0, dataVA + 200, empty}},
		{name: "newfstatat far path", nr: fstatat, args: [4]uint64{1, far, dataVA + 200, empty}},
		{name: "newfstatat path in the control area", nr: fstatat, args: [4]uint64{1, x86.ScratchVA + 100, dataVA + 200, empty}},
		{name: "newfstatat unmapped", nr: fstatat, args: [4]uint64{1, path, none, empty}},
		{name: "newfstatat 0", nr: fstatat, args: [4]uint64{0, path, dataVA + 200, empty}},
		{name: "getpid", nr: 39},
		{name: "2³²", nr: 1 << 32, args: [4]uint64{0, dataVA, 10}},
		{name: "2³²+1", nr: 1<<32 + 1, args: [4]uint64{1, dataVA, 4}},
	}
	for _, fl := range []uint64{1 << 10, 1 << 18} { // DF, AC
		calls = append(calls, answerCall{name: fmt.Sprintf("write, flags %#x", fl), nr: 1, args: [4]uint64{1, dataVA, 4}, flags: fl})
	}
	for _, fl := range []uint64{statusFlags, 1, 4, 0x10, 0x40, 0x80, 0x800, 1 << 21} {
		calls = append(calls,
			answerCall{name: fmt.Sprintf("read, flags %#x", fl), nr: 0, args: [4]uint64{0, dataVA, 10}, flags: fl, want: x86.Answers{Reads: 1}},
			answerCall{name: fmt.Sprintf("write, flags %#x", fl), nr: 1, args: [4]uint64{1, dataVA, 4}, flags: fl, ret: 4, want: data})
	}
	return calls
}

// TestAnswers holds that the stub answers what it should, that everything else is an
// exit, and that either way the program's registers and flags are untouched.
func TestAnswers(t *testing.T) {
	m, c, stat := answerMachine(t)
	for _, call := range answerCalls() {
		for _, armed := range []uint32{0, x86.AnswerEnd | x86.AnswerWrite | x86.AnswerStat} {
			t.Run(fmt.Sprintf("%s/%d", call.name, armed), func(t *testing.T) {
				x86.ArmAnswers(m.control(), armed, room)
				call.set(c)
				if e := runAnswer(t, m, c); e.Kind != platform.ExitSyscall {
					t.Fatalf("%+v at %#x", e, c.Regs.RIP)
				}
				got := x86.TakeAnswers(m.control(), room)
				want, rax := call.want, call.nr
				answered := armed != 0 && want.Reads+want.Writes+want.Fstats+want.Newfstatats > 0
				if !answered {
					want = x86.Answers{}
				}
				if d := cmp.Diff(want, got, cmp.Transformer("text", func(b []byte) string { return string(b) })); d != "" {
					t.Errorf("answers (-want +got):\n%s", d)
				}
				r := c.Regs
				if r.R11&^0x202 != call.flags || r.RCX != afterCall {
					t.Errorf("R11 %#x, RCX %#x", r.R11, r.RCX)
				}
				if answered {
					rax = call.ret&0xff | (call.flags&0xff|2)<<8
					if r.RBX != call.flags>>11&1 {
						t.Errorf("OF is %d", r.RBX)
					}
				} else if r.RBX != 77 || r.RIP != afterCall {
					t.Errorf("RBX %d, RIP %#x", r.RBX, r.RIP)
				}
				if r.RAX != rax {
					t.Errorf("RAX %#x, want %#x", r.RAX, rax)
				}
				r.RAX, r.RBX, r.RCX, r.R11, r.RIP, r.RFLAGS = 0, 0, 0, 0, 0, 0
				if d := cmp.Diff(call.kept(), r); d != "" {
					t.Errorf("registers (-want +got):\n%s", d)
				}
				if answered && strings.Contains(call.name, "stat") {
					page := m.page(t)
					if !bytes.Equal(page[200:200+abi.StatSize], stat[:]) {
						t.Error("the structure is another one")
					}
					clear(page[8 : 8+abi.StatSize])
				}
			})
		}
	}
}

// page returns the page at dataVA.
func (m *machine) page(t *testing.T) []byte {
	t.Helper()
	gpa := m.root
	for shift := 39; shift >= 12; shift -= 9 {
		gpa = m.mem.Words(gpa)[dataVA>>shift&511] & x86.PTEAddr
	}
	if gpa == 0 {
		t.Fatal("the page is not mapped")
	}
	return m.mem.Page(gpa)
}

// stubLengths are the lengths of the stub's instructions.
var stubLengths = []int{
	4, 2, 6, 6, 2, 4, 2, 2, 1, 7, 2, 2, 2, 7, 2, 10, 3, 2, 3, 2, 6, 5, 2, 2, 7, 2, 3, 2, 7, 2, 7, 7, 7, 3, 2, 7, 2, 3, 2, 7, 6, 7, 6, 7, 7, 7, 10,
	3, 2, 3, 2, 3, 10, 3, 2, 7, 5, 3, 7, 7, 7, 2, 2, 6, 5, 6, 5, 7, 7, 7, 5, 7, 6, 3, 6, 3, 6, 7, 6, 7, 7, 7, 6, 6, 2, 2, 3, 2, 10, 3, 2, 3, 2, 7, 3,
	2, 2, 7, 7, 7, 5, 4, 3, 7, 2, 2, 2, 3, 3, 3, 3, 5, 3, 2, 1, 3, 2, 5, 5, 2, 2, 2, 2, 3, 3, 3, 5, 3, 2, 1, 5, 2,
}

// TestAnswerInterrupted stops the stub before each of its instructions, and holds
// that what is found there is either the call as the program made it, with nothing
// done, or its result, with all of it done.
func TestAnswerInterrupted(t *testing.T) {
	m, c, _ := answerMachine(t)
	stub := m.control()[x86.SyscallStubVA-x86.ControlVA:]
	const stop = x86.PortException + 31
	seen := 0
	for i, at := 0, 0; i < len(stubLengths); i, at = i+1, at+stubLengths[i] {
		for _, call := range answerCalls() {
			x86.ArmAnswers(m.control(), x86.AnswerEnd|x86.AnswerWrite|x86.AnswerStat, room)
			old := [2]byte(stub[at:])
			copy(stub[at:], []byte{0xe6, stop})
			call.set(c)
			runAnswer(t, m, c)
			stopped := m.vcpu.ExitReason() == kvm.ExitIO && m.vcpu.IOPort() == stop
			copy(stub[at:], old[:])
			c.Regs = *m.vcpu.Regs
			stage := x86.StubNone
			if stopped {
				stage = m.interrupted(c, x86.SyscallStubVA+uint64(at))
			}
			got := x86.TakeAnswers(m.control(), room)
			if !stopped {
				continue
			}
			seen++
			want, rax := x86.Answers{}, call.nr
			switch stage {
			case x86.StubDone:
				want, rax = call.want, call.ret
			case x86.StubBegun, x86.StubTries:
			case x86.StubNone:
				t.Fatalf("offset %#x is not in the stub", at)
			}
			if d := cmp.Diff(want, got, cmp.Transformer("text", func(b []byte) string { return string(b) })); d != "" {
				t.Errorf("%s at %#x, stage %d: answers (-want +got):\n%s", call.name, at, stage, d)
			}
			r := c.Regs
			if r.RAX != rax || r.RCX != afterCall || r.R11&^0x202 != call.flags {
				t.Errorf("%s at %#x, stage %d: RAX %#x, want %#x; RCX %#x; R11 %#x", call.name, at, stage, r.RAX, rax, r.RCX, r.R11)
			}
			r.RAX, r.RBX, r.RCX, r.R11, r.RIP, r.RFLAGS = 0, 0, 0, 0, 0, 0
			if d := cmp.Diff(call.kept(), r); d != "" {
				t.Errorf("%s at %#x: registers (-want +got):\n%s", call.name, at, d)
			}
		}
	}
	if seen < 500 {
		t.Errorf("stopped %d times only", seen)
	}
}
