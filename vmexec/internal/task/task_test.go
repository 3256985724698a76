// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
)

// noMachine runs nothing: for what happens between runs.
type noMachine struct{}

func (noMachine) Bind() error                                  { return nil }
func (noMachine) Run(*platform.Context) (platform.Exit, error) { panic("not expected to run") }
func (noMachine) SaveFP(*platform.Context) error               { return nil }
func (noMachine) LoadFP(*platform.Context)                     {}
func (noMachine) Forget(*platform.Context)                     {}
func (noMachine) DropRoot(uint64)                              {}
func (noMachine) Reset() error                                 { return nil }
func (noMachine) Timer(int64, int64) error                     { return nil }
func (noMachine) Kick()                                        {}
func (noMachine) Close() error                                 { return nil }

const (
	stackTop = 0x20_0000
	scratch  = 0x30_0000
)

// newKernel makes a kernel with one thread that has a stack and some memory.
func newKernel(t *testing.T) (*Kernel, *Thread) {
	t.Helper()
	mem, err := guestmem.New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	space, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []mm.VMA{{Start: stackTop - 1<<16, End: stackTop, Prot: mm.Read | mm.Write}, {Start: scratch, End: scratch + 1<<16, Prot: mm.Read | mm.Write}} {
		if errno := space.Map(v); errno != 0 {
			t.Fatal(errno)
		}
	}
	k := New(Config{
		Table: &Table{}, Memory: mem, MM: space, Machine: noMachine{},
		Features: platform.Features{XCR0: 7, XSaveSize: 832}, Limits: Limits{Threads: 8, Files: 8},
	})
	th := k.Init.Threads[0]
	th.Ctx.Regs.RSP, th.Ctx.Regs.RIP, th.Ctx.Regs.RFLAGS = stackTop-64, 0x1000, 0x202
	return k, th
}

