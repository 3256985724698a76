// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// A script is a guest program written in Go: its threads take turns in making
// system calls of a real kernel, on a machine that runs no instruction.
type script struct {
	t    *testing.T
	k    *task.Kernel
	runs map[*platform.Context]*guest
	used uint64       // of the guest's memory
	next func(*guest) // body of the thread that is being made
}

// guest is one thread of a script. It and the machine take turns.
type guest struct {
	*script
	c      *platform.Context
	turn   chan bool // from the machine: go on (true) or end
	called chan bool // to the machine: there is a call (true), or the thread has ended
	caught []int     // signals whose handler ran
}

// Addresses of a script: its memory, a SYSCALL instruction, a signal handler and
// what the handler returns to.
const (
	scriptMem     = 0x1000_0000
	scriptMemSize = 1 << 20
	scriptStack   = scriptMem + scriptMemSize - 256
	scriptCall    = 0x40_0000
	scriptHandler = 0x40_1000
	scriptReturn  = 0x40_2000
	scriptBadAddr = 0x10
)

// Numbers of calls that only scripts have.
const scriptSpawn = task.Calls - 1

// runScript runs body as the only thread of a program, with the given calls.
func runScript(t *testing.T, entries []Entry, body func(g *guest)) task.Outcome {
	t.Helper()
	mem, err := guestmem.New(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	space, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	if errno := space.Map(mm.VMA{Start: scriptMem, End: scriptMem + scriptMemSize, Prot: mm.Read | mm.Write}); errno != abi.OK {
		t.Fatal(errno)
	}
	s := &script{t: t, runs: map[*platform.Context]*guest{}}
	var table task.Table
	for _, e := range entries {
		if table[e.Nr] != nil {
			t.Errorf("%s: number %d is in the table twice", e.Name, e.Nr)
		}
		table[e.Nr] = e.Fn
	}
	table[unix.SYS_EXIT] = func(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
		t.Exit(0)
		return 0, abi.ENORETURN
	}
	table[unix.SYS_RT_SIGRETURN] = func(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
		t.SigReturn()
		return 0, abi.ENORETURN
	}
	table[scriptSpawn] = func(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
		n, errno := s.k.NewThread(t)
		if errno != abi.OK {
			return 0, errno
		}
		s.thread(n, s.next)
		return uint64(n.TID), abi.OK
	}
	s.k = task.New(task.Config{
		Table: &table, Memory: mem, MM: space, Machine: (*scriptMachine)(s),
		Features: platform.Features{XCR0: 3, XSaveSize: 576},
		Limits:   task.Limits{Threads: 16, Files: 64, Wall: time.Minute},
	})
	if s.k.FS, err = vfs.New(vfs.Config{}); err != nil {
		t.Fatal(err)
	}
	first := s.k.Init.Threads[0]
	g := s.thread(first, body)
	g.c.Regs.RSP = scriptStack
	out, err := s.k.Run(context.Background())
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, g := range s.runs {
		close(g.turn)
		<-g.called
	}
	s.k.CloseFiles()
	return out
}

func (s *script) thread(t *task.Thread, body func(*guest)) *guest {
	g := &guest{script: s, c: &t.Ctx, turn: make(chan bool), called: make(chan bool)}
	go func() {
		defer close(g.called)
		if <-g.turn {
			body(g)
		}
	}()
	s.runs[g.c] = g
	return g
}

// spawn starts another thread.
func (g *guest) spawn(body func(*guest)) int {
	g.next = body
	return int(g.call(scriptSpawn))
}

// call makes a system call: its result, or the negative errno.
func (g *guest) call(nr uint64, args ...uint64) int64 {
	r := &g.c.Regs
	regs := [6]*uint64{&r.RDI, &r.RSI, &r.RDX, &r.R10, &r.R8, &r.R9}
	for i, p := range regs {
		*p = 0
		if i < len(args) {
			*p = args[i]
		}
	}
	r.RAX = nr
	r.RIP = scriptCall
	g.called <- true
	if !<-g.turn {
		runtime.Goexit()
	}
	return int64(g.c.Regs.RAX)
}

// must makes a call that has to give want.
func (g *guest) must(want int64, nr uint64, args ...uint64) {
	g.t.Helper()
	if got := g.call(nr, args...); got != want {
		g.t.Errorf("call %d%v = %s, want %s", nr, args, result(got), result(want))
	}
}

// fails makes a call that has to fail.
func (g *guest) fails(want abi.Errno, nr uint64, args ...uint64) {
	g.t.Helper()
	g.must(-int64(want), nr, args...)
}

func result(v int64) string {
	if v < 0 && v > -4096 {
		return abi.Errno(-v).String()
	}
	return strconv.FormatInt(v, 10)
}

// alloc gives n bytes of guest memory.
func (g *guest) alloc(n int) uint64 {
	addr := scriptMem + g.used
	g.used += uint64(n+15) &^ 15
	return addr
}

// put places bytes in guest memory.
func (g *guest) put(b []byte) uint64 {
	addr := g.alloc(len(b))
	g.set(addr, b)
	return addr
}

func (g *guest) set(addr uint64, b []byte) {
	if errno := g.k.Init.MM.CopyOut(addr, b); errno != abi.OK {
		g.t.Fatalf("memory of the script at %#x: %v", addr, errno)
	}
}

func (g *guest) get(addr uint64, n int) []byte {
	b := make([]byte, n)
	if errno := g.k.Init.MM.CopyIn(addr, b); errno != abi.OK {
		g.t.Fatalf("memory of the script at %#x: %v", addr, errno)
	}
	return b
}

// handle gives a signal a handler, which notes it and returns.
func (g *guest) handle(sig unix.Signal, flags uint64) {
	const restorer = 0x0400_0000
	g.k.Init.SetAction(int(sig), task.SigAction{Handler: scriptHandler, Flags: flags | restorer, Restorer: scriptReturn})
}

type scriptMachine script

func (m *scriptMachine) Run(c *platform.Context) (platform.Exit, error) {
	g, r := m.runs[c], &c.Regs
	switch r.RIP {
	case scriptHandler:
		g.caught = append(g.caught, int(r.RDI))
		r.RSP += 8 // the handler's RET
		r.RIP, r.RAX = scriptReturn, unix.SYS_RT_SIGRETURN
	case scriptCall: // a call that is made again
	default:
		g.turn <- true
		if !<-g.called {
			r.RAX = unix.SYS_EXIT
			delete(m.runs, c)
		}
	}
	r.RIP += 2
	return platform.Exit{Kind: platform.ExitSyscall}, nil
}

func (m *scriptMachine) Bind() error                    { return nil }
func (m *scriptMachine) SaveFP(*platform.Context) error { return nil }
func (m *scriptMachine) LoadFP(*platform.Context)       {}
func (*scriptMachine) Reset() error                     { return nil }

func (m *scriptMachine) Forget(*platform.Context) {}
func (*scriptMachine) DropRoot(uint64)            {}
func (m *scriptMachine) Timer(int64, int64) error { return nil }
func (m *scriptMachine) Kick()                    {}
func (m *scriptMachine) Close() error             { return nil }
