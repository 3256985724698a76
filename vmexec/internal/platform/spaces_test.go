// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package platform_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	kvmplatform "kontain.dev/eventing/vmexec/internal/platform/kvm"
	"kontain.dev/eventing/vmexec/internal/platform/ptrace"
	"kontain.dev/eventing/vmexec/internal/x86"
)

const (
	codeVA = 0x40_0000
	dataVA = 0x1_0000_0000
	pages  = 8
)

// peekPoke loads rax from [rdi] when rsi is 0, stores rdx there otherwise, and
// makes a system call.
var peekPoke = []byte{
	0x48, 0x85, 0xf6, //       test rsi, rsi
	0x75, 0x05, //             jnz store
	0x48, 0x8b, 0x07, //       mov rax, [rdi]
	0x0f, 0x05, //             syscall
	0x48, 0x89, 0x17, // store: mov [rdi], rdx
	0x0f, 0x05, //             syscall
}

// guest runs code in several address spaces of one machine.
type guest struct {
	t   *testing.T
	mem *guestmem.Memory
	m   platform.Machine
	c   map[*mm.MM]*platform.Context
}

// access makes the guest read or write the word at va.
func (g *guest) access(s *mm.MM, va, write, value uint64) uint64 {
	g.t.Helper()
	c := g.c[s]
	if c == nil {
		c = &platform.Context{FP: new([kvm.XSaveSize]byte), Root: s.Root()}
		g.c[s] = c
	}
	c.Regs = kvm.Regs{RIP: codeVA, RFLAGS: 0x202, RDI: va, RSI: write, RDX: value}
	for {
		e, err := g.m.Run(c)
		switch {
		case err != nil:
			g.t.Fatal(err)
		case e.Kind == platform.ExitKick:
		case e.Kind == platform.ExitSyscall:
			return c.Regs.RAX
		case e.Kind == platform.ExitException && e.Vector == x86.VecPageFault:
			if k := s.Fault(e.Addr, e.ErrorCode&x86.FaultWrite != 0, e.ErrorCode&x86.FaultFetch != 0); k != mm.FaultServed {
				g.t.Fatalf("fault %d at %#x, %v", k, e.Addr, s.Err())
			}
		default:
			g.t.Fatalf("%+v", e)
		}
	}
}

func onPlatforms(t *testing.T, f func(t *testing.T, p platform.Platform)) {
	for _, c := range []struct {
		name, require string
		open          func() (platform.Platform, error)
	}{
		{"kvm", "VMEXEC_REQUIRE_KVM", func() (platform.Platform, error) { return kvmplatform.Open() }},
		{"ptrace", "VMEXEC_REQUIRE_PTRACE", func() (platform.Platform, error) { return ptrace.Open() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := c.open()
			var u *platform.Unavailable
			if errors.As(err, &u) && os.Getenv(c.require) == "" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			f(t, p)
		})
	}
}