func TestSigQueue(t *testing.T) {
	var q sigQueue
	for i := range 3 {
		q.add(34, SigInfo{Value: uint64(i)})
	}
	for range 3 { // kept once
		q.add(int(unix.SIGTERM), SigInfo{})
	}
	q.add(int(unix.SIGUSR1), SigInfo{})
	q.add(int(unix.SIGSEGV), SigInfo{fault: true})
	var got []int
	if _, ok := q.take(bit(5)); ok {
		t.Error("took a signal that does not wait")
	}
	for {
		s, ok := q.take(^bit(int(unix.SIGUSR1)))
		if !ok {
			break
		}
		if s.sig == 34 && s.info.Value != uint64(len(got)-2) {
			t.Errorf("real-time signals out of order: %d at %d", s.info.Value, len(got))
		}
		got = append(got, s.sig)
	}
	// The fault first, then by number, one number in the order of sending.
	if d := cmp.Diff([]int{11, 15, 34, 34, 34}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if q.set != bit(int(unix.SIGUSR1)) {
		t.Errorf("set %#x", q.set)
	}
	q.discard(^uint64(0))
	if q.set != 0 || len(q.queue) != 0 {
		t.Errorf("discarded, but %#x", q.set)
	}
}

// The signals that wait are counted for the process and all of its threads
// together: a program may have a thousand threads.
func TestSigQueueFull(t *testing.T) {
	k, a := newKernel(t)
	b, errno := k.NewThread(a)
	if errno != 0 {
		t.Fatal(errno)
	}
	a.SetMask(^uint64(0))
	b.SetMask(^uint64(0))
	send := []func(sig int, info SigInfo) abi.Errno{a.Signal, b.Signal, a.P.Signal}
	for i := range maxQueued {
		if errno := send[i%len(send)](40, SigInfo{Code: CodeQueue}); errno != 0 {
			t.Fatalf("signal %d: %v", i, errno)
		}
	}
	for i, f := range send {
		if errno := f(41, SigInfo{Code: CodeQueue}); errno != abi.EAGAIN {
			t.Errorf("one too many, %d: %v", i, errno)
		}
	}
	if set := a.Pending(); set != bit(40) {
		t.Errorf("pending %#x", set)
	}
	if errno := b.Signal(int(unix.SIGUSR1), SigInfo{}); errno != 0 || b.Pending()&bit(int(unix.SIGUSR1)) == 0 {
		t.Errorf("a standard signal: %v, pending %#x", errno, b.Pending())
	}
	b.SetMask(0)
	b.P.actions[unix.SIGSEGV] = SigAction{Handler: 0x5000}
	b.fault(int(unix.SIGSEGV), SigInfo{}) // a fault must never be lost
	if b.deliverable()&bit(int(unix.SIGSEGV)) == 0 {
		t.Error("the fault was lost")
	}
	for range 3 { // the standard signals count too
		if _, _, ok := a.TakePending(bit(40)); !ok {
			t.Fatal("nothing to take")
		}
	}
	if errno := a.P.Signal(41, SigInfo{}); errno != 0 {
		t.Errorf("after one was taken: %v", errno)
	}
}

// timerMachine notes how its timer is set, and ends the program at the first run.
type timerMachine struct {
	noMachine
	on   bool
	runs []func()
}

func (m *timerMachine) Timer(ns, _ int64) error { m.on = ns != 0; return nil }

func (m *timerMachine) Run(*platform.Context) (platform.Exit, error) {
	m.runs[0]()
	m.runs = m.runs[1:]
	return platform.Exit{Kind: platform.ExitKick}, nil
}

// The machine's timer runs only while there is something to wait for, and never
// beyond the run: the signals of a machine that is kept for another event would
// disturb whatever else its OS thread does then.
func TestMachineTimer(t *testing.T) {
	k, _ := newKernel(t)
	m := &timerMachine{}
	k.machine = m
	stop := k.After(k.Clock.Monotonic()+int64(time.Hour), func() {})
	check := func(when string, want bool) {
		t.Helper()
		if m.on != want {
			t.Errorf("%s: timer on %v", when, m.on)
		}
	}
	m.runs = []func(){
		func() { check("a deadline", true); stop() },
		func() { check("none any more", false); k.After(k.Clock.Monotonic()+int64(time.Hour), func() {}) },
		func() { check("another", true); k.exit(0) },
	}
	if _, err := k.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	check("after the run", false)
}

// A thread that computes is not kicked more often than it must be: once for each
// sleeper whose time has come, and not at the end of a time slice that the sleeper
// did not use up. To set the timer is a call: there is one for each kick.
func TestMachineTimerSets(t *testing.T) {
	k, first := newKernel(t)
	m := &setMachine{}
	k.machine = m
	second, errno := k.NewThread(first)
	if errno != 0 {
		t.Fatal(errno)
	}
	k.arm()
	if d := cmp.Diff([]int64{slice}, m.take()); d != "" {
		t.Errorf("two that run (-want +got):\n%s", d)
	}
	alone := func() { // and back: they take turns
		k.runq = []*Thread{first}
		k.arm()
		k.runq = []*Thread{first, second}
		k.arm()
	}
	alone()
	alone()
	if got := m.take(); len(got) != 0 {
		t.Errorf("within the slice: %v", got)
	}
	k.tick()
	k.arm()
	if got := m.take(); len(got) != 0 {
		t.Errorf("the next slice: %v", got)
	}
	// The second one sleeps for long, and a third for next to nothing.
	k.runq = []*Thread{first}
	const far = int64(time.Hour)
	woken := 0
	sleep := func(ns int64) { k.After(k.Clock.Monotonic()+ns, func() { woken++ }) }
	sleep(far)
	k.arm()
	k.arm()
	if got := m.take(); len(got) != 1 || got[0] > far || got[0] < far/2 {
		t.Errorf("one sleeps for an hour: %v", got)
	}
	sleep(1)
	k.arm()
	if got := m.take(); len(got) != 1 || got[0] > granularity {
		t.Errorf("another for next to nothing: %v", got)
	}
	for woken == 0 {
		k.tick()
	}
	sleep(1)
	k.arm()
	if got := m.take(); len(got) != 1 || got[0] > granularity || k.ticker.at-k.ticker.last < granularity {
		t.Errorf("right after a tick: %v, %d ns after it", got, k.ticker.at-k.ticker.last)
	}
	// A kick that is a post's, before the time, changes nothing.
	k.ticker.at = k.Clock.Monotonic() + int64(time.Hour)
	k.ticker.deadline = k.timers[0].deadline
	state := k.ticker.state
	k.tick()
	if k.ticker.state != state || state != timerWaits {
		t.Errorf("state %d, before %d", k.ticker.state, state)
	}
}

// setMachine notes what its timer is set to.
type setMachine struct {
	noMachine
	sets []int64
}

func (m *setMachine) Timer(ns, period int64) error {
	if ns != 0 && period != slice {
		return errors.New("a kick that is lost is not repeated")
	}
	m.sets = append(m.sets, ns)
	return nil
}

func (m *setMachine) take() []int64 {
	s := m.sets
	m.sets = nil
	return s
}

// What becomes of a call that a signal interrupted; signal(7).
func TestRestart(t *testing.T) {
	for _, c := range []struct {
		name    string
		errno   abi.Errno
		flags   uint64
		handler uint64
		again   bool
	}{
		{"handler, SA_RESTART", abi.ERESTARTSYS, saRestart, 0x5000, true},
		{"handler", abi.ERESTARTSYS, 0, 0x5000, false},
		{"handler, SA_RESTART, never restarted", abi.ERESTARTNOHAND, saRestart, 0x5000, false},
		{"ignored", abi.ERESTARTSYS, 0, sigIgnore, true},
		{"ignored, only for handlers", abi.ERESTARTNOHAND, 0, sigIgnore, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, th := newKernel(t)
			th.P.SetAction(int(unix.SIGUSR1), SigAction{Handler: c.handler, Flags: c.flags})
			th.call.nr, th.restart = unix.SYS_READ, c.errno
			th.Ctx.Regs.RIP, th.Ctx.Regs.RAX = 0x1002, 99
			th.pending.add(int(unix.SIGUSR1), SigInfo{})
			th.deliver()
			if k.ended || th.restart != 0 {
				t.Fatalf("ended %v, restart %v", k.ended, th.restart)
			}
			rip, rax := th.Ctx.Regs.RIP, th.Ctx.Regs.RAX
			if c.handler != sigIgnore { // what the frame will restore
				if rip != c.handler || th.Ctx.Regs.RDI != uint64(unix.SIGUSR1) {
					t.Fatalf("handler at %#x with %d", rip, th.Ctx.Regs.RDI)
				}
				th.Ctx.Regs.RSP += 8 // the handler's return
				th.SigReturn()
				rip, rax = th.Ctx.Regs.RIP, th.Ctx.Regs.RAX
			}
			wantRIP, wantRAX := uint64(0x1002), negErrno(abi.EINTR)
			if c.again {
				wantRIP, wantRAX = 0x1000, unix.SYS_READ
			}
			if rip != wantRIP || rax != wantRAX || th.mask != 0 {
				t.Errorf("at %#x with %d, mask %#x; want %#x with %d", rip, int64(rax), th.mask, wantRIP, int64(wantRAX))
			}
		})
	}
}

