// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Where the tests put code, data, read-only data and pages without rights.
const (
	codeVA = 0x10_0000
	dataVA = 0x20_0000
	roVA   = 0x30_0000
	noneVA = 0x40_0000
	nextVA = 0x50_0000 // where nothing is mapped
)

func open(t testing.TB) *Platform {
	t.Helper()
	p, err := Open()
	var missing *platform.Unavailable
	if errors.As(err, &missing) && os.Getenv("VMEXEC_REQUIRE_PTRACE") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// guest is a machine with memory, bound to the test's thread.
type guest struct {
	t   testing.TB
	p   *Platform
	mem *guestmem.Memory
	mm  *mm.MM
	m   *machine
	c   platform.Context
}

func newGuest(t testing.TB, code ...byte) *guest {
	t.Helper()
	g := &guest{t: t, p: open(t)}
	var err error
	if g.mem, err = guestmem.NewShared(64 << 20); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.mem.Close() })
	if g.mm, err = mm.New(g.mem); err != nil {
		t.Fatal(err)
	}
	g.mapPages(codeVA, 1, mm.Read|mm.Exec)
	g.mapPages(dataVA, 16, mm.Read|mm.Write)
	g.mapPages(roVA, 16, mm.Read)
	g.mapPages(noneVA, 16, 0)
	g.poke(codeVA, code...)
	m, err := g.p.NewMachine(g.mem, g.mm.Root())
	if err != nil {
		t.Fatal(err)
	}
	g.m = m.(*machine)
	runtime.LockOSThread()
	t.Cleanup(func() {
		if err := g.m.Close(); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
	if err := g.m.Bind(); err != nil {
		t.Fatal(err)
	}
	g.c = newContext()
	return g
}

func newContext() platform.Context {
	c := platform.Context{FP: new([kvm.XSaveSize]byte)}
	c.FP[0], c.FP[1], c.FP[24], c.FP[25] = 0x7f, 3, 0x80, 0x1f
	c.Regs.RIP, c.Regs.RSP, c.Regs.RFLAGS = codeVA, dataVA+0x1000, 0x202
	return c
}

func (g *guest) mapPages(va, n uint64, p mm.Prot) {
	g.t.Helper()
	if errno := g.mm.Map(mm.VMA{Start: va, End: va + n*pageSize, Prot: p}); errno != 0 {
		g.t.Fatal(errno)
	}
	g.mm.Prepare(va, va+n*pageSize)
}

func (g *guest) poke(va uint64, b ...byte) {
	g.t.Helper()
	if err := g.mm.Poke(va, b); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) run() platform.Exit {
	g.t.Helper()
	e, err := g.m.Run(&g.c)
	if err != nil {
		g.t.Fatal(err)
	}
	return e
}

func TestSyscall(t *testing.T) {
	g := newGuest(t,
		0xb8, 39, 0, 0, 0, // mov eax, 39
		0x0f, 0x05, //        syscall
		0x48, 0x89, 0xc3, //  mov rbx, rax
		0xcd, 0x80) //        int 0x80
	g.c.Regs.RDI, g.c.Regs.R9, g.c.FSBase = 1, 6, dataVA
	if e := g.run(); e.Kind != platform.ExitSyscall {
		t.Fatalf("%+v", e)
	}
	r := &g.c.Regs
	if r.RAX != 39 || r.RDI != 1 || r.R9 != 6 || r.RIP != codeVA+7 || r.RCX != r.RIP || r.R11 != r.RFLAGS || g.c.FSBase != dataVA {
		t.Errorf("%+v", g.c)
	}
	r.RAX = 4711
	if e := g.run(); e.Kind != platform.ExitException || e.Vector != x86.VecProtection || r.RIP != codeVA+10 {
		t.Errorf("int 0x80: %+v at %#x", e, r.RIP)
	}
	if r.RBX != 4711 {
		t.Errorf("rbx %d", r.RBX)
	}
}

func TestExceptions(t *testing.T) {
	const present, write, user, fetch = x86.FaultPresent, x86.FaultWrite, x86.FaultUser, x86.FaultFetch
	for _, c := range []struct {
		name   string
		rdi    uint64
		code   []byte
		vector int
		err    uint64
		skip   uint64 // of the instruction pointer
	}{
		{"read of nothing", nextVA + 5, []byte{0x8b, 0x07}, x86.VecPageFault, user, 0},
		{"write to nothing", nextVA + 5, []byte{0x89, 0x07}, x86.VecPageFault, user | write, 0},
		{"call of nothing", nextVA, []byte{0xff, 0xe7}, x86.VecPageFault, user | fetch, 0},
		{"read without rights", noneVA + 8, []byte{0x8b, 0x07}, x86.VecPageFault, user, 0},
		{"write without rights", noneVA + 8, []byte{0x89, 0x07}, x86.VecPageFault, user | write, 0},
		{"write to read-only", roVA + 9, []byte{0x89, 0x07}, x86.VecPageFault, user | write | present, 0},
		{"exchange with read-only", roVA + 9, []byte{0x87, 0x07}, x86.VecPageFault, user | write | present, 0},
		{"call of data", dataVA + 16, []byte{0xff, 0xe7}, x86.VecPageFault, user | fetch | present, 0},
		{"read of a supervisor page", x86.ControlVA, []byte{0x8b, 0x07}, x86.VecPageFault, user, 0},
		{"write to the clock page", x86.ClockVA, []byte{0x89, 0x07}, x86.VecPageFault, user | write | present, 0},
		{"read that is not canonical", 1 << 50, []byte{0x8b, 0x07}, x86.VecProtection, 0, 0},
		{"division by zero", 0, []byte{0x31, 0xd2, 0xf7, 0xf7}, x86.VecDivide, 0, 2},
		{"ud2", 0, []byte{0x0f, 0x0b}, x86.VecInvalidOp, 0, 0},
		{"int3", 0, []byte{0xcc}, x86.VecBreakpoint, 0, 1},
		{"hlt", 0, []byte{0xf4}, x86.VecProtection, 0, 0},
		{"out", 0, []byte{0xe6, 0x10}, x86.VecProtection, 0, 0},
		{"int 0x30", 0, []byte{0xcd, 0x30}, x86.VecProtection, 0x30<<3 | 2, 0},
		// pushf; or dword [rsp], 0x100; popf; nop; nop
		{"single step", 0, []byte{0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90}, x86.VecDebug, 0, 10},
		// SSE: unmask and divide by zero
		{"simd", 0, []byte{
			0x68, 0x80, 0x1d, 0, 0, 0x0f, 0xae, 0x14, 0x24, // push 0x1d80; ldmxcsr [rsp]
			0xb8, 0, 0, 0x80, 0x3f, 0x66, 0x0f, 0x6e, 0xc0, // mov eax, 1.0; movd xmm0, eax
			0x0f, 0x57, 0xc9, 0xf3, 0x0f, 0x5e, 0xc1, //        xorps xmm1, xmm1; divss xmm0, xmm1
		}, x86.VecSIMD, 0, 21},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGuest(t, c.code...)
			g.c.Regs.RDI, g.c.Regs.RAX = c.rdi, 0x55
			e := g.run()
			if e.Kind != platform.ExitException || e.Vector != c.vector || e.ErrorCode != c.err {
				t.Fatalf("%+v, want %s with error code %#x", e, x86.VectorName(c.vector), c.err)
			}
			if c.vector == x86.VecPageFault && e.Addr != c.rdi {
				t.Errorf("address %#x, want %#x", e.Addr, c.rdi)
			}
			want := codeVA + c.skip
			if c.err&fetch != 0 {
				want = c.rdi
			}
			if g.c.Regs.RIP != want {
				t.Errorf("at %#x, want %#x", g.c.Regs.RIP, want)
			}
		})
	}
}