func newGuest(t *testing.T, p platform.Platform) (*guest, *mm.MM) {
	t.Helper()
	newMemory := guestmem.New
	if p.Features().SharedMemory {
		newMemory = guestmem.NewShared
	}
	mem, err := newMemory(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	s, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	if errno := s.Map(mm.VMA{Start: codeVA, End: codeVA + 4096, Prot: mm.Read | mm.Exec}); errno != 0 {
		t.Fatal(errno)
	}
	if err := s.Poke(codeVA, peekPoke); err != nil {
		t.Fatal(err)
	}
	if errno := s.Map(mm.VMA{Start: dataVA, End: dataVA + pages*4096, Prot: mm.Read | mm.Write}); errno != 0 {
		t.Fatal(errno)
	}
	m, err := p.NewMachine(mem, s.Root())
	if err != nil {
		t.Fatal(err)
	}
	s.Spaces().OnEnd(m.DropRoot)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	t.Cleanup(func() { _ = m.Close() })
	if err := m.Bind(); err != nil {
		t.Fatal(err)
	}
	return &guest{t: t, mem: mem, m: m, c: map[*mm.MM]*platform.Context{}}, s
}

// What a process writes after a fork is seen by itself alone, whoever writes
// first, and whether the processor or the monitor does.
func TestForkSeparates(t *testing.T) {
	onPlatforms(t, func(t *testing.T, p platform.Platform) {
		g, a := newGuest(t, p)
		g.access(a, dataVA, 1, 1)
		g.access(a, dataVA+4096, 1, 2)
		b, errno := a.Fork()
		if errno != 0 {
			t.Fatal(errno)
		}
		for i, want := range []uint64{1, 2} {
			for _, s := range []*mm.MM{a, b} {
				if v := g.access(s, dataVA+4096*uint64(i), 0, 0); v != want {
					t.Errorf("page %d after the fork: %d", i, v)
				}
			}
		}
		g.access(a, dataVA, 1, 10)
		g.access(b, dataVA+4096, 1, 20)
		for _, c := range []struct {
			s         *mm.MM
			page, now uint64
		}{{a, 0, 10}, {b, 0, 1}, {a, 1, 2}, {b, 1, 20}} {
			if v := g.access(c.s, dataVA+4096*c.page, 0, 0); v != c.now {
				t.Errorf("page %d: %d, want %d", c.page, v, c.now)
			}
		}
		if errno := b.CopyOutU64(dataVA, 30); errno != 0 {
			t.Fatal(errno)
		}
		if v, w := g.access(a, dataVA, 0, 0), g.access(b, dataVA, 0, 0); v != 10 || w != 30 {
			t.Errorf("after the monitor wrote: %d and %d", v, w)
		}
		b.Release()
		if v := g.access(a, dataVA+4096, 0, 0); v != 2 {
			t.Errorf("after the child's end: %d", v)
		}
	})
}

// Address spaces come and go, and their page tables are used again: no
// translation of an earlier one is ever seen.
func TestSpacesAreReused(t *testing.T) {
	onPlatforms(t, func(t *testing.T, p platform.Platform) {
		rounds := 600
		if testing.Short() {
			rounds = 100
		}
		g, first := newGuest(t, p)
		rnd := rand.New(rand.NewPCG(1, 2))
		model := map[*mm.MM]*[pages]uint64{first: {}}
		live := []*mm.MM{first}
		used := g.mem.Used()
		for i := range rounds {
			if n := rnd.IntN(len(live)); len(live) < 2 || rnd.IntN(2) == 0 && len(live) < 24 {
				c, errno := live[n].Fork()
				if errno != 0 {
					t.Fatal(errno)
				}
				values := *model[live[n]]
				model[c] = &values
				live = append(live, c)
				if rnd.IntN(3) == 0 { // other pages where the parent has some
					if errno := c.Map(mm.VMA{Start: dataVA, End: dataVA + pages*4096, Prot: mm.Read | mm.Write}); errno != 0 {
						t.Fatal(errno)
					}
					values = [pages]uint64{}
				}
			} else if n > 0 {
				live[n].Release()
				delete(g.c, live[n])
				live = append(live[:n], live[n+1:]...)
			}
			for range 12 {
				s, n := live[rnd.IntN(len(live))], rnd.IntN(pages)
				va := dataVA + 4096*uint64(n)
				switch rnd.IntN(3) {
				case 0:
					model[s][n] = rnd.Uint64()
					g.access(s, va, 1, model[s][n])
				case 1:
					if v, errno := s.CopyInU64(va); errno != 0 || v != model[s][n] {
						t.Fatalf("round %d: the monitor reads %#x, %v, want %#x", i, v, errno, model[s][n])
					}
				default:
					if v := g.access(s, va, 0, 0); v != model[s][n] {
						t.Fatalf("round %d: page %d of space %#x reads %#x, want %#x", i, n, s.Root(), v, model[s][n])
					}
				}
			}
		}
		for _, s := range live[1:] {
			s.Release()
		}
		if g.mem.Used() > used+pages {
			t.Errorf("%d pages in use, %d at first", g.mem.Used(), used)
		}
	})
}