func TestSwappedMask(t *testing.T) {
	_, th := newKernel(t)
	th.SetMask(^uint64(0))
	if th.Mask() != ^unmaskable {
		t.Errorf("SIGKILL and SIGSTOP are blocked: %#x", th.Mask())
	}
	usr1 := bit(int(unix.SIGUSR1))
	th.SetMask(usr1)
	th.P.SetAction(int(unix.SIGUSR1), SigAction{Handler: 0x5000})
	th.pending.add(int(unix.SIGUSR1), SigInfo{})
	th.SwapMask(0)
	th.deliver()
	if th.Ctx.Regs.RIP != 0x5000 || th.mask != usr1 {
		t.Fatalf("at %#x, mask %#x", th.Ctx.Regs.RIP, th.mask)
	}
	th.Ctx.Regs.RSP += 8
	th.SigReturn()
	if th.mask != usr1 || th.Ctx.Regs.RIP != 0x1000 {
		t.Errorf("after the handler at %#x, mask %#x", th.Ctx.Regs.RIP, th.mask)
	}
}

// No stack pointer and no alternative stack makes pushFrame write anywhere but
// to the program's own memory.
func TestPushFrameHostileStacks(t *testing.T) {
	values := []uint64{0, 1, 8, 127, 128, 129, 0x300, 0x1000, 0xffff, scratch, scratch + 100, scratch + 1<<16, stackTop - 1<<16, stackTop, 1 << 46, 1 << 47, 1 << 63, ^uint64(0) - 128, ^uint64(0)}
	for _, rsp := range values {
		for _, alt := range values {
			for _, size := range []uint64{0, minSigStack, 1 << 16, 1 << 63, ^uint64(0)} {
				k, th := newKernelShared(t)
				th.Ctx.Regs.RSP, th.altStack = rsp, AltStack{Addr: alt, Size: size}
				if !th.pushFrame(int(unix.SIGSEGV), SigInfo{fault: true}, SigAction{Handler: 0x5000, Flags: saOnStack}) {
					if !k.ended || k.err != nil {
						t.Fatalf("stack %#x, alternative %#x+%#x: no frame, ended %v, %v", rsp, alt, size, k.ended, k.err)
					}
					continue
				}
				at := th.Ctx.Regs.RSP
				own := at >= scratch && at < scratch+1<<16 || at >= stackTop-1<<16 && at < stackTop
				if at%16 != 8 || !own {
					t.Fatalf("stack %#x, alternative %#x+%#x: frame at %#x", rsp, alt, size, at)
				}
			}
		}
	}
}