// The vector state survives faults and changes of threads.
func TestVectorState(t *testing.T) {
	g := newGuest(t,
		0x66, 0x48, 0x0f, 0x6e, 0xc7, // movq xmm0, rdi
		0x89, 0x06, //                   mov [rsi], eax
		0x0f, 0x05, //                   syscall
		0x66, 0x48, 0x0f, 0x7e, 0xc0, // movq rax, xmm0
		0x0f, 0x05) //                   syscall
	other := newContext()
	g.c.Regs.RDI, g.c.Regs.RSI = 11, nextVA
	other.Regs.RDI, other.Regs.RSI = 22, dataVA
	if e := g.run(); e.Kind != platform.ExitException {
		t.Fatalf("%+v", e)
	}
	g.mapPages(nextVA, 1, mm.Read|mm.Write)
	for _, c := range []*platform.Context{&other, &g.c, &other, &g.c} {
		if e, err := g.m.Run(c); err != nil || e.Kind != platform.ExitSyscall {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	if g.c.Regs.RAX != 11 || other.Regs.RAX != 22 {
		t.Errorf("%d and %d, want 11 and 22", g.c.Regs.RAX, other.Regs.RAX)
	}
	if err := g.m.Unbind(); err != nil {
		t.Fatal(err)
	}
	if g.c.FP[160] != 11 || other.FP[160] != 22 {
		t.Errorf("saved %d and %d, want 11 and 22", g.c.FP[160], other.FP[160])
	}
}

// Pages that are taken away, given other rights or emptied are so at once.
func TestForget(t *testing.T) {
	g := newGuest(t,
		0x8b, 0x07, // mov eax, [rdi]
		0x89, 0x07, // mov [rdi], eax
		0x0f, 0x05) // syscall
	again := func(wantKind platform.ExitKind, err uint64) {
		t.Helper()
		g.c.Regs.RIP, g.c.Regs.RDI = codeVA, dataVA+3*pageSize
		if e := g.run(); e.Kind != wantKind || e.ErrorCode != err {
			t.Fatalf("%+v", e)
		}
	}
	g.poke(dataVA+3*pageSize, 7)
	again(platform.ExitSyscall, 0)
	if g.c.Regs.RAX != 7 {
		t.Errorf("read %d", g.c.Regs.RAX)
	}
	g.mm.Discard(dataVA, dataVA+16*pageSize)
	again(platform.ExitSyscall, 0)
	if g.c.Regs.RAX != 0 {
		t.Errorf("read %d of an emptied page", g.c.Regs.RAX)
	}
	g.mm.Protect(dataVA, dataVA+4*pageSize, mm.Read)
	again(platform.ExitException, x86.FaultUser|x86.FaultWrite|x86.FaultPresent)
	g.mm.Protect(dataVA, dataVA+16*pageSize, mm.Read|mm.Write)
	again(platform.ExitSyscall, 0)
	if _, errno := g.mm.Remap(dataVA, 16*pageSize, 16*pageSize, 0, true); errno != 0 {
		t.Log("not moved:", errno)
	}
	g.mm.Unmap(dataVA, dataVA+16*pageSize)
	again(platform.ExitException, x86.FaultUser)
	g.mapPages(dataVA, 16, mm.Read|mm.Write)
	again(platform.ExitSyscall, 0)
	if err := g.mm.Err(); err != nil {
		t.Error(err)
	}
}

// More mappings than fit in one list, and than may wait in the queue.
func TestManyMappings(t *testing.T) {
	const n = 3 * maxQueue
	g := newGuest(t,
		0x8b, 0x07, //                         loop: mov eax, [rdi]
		0x48, 0x81, 0xc7, 0, 0x20, 0, 0, //    add rdi, 0x2000
		0x48, 0xff, 0xce, //                   dec rsi
		0x75, 0xf2, //                         jnz loop
		0x0f, 0x05) //                         syscall
	g.mapPages(1<<30, 2*n, mm.Read)
	g.mm.Protect(1<<30, 1<<30+2*n*pageSize, mm.Read|mm.Write)
	for i := uint64(0); i < n; i++ { // every other page has other rights
		g.mm.Protect(1<<30+2*i*pageSize, 1<<30+(2*i+1)*pageSize, mm.Read)
	}
	all := func() {
		t.Helper()
		g.c = newContext()
		g.c.Regs.RDI, g.c.Regs.RSI = 1<<30, n
		for {
			switch e := g.run(); {
			case e.Kind == platform.ExitSyscall:
				return
			case e.Kind != platform.ExitException || g.mm.Fault(e.Addr, false, false) != mm.FaultServed:
				t.Fatalf("%+v", e)
			}
		}
	}
	all()
	for i := uint64(0); i < n; i++ {
		g.mm.Protect(1<<30+2*i*pageSize, 1<<30+(2*i+1)*pageSize, 0)
		g.mm.Protect(1<<30+2*i*pageSize, 1<<30+(2*i+1)*pageSize, mm.Read)
	}
	all()
}

func TestKick(t *testing.T) {
	g := newGuest(t, 0xeb, 0xfe) // jmp self
	for i := range 200 {
		if i%3 == 0 {
			g.m.Kick() // before the run
		} else {
			time.AfterFunc(time.Duration(i)*time.Microsecond, g.m.Kick)
		}
		start := time.Now()
		if e := g.run(); e.Kind != platform.ExitKick {
			t.Fatalf("%+v", e)
		}
		if d := time.Since(start); d > time.Second {
			t.Fatalf("kick %d took %v", i, d)
		}
	}
}

// A kick while the tracee maps memory or tells of an exception is not lost.
func TestKickAmidstFaults(t *testing.T) {
	g := newGuest(t,
		0x89, 0x07, // loop: mov [rdi], eax
		0xeb, 0xfc) // jmp loop
	for i := range 200 {
		g.c.Regs.RDI, g.c.Regs.RIP = dataVA+3, codeVA
		g.mm.Protect(dataVA, dataVA+pageSize, 0)
		if i%2 == 0 {
			g.mm.Protect(dataVA, dataVA+pageSize, mm.Read|mm.Write)
		}
		var sent atomic.Bool
		go func() {
			for range i * 10 {
				runtime.Gosched()
			}
			g.m.Kick()
			sent.Store(true)
		}()
		for {
			e := g.run()
			if e.Kind == platform.ExitKick {
				break
			}
			if e.Kind != platform.ExitException || e.ErrorCode&x86.FaultWrite == 0 || e.Addr != dataVA+3 {
				t.Fatalf("%+v", e)
			}
			g.mm.Protect(dataVA, dataVA+pageSize, mm.Read|mm.Write)
		}
		for !sent.Load() {
			runtime.Gosched()
		}
	}
}

func TestTimer(t *testing.T) {
	g := newGuest(t, 0xeb, 0xfe)
	if err := g.m.Timer(int64(2*time.Millisecond), int64(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if e := g.run(); e.Kind != platform.ExitKick {
			t.Fatalf("%+v", e)
		}
	}
	if g.m.CPUTime() < int64(time.Millisecond) {
		t.Errorf("%d ns of processor time", g.m.CPUTime())
	}
}

func TestKilled(t *testing.T) {
	g := newGuest(t, 0xeb, 0xfe)
	pid := g.m.pid
	time.AfterFunc(5*time.Millisecond, func() { _ = unix.Kill(pid, unix.SIGKILL) })
	for range 2 {
		if e := g.run(); e.Kind != platform.ExitFatal || !strings.Contains(e.Detail, "SIGKILL") {
			t.Fatalf("%+v", e)
		}
	}
	g = newGuest(t, 0xeb, 0xfe)
	if err := unix.Kill(g.m.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := g.run(); e.Kind != platform.ExitFatal {
		t.Fatalf("%+v", e)
	}
	g.m.Kick()
}

// Signals from outside neither end a guest nor reach it.
func TestStraySignals(t *testing.T) {
	g := newGuest(t, 0xeb, 0xfe)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGSEGV, unix.SIGTRAP, unix.SIGSTOP, unix.SIGUSR1, unix.SIGHUP} {
		if err := unix.Kill(g.m.pid, s); err != nil {
			t.Fatal(err)
		}
		if e := g.run(); e.Kind != platform.ExitKick || g.c.Regs.RIP != codeVA {
			t.Fatalf("%v: %+v at %#x", s, e, g.c.Regs.RIP)
		}
	}
}

// The tracee has nothing of the host: no mappings but the guest's and the stub,
// no descriptor but the memory, no rights to gain.
func TestSealed(t *testing.T) {
	g := newGuest(t, 0x8b, 0x07, 0x0f, 0x05)
	g.c.Regs.RDI = dataVA
	if e := g.run(); e.Kind != platform.ExitSyscall {
		t.Fatalf("%+v", e)
	}
	proc := fmt.Sprintf("/proc/%d/", g.m.pid)
	maps, err := os.ReadFile(proc + "maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "memfd:kontain-") && !strings.Contains(line, "[vsyscall]") {
			t.Errorf("mapping %s", line)
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	if len(fds) != 1 {
		t.Errorf("descriptors %v", fds)
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "NoNewPrivs:\t1") || !strings.Contains(string(status), "Seccomp:\t2") {
		t.Errorf("%s", status)
	}
	// Even a monitor that lets go of it by mistake would not let it call the host.
	for _, c := range []call{{unix.SYS_GETPID}, {unix.SYS_OPENAT}, {unix.SYS_RT_SIGRETURN}} {
		if err := g.m.do([]call{c}); !errors.Is(err, unix.ENOSYS) {
			t.Errorf("call %d: %v", c[0], err)
		}
	}
	if env, _ := os.ReadFile(proc + "environ"); len(env) != 0 {
		t.Errorf("environment %q", env)
	}
}

// Nothing is left of a machine: no process, no descriptor, no mapping.
func TestNoLeak(t *testing.T) {
	newGuest(t).run() // whatever is made once
	count := func() (int, int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds), strings.Count(string(maps), "kontain-")
	}
	fds, maps := count()
	var pids []int
	for range 10 {
		t.Run("machine", func(t *testing.T) {
			g := newGuest(t, 0x0f, 0x05)
			if e := g.run(); e.Kind != platform.ExitSyscall {
				t.Fatalf("%+v", e)
			}
			pids = append(pids, g.m.pid)
		})
	}
	if f, m := count(); f != fds || m != maps {
		t.Errorf("%d descriptors and %d mappings, were %d and %d", f, m, fds, maps)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

// When the monitor dies, whatever the way, the tracee dies with it.
func TestMonitorDies(t *testing.T) {
	const variable = "KONTAIN_TEST_MONITOR"
	if os.Getenv(variable) != "" {
		g := newGuest(t, 0xeb, 0xfe)
		fmt.Printf("tracee %d\n", g.m.pid)
		for {
			g.run()
		}
	}
	open(t) // skips
	cmd := exec.Command(os.Args[0], "-test.run=^TestMonitorDies$")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "tracee %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatalf("no tracee: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		// It may be a zombie of a process 1 that does not look after its children.
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || strings.Contains(string(status), "State:\tZ") {
			return
		}
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("the tracee lives on:\n%s", status)
		}
	}
}

// 32-bit code is a fault wherever it stops, and leaves nothing behind.
func TestCompatibilityMode(t *testing.T) {
	for name, code := range map[string][]byte{
		"call": {0xcd, 0x80}, "undefined": {0x0f, 0x0b}, "halt": {0xf4}, "loop": {0xeb, 0xfe}, "sysenter": {0x0f, 0x34},
	} {
		t.Run(name, func(t *testing.T) {
			// push 0x23; push codeVA+9; retfq
			g := newGuest(t, append([]byte{0x6a, 0x23, 0x68, 9, 0, 0x10, 0, 0x48, 0xcb}, code...)...)
			if name == "loop" {
				time.AfterFunc(5*time.Millisecond, g.m.Kick)
			}
			if e := g.run(); e.Kind != platform.ExitException || e.Vector != x86.VecProtection {
				t.Fatalf("%+v", e)
			}
			g.poke(codeVA, 0x0f, 0x05)
			g.c = newContext()
			g.c.Regs.RAX = 1 << 40
			for {
				e := g.run()
				if e.Kind == platform.ExitKick && name == "loop" {
					continue
				}
				if e.Kind != platform.ExitSyscall || g.c.Regs.RAX != 1<<40 {
					t.Fatalf("64-bit code after it: %+v, rax %#x", e, g.c.Regs.RAX)
				}
				return
			}
		})
	}
}

// A machine that goes to another thread goes on there.
func TestOtherThread(t *testing.T) {
	g := newGuest(t,
		0x66, 0x48, 0x0f, 0x6e, 0xc7, // movq xmm0, rdi
		0x0f, 0x05, //                   syscall
		0x66, 0x48, 0x0f, 0x7e, 0xc0, // movq rax, xmm0
		0x0f, 0x05) //                   syscall
	g.c.Regs.RDI = 33
	if e := g.run(); e.Kind != platform.ExitSyscall {
		t.Fatalf("%+v", e)
	}
	if err := g.m.Unbind(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := g.m.Bind(); err != nil {
			done <- err
			return
		}
		e, err := g.m.Run(&g.c)
		if err == nil && e.Kind != platform.ExitSyscall {
			err = fmt.Errorf("%+v", e)
		}
		done <- err
	}()
	if err := <-done; err != nil || g.c.Regs.RAX != 33 {
		t.Errorf("rax %d, %v", g.c.Regs.RAX, err)
	}
}

func BenchmarkSyscall(b *testing.B) {
	g := newGuest(b, 0x0f, 0x05, 0xeb, 0xfc)
	for b.Loop() {
		if e := g.run(); e.Kind != platform.ExitSyscall {
			b.Fatalf("%+v", e)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	g := newGuest(b, 0x8b, 0x07, 0x0f, 0x05)
	g.c.Regs.RDI = dataVA
	for b.Loop() {
		g.c.Regs.RIP = codeVA
		g.mm.Protect(dataVA, dataVA+pageSize, 0)
		g.mm.Protect(dataVA, dataVA+pageSize, mm.Read)
		g.run()
	}
}

func BenchmarkFault(b *testing.B) {
	g := newGuest(b, 0x89, 0x07)
	g.c.Regs.RDI = nextVA
	for b.Loop() {
		if e := g.run(); e.Kind != platform.ExitException {
			b.Fatalf("%+v", e)
		}
	}
}

func BenchmarkSwitch(b *testing.B) {
	g := newGuest(b, 0x0f, 0x05, 0xeb, 0xfc)
	other := newContext()
	for b.Loop() {
		g.run()
		if _, err := g.m.Run(&other); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewMachine(b *testing.B) {
	p := open(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		mem, err := guestmem.NewShared(64 << 20)
		if err != nil {
			b.Fatal(err)
		}
		m, err := p.NewMachine(mem, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Bind(); err != nil {
			b.Fatal(err)
		}
		_ = m.Close()
		_ = mem.Close()
	}
}