var shared struct {
	k *Kernel
	t *Thread
}

// newKernelShared is newKernel without the cost of new memory each time.
func newKernelShared(t *testing.T) (*Kernel, *Thread) {
	if shared.k == nil {
		shared.k, shared.t = newKernel(t)
		t.Cleanup(func() { shared.k, shared.t = nil, nil })
	}
	shared.k.ended, shared.t.mask = false, 0
	return shared.k, shared.t
}

func TestTimerHeap(t *testing.T) {
	k, _ := newKernel(t)
	r := rand.New(rand.NewPCG(1, 2))
	var all []*timer
	for range 300 {
		all = append(all, k.after(r.Int64N(50), func() {}))
	}
	gone := map[*timer]bool{}
	for _, i := range r.Perm(len(all))[:150] {
		k.cancel(all[i])
		k.cancel(all[i]) // twice does no harm
		gone[all[i]] = true
	}
	if len(k.timers) != 150 {
		t.Fatalf("%d timers", len(k.timers))
	}
	var got []int64
	for len(k.timers) > 0 {
		x := heap.Pop(&k.timers).(*timer)
		if gone[x] || x.index != -1 {
			t.Errorf("a canceled timer, or index %d", x.index)
		}
		got = append(got, x.deadline)
	}
	if !slices.IsSorted(got) {
		t.Errorf("not in order: %v", got)
	}
}

func TestExpireOrder(t *testing.T) {
	k, _ := newKernel(t)
	var got []int
	stop := k.After(2, func() { got = append(got, 2) })
	k.After(3, func() { got = append(got, 3) })
	k.After(1, func() { got = append(got, 1); stop() })
	k.After(1<<62, func() { got = append(got, 4) })
	k.expire(k.Clock.Monotonic())
	if d := cmp.Diff([]int{1, 3}, got); d != "" || len(k.timers) != 1 {
		t.Errorf("%d left (-want +got):\n%s", len(k.timers), d)
	}
}

func TestFutex(t *testing.T) {
	k, first := newKernel(t)
	threads := []*Thread{first}
	for range 5 {
		th, errno := k.NewThread(first)
		if errno != 0 {
			t.Fatal(errno)
		}
		threads = append(threads, th)
	}
	const a, b = scratch, scratch + 4
	for i, th := range threads {
		if errno := th.FutexWait(a, true, 0, 1<<(i%2), NoDeadline); errno != abi.EBLOCK {
			t.Fatal(errno)
		}
	}
	if n, _ := first.FutexWake(a, true, 1, 2); n != 1 || threads[1].blocked {
		t.Errorf("woke %d by bits, the second blocked %v", n, threads[1].blocked)
	}
	if n, _ := first.FutexRequeue(a, a, true, 100); n != 5 {
		t.Errorf("to itself: %d", n)
	}
	if n, _ := first.FutexRequeue(a, b, true, 2); n != 2 {
		t.Errorf("requeued %d", n)
	}
	if n, _ := first.FutexWake(b, true, 1, ^uint32(0)); n != 1 || threads[0].blocked || !threads[2].blocked {
		t.Errorf("woke %d of the requeued", n)
	}
	// One that was requeued gives up: it must leave the futex it waits on now.
	threads[2].wake(WakeSignal)
	if errno := threads[2].FutexWait(a, true, 0, 1, NoDeadline); errno != abi.ERESTARTSYS {
		t.Errorf("interrupted: %v", errno)
	}
	if n, _ := first.FutexRequeue(a, b, true, -1); n != 0 {
		t.Errorf("requeued %d of less than none", n)
	}
	if n, _ := first.FutexWake(a, true, 100, ^uint32(0)); n != 3 {
		t.Errorf("woke %d of the rest", n)
	}
	if len(k.futexes.waiters) != 0 {
		t.Errorf("left: %v", k.futexes.waiters)
	}
	threads[1].State, threads[1].woken = nil, WakeNone
	for addr, want := range map[uint64]abi.Errno{a + 1: abi.EINVAL, 1 << 63: abi.EFAULT, 0: abi.EFAULT} {
		if errno := threads[1].FutexWait(addr, true, 0, 1, NoDeadline); errno != want {
			t.Errorf("wait at %#x: %v, want %v", addr, errno, want)
		}
	}
	if errno := threads[1].FutexWait(a, true, 1, 1, NoDeadline); errno != abi.EAGAIN {
		t.Errorf("another value: %v", errno)
	}
}

func TestRobustList(t *testing.T) {
	put := func(th *Thread, addr, v uint64) {
		t.Helper()
		if errno := th.CopyOutU64(addr, v); errno != 0 {
			t.Fatal(errno)
		}
	}
	const head, node, offset = scratch, scratch + 0x100, 0x10
	for _, c := range []struct {
		name          string
		next, pending uint64
		word, want    uint32
	}{
		{"held", head, 0, firstPID, 0x4000_0000},
		{"held with waiters", head, 0, firstPID | 0x8000_0000, 0xc000_0000},
		{"of another", head, 0, firstPID + 1, firstPID + 1},
		{"circle", node, 0, firstPID, 0x4000_0000},
		{"nowhere", 1 << 63, 1 << 63, firstPID, 0x4000_0000},
		{"pending", head, node, firstPID, 0x4000_0000},
	} {
		_, th := newKernel(t)
		th.RobustList = head
		put(th, head, node)
		put(th, head+8, offset)
		put(th, head+16, c.pending)
		put(th, node, c.next)
		put(th, node+offset, uint64(c.word))
		th.exitRobustList()
		if v, _ := th.CopyInU32(node + offset); v != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, v, c.want)
		}
	}
}

// acceptable is what XRSTOR and KVM_SET_XSAVE ask of an area in the standard
// format: SDM volume 1, section 13.8, and the MXCSR of volume 1, section 10.2.3.
func acceptable(area *[kvm.XSaveSize]byte, xcr0 uint64) string {
	le := binary.LittleEndian
	switch {
	case le.Uint64(area[512:])&^xcr0 != 0:
		return "XSTATE_BV names state outside XCR0"
	case le.Uint64(area[520:]) != 0:
		return "XCOMP_BV is not zero"
	case !slices.Equal(area[528:576], make([]byte, 48)):
		return "reserved bytes of the header are not zero"
	case le.Uint32(area[24:])&^0xffff != 0:
		return "MXCSR has reserved bits"
	}
	return ""
}

func FuzzCheckFP(f *testing.F) {
	ones := slices.Repeat([]byte{0xff}, kvm.XSaveSize)
	f.Add(ones, true, uint64(0xe7))
	f.Add(ones, false, uint64(7))
	f.Add([]byte{}, true, uint64(3))
	good := slices.Clone(ones)
	clear(good[26:32])
	clear(good[512:576])
	good[512] = 7
	f.Add(good, true, uint64(7))
	f.Fuzz(func(t *testing.T, b []byte, extended bool, xcr0 uint64) {
		xcr0 |= 3
		var area, before [kvm.XSaveSize]byte
		copy(area[:], b)
		before = area
		if !checkFP(&area, extended, xcr0) {
			return
		}
		if s := acceptable(&area, xcr0); s != "" {
			t.Error(s)
		}
		// The registers themselves are the program's.
		if !slices.Equal(before[32:416], area[32:416]) || !slices.Equal(before[576:], area[576:]) {
			t.Error("registers changed")
		}
	})
}
