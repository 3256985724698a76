// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// ordered is the clocks and the timers of a VM; what is due at once is called in
// the order of the deadlines.
type ordered struct {
	mono, ahead int64
	due         []*due
}

type due struct {
	at int64
	f  func()
}

func (o *ordered) Monotonic() int64 { return o.mono }
func (o *ordered) Realtime() int64  { return o.mono + o.ahead }

func (o *ordered) After(deadline int64, f func()) func() {
	d := &due{deadline, f}
	o.due = append(o.due, d)
	return func() { o.drop(d) }
}

func (o *ordered) drop(d *due) {
	for i, x := range o.due {
		if x == d {
			o.due = append(o.due[:i], o.due[i+1:]...)
			return
		}
	}
}

func (o *ordered) pass(d int64) {
	o.mono += d
	for {
		var first *due
		for _, x := range o.due {
			if x.at <= o.mono && (first == nil || x.at < first.at) {
				first = x
			}
		}
		if first == nil {
			return
		}
		o.drop(first)
		first.f()
	}
}

// guest is the descriptors of a VM, with the program's operations on them.
type guest struct {
	clock  ordered
	memory account
	tab    *Table
	in     *EventInput
	out    *CaptureOutput
	over   int // calls of overflow
	timers int64
	log    []string
}

func newGuest() *guest {
	g := &guest{clock: ordered{mono: 5_000_000, ahead: 1e18}, memory: 1 << 20, tab: NewTable(24)}
	g.tab.System().Memory = &g.memory
	g.in, g.out = NewWaitingInput(), NewCaptureOutput(1<<20, func() { g.over++ })
	g.tab.Install(g.in, false, 0)
	g.tab.Install(g.out, false, 0)
	d, _ := g.tab.Description(1)
	g.tab.InstallDescription(d, false, 2)
	return g
}

func (g *guest) clone(t testing.TB) *guest {
	t.Helper()
	n := &guest{clock: ordered{mono: g.clock.mono, ahead: g.clock.ahead}, memory: g.memory, timers: g.timers}
	c := CloneContext{Clock: &n.clock, Timers: &n.clock, Memory: &n.memory, Overflow: func() { n.over++ }}
	tab, err := g.tab.CloneInto(&c)
	if err != nil {
		t.Fatal(err)
	}
	n.tab, n.in, n.out = tab, c.File(g.in).(*EventInput), c.File(g.out).(*CaptureOutput)
	return n
}

func (g *guest) say(format string, args ...any) { g.log = append(g.log, fmt.Sprintf(format, args...)) }

const guestOps = 17

// do is one operation; what comes of it goes to the log.
func (g *guest) do(op, a, b byte) {
	sys := g.tab.System()
	fd, other := int32(a%24), int32(b%24)
	f, _ := g.tab.Get(fd)
	d, _ := g.tab.Description(fd)
	set, isSet := f.(*Epoll)
	install := func(f File) {
		n, errno := g.tab.Install(f, b&1 != 0, 0)
		if errno != abi.OK {
			f.Release()
		}
		g.say("install %T %d %v", f, n, errno)
	}
	switch op % guestOps {
	case 0:
		r, w := NewPipe(sys, int(b&1)*unix.O_NONBLOCK)
		install(r)
		install(w)
	case 1:
		install(NewEventFD(sys, uint64(a%4), b&2 != 0, 0))
	case 2:
		install(NewTimerFD(sys, &g.clock, &g.clock, a&1 != 0, 0))
	case 3:
		install(NewEpoll(sys))
	case 4:
		if d != nil {
			n, errno := g.tab.InstallDescription(d, b&1 != 0, other)
			g.say("dup %d %d %v", fd, n, errno)
		}
	case 5:
		if d != nil && fd != other {
			g.say("dup2 %d %d %v", fd, other, g.tab.InstallAt(d, false, other))
		}
	case 6:
		if b < 128 { // more often, nothing would be left
			g.say("close %d %v", fd, g.tab.Close(fd))
		}
	case 7:
		if f != nil {
			s, errno := read(f, int(b)*40)
			g.say("read %d %s %v", fd, digest(s), errno)
		}
	case 8:
		if f != nil {
			n, errno := f.Write(Buffers{bytes.Repeat([]byte{a, 0, 0, 0, 0, 0, 0, 0}, 1+int(b)*int(b)/16)}, CurrentOffset)
			g.say("write %d %d %v", fd, n, errno)
		}
	case 9, 10, 11:
		target, errno := g.tab.Description(other)
		if !isSet || errno != abi.OK {
			return
		}
		ev := EpollEvent{[...]uint32{unix.EPOLLIN, unix.EPOLLOUT | unix.EPOLLIN, unix.EPOLLIN | unix.EPOLLET, unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLONESHOT}[(a/24+b/24)%4], uint64(other)}
		switch op % guestOps {
		case 9:
			g.say("add %d %d %v", fd, other, set.Add(target, other, ev))
		case 10:
			g.say("modify %d %d %v", fd, other, set.Modify(target, other, ev))
		case 11:
			g.say("delete %d %d %v", fd, other, set.Delete(target, other))
		}
	case 12:
		if isSet {
			g.say("ready %d %v", fd, set.Collect(1+int(b%8)))
		}
	case 13:
		if tf, ok := f.(*TimerFD); ok {
			// Never two at the same time: in which order they come is not said.
			g.timers++
			s := Setting{Value: int64(b%8)*2000 + g.timers%1000, Interval: int64(b/64) * 3000}
			absolute := b&32 != 0
			if absolute {
				s.Value += later(tf)
			}
			g.say("set %d %v", fd, tf.Set(s, absolute))
		}
	case 14:
		g.clock.pass(int64(b%16) * 1000)
	case 15:
		if p, ok := f.(interface{ SetPipeSize(int) (int, abi.Errno) }); ok {
			n, errno := p.SetPipeSize(int(b) << 9)
			g.say("size %d %d %v", fd, n, errno)
		}
	case 16:
		if f != nil {
			f.SetStatusFlags(int(b&1) * unix.O_NONBLOCK)
			g.say("flags %d %v", fd, g.tab.SetCloexec(fd, b&2 != 0))
		}
	}
}

// later is now of the clock that an absolute time is of.
func later(t *TimerFD) int64 {
	if t.realtime {
		return t.clock.Realtime()
	}
	return t.clock.Monotonic()
}

// state looks at all there is to see without changing it.
func (g *guest) state() []string {
	var s []string
	for _, d := range g.tab.List() {
		st, errno := d.File.Stat()
		line := fmt.Sprintf("%d %T cloexec=%v flags=%#x ready=%#x ino=%d mode=%#o %v", d.FD, d.File, d.Cloexec, d.File.StatusFlags(), d.File.Readiness(), st.Ino, st.Mode, errno)
		switch f := d.File.(type) {
		case *TimerFD:
			line += fmt.Sprintf(" left=%v", f.Get())
		case *PipeReader:
			line += fmt.Sprintf(" holds=%d size=%d", f.Available(), f.PipeSize())
		case *Epoll:
			line += fmt.Sprintf(" watches=%d", len(f.items))
		}
		s = append(s, line)
	}
	sys := g.tab.System()
	return append(s, fmt.Sprintf("inode=%d pipes=%d watches=%d nested=%d memory=%d limit=%d", sys.inode, sys.pipeBytes, sys.watches, sys.nestedWatches, g.memory, g.tab.Limit()))
}

// digest stands for a text in the log.
func digest(s string) string {
	if len(s) <= 32 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%d bytes, %x", len(s), sha256.Sum256([]byte(s)))
}

// drain takes all there is.
func (g *guest) drain() []string {
	s := g.state()
	l := g.tab.List()
	for _, d := range l {
		if set, ok := d.File.(*Epoll); ok {
			s = append(s, fmt.Sprintf("%d %v", d.FD, set.Collect(100)), fmt.Sprintf("%d %v", d.FD, set.Collect(100)))
		}
	}
	for _, d := range l {
		n := 64
		if p, ok := d.File.(*PipeReader); ok {
			n += p.Available()
		}
		for range 2 {
			text, errno := read(d.File, n)
			s = append(s, fmt.Sprintf("%d %s %v", d.FD, digest(text), errno))
		}
	}
	return append(s, g.state()...)
}

// runAlike does the same to several guests, which must not show a difference.
func runAlike(t testing.TB, ops []byte, guests ...*guest) {
	t.Helper()
	starts := make([]int, len(guests))
	kept := make([]int, len(guests))
	for i, g := range guests {
		starts[i], kept[i] = len(g.log), len(g.out.buf)
		for p := ops; len(p) >= 3; p = p[3:] {
			g.do(p[0], p[1], p[2])
		}
	}
	var want, wantOut string
	for i, g := range guests {
		g.log = append(g.log, g.drain()...)
		got, out := strings.Join(g.log[starts[i]:], "\n"), string(g.out.Bytes()[kept[i]:])
		if i == 0 {
			want, wantOut = got, out
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("guest %d did otherwise (-first +this):\n%s", i, d)
		}
		if out != wantOut {
			t.Fatalf("guest %d wrote %d bytes, the first %d", i, len(out), len(wantOut))
		}
	}
	for i, g := range guests {
		g.tab.CloseAll()
		if sys := g.tab.System(); sys.pipeBytes != 0 || sys.watches != 0 || sys.nestedWatches != 0 || g.memory != 1<<20 || len(g.clock.due) != 0 {
			t.Fatalf("guest %d leaves %+v, %d timers and %d pages behind", i, *sys, len(g.clock.due), 1<<20-g.memory)
		}
	}
}

// cloneAlike runs the first operations, clones the guest, and the clone, and
// continues in the same way.
func cloneAlike(t testing.TB, before, after []byte) {
	t.Helper()
	g := newGuest()
	for p := before; len(p) >= 3; p = p[3:] {
		g.do(p[0], p[1], p[2])
	}
	frozen := g.clone(t)
	c := frozen.clone(t)
	runAlike(t, after, g, c)
	c = frozen.clone(t) // the frozen one is as it was
	runAlike(t, after, c, frozen)
}

func randomOps(r *rand.Rand, n int) []byte {
	p := make([]byte, 3*n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func TestCloneGoesOn(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		cloneAlike(t, randomOps(r, 120), randomOps(r, 80))
	}
}

// FuzzClone compares a clone with its source over random operations.
func FuzzClone(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	f.Add(randomOps(r, 60), randomOps(r, 30))
	f.Add([]byte{3, 0, 0, 1, 1, 0, 9, 3, 100, 3, 0, 0, 9, 5, 3}, []byte{12, 3, 1, 12, 5, 1})
	f.Fuzz(func(t *testing.T, before, after []byte) {
		if len(before)+len(after) > 900 {
			return
		}
		cloneAlike(t, before, after)
	})
}

// Each kind of file in each of its states.
func TestCloneKinds(t *testing.T) {
	word := func(v uint64) Buffers { return Buffers{binary.LittleEndian.AppendUint64(nil, v)} }
	for _, tt := range []struct {
		name string
		make func(t *testing.T, g *guest)
	}{
		{"standard streams", func(*testing.T, *guest) {}},
		{"asked for the event", func(t *testing.T, g *guest) { wantRead(t, g.in, 1, "", abi.EAGAIN) }},
		{"event in part read", func(t *testing.T, g *guest) {
			g.in.Deliver([]byte("abc"))
			wantRead(t, g.in, 1, "a", abi.OK)
		}},
		{"closed standard streams", func(t *testing.T, g *guest) { g.tab.CloseAll() }},
		{"empty pipe", func(_ *testing.T, g *guest) { g.do(0, 0, 0) }},
		{"pipe that was full", func(t *testing.T, g *guest) {
			r, w := NewPipe(g.tab.System(), 0)
			mustInstall(t, g.tab, r, false, 0, 3)
			mustInstall(t, g.tab, w, false, 0, 4)
			wantWrite(t, w, strings.Repeat("x", 70000), 65536, abi.OK)
			wantRead(t, r, 60000, strings.Repeat("x", 60000), abi.OK)
			wantWrite(t, w, strings.Repeat("yz", 5000), 10000, abi.OK)
		}},
		{"pipe without reader", func(_ *testing.T, g *guest) { g.do(0, 0, 0); g.do(8, 4, 9); g.do(6, 3, 0) }},
		{"pipe without writer", func(_ *testing.T, g *guest) { g.do(0, 0, 0); g.do(8, 4, 9); g.do(6, 4, 0) }},
		{"pipe of another size", func(_ *testing.T, g *guest) { g.do(0, 0, 0); g.do(15, 3, 8); g.do(8, 4, 9) }},
		{"eventfd", func(t *testing.T, g *guest) { g.do(1, 3, 0); g.do(1, 0, 0) }},
		{"full semaphore", func(t *testing.T, g *guest) {
			e := NewEventFD(g.tab.System(), 0, true, unix.O_NONBLOCK)
			mustInstall(t, g.tab, e, true, 0, 3)
			if _, errno := e.Write(word(eventMax), CurrentOffset); errno != abi.OK {
				t.Fatal(errno)
			}
		}},
		{"timer", func(_ *testing.T, g *guest) { g.do(2, 0, 0) }},
		{"armed timers", func(_ *testing.T, g *guest) {
			for i := range byte(8) {
				g.do(2, i, 0)
				g.do(13, 3+i, i*36+3)
			}
		}},
		{"expired timers", func(_ *testing.T, g *guest) {
			for i := range byte(8) {
				g.do(2, i, 0)
				g.do(13, 3+i, i*36+3)
			}
			g.do(14, 0, 15)
		}},
		{"set with level, edge and one-shot", func(_ *testing.T, g *guest) {
			g.do(3, 0, 0)
			for i := range byte(4) {
				g.do(1, 1, 0)
				g.do(9, 3+24*i, 4+i)
			}
			g.do(12, 3, 1)
		}},
		{"set whose edges were seen", func(_ *testing.T, g *guest) {
			g.do(3, 0, 0)
			for i := range byte(4) {
				g.do(1, 1, 0)
				g.do(9, 3+24*i, 4+i)
			}
			g.do(12, 3, 7)
		}},
		{"set of closed descriptors", func(_ *testing.T, g *guest) {
			g.do(3, 0, 0)
			g.do(1, 1, 0)
			g.do(4, 4, 9)
			g.do(9, 3, 4)
			g.do(6, 4, 0)
		}},
		{"set of the standard input", func(_ *testing.T, g *guest) { g.do(3, 0, 0); g.do(9, 3, 0); g.do(9, 3, 1) }},
		{"sets that watch each other", func(_ *testing.T, g *guest) {
			for range 4 {
				g.do(3, 0, 0)
			}
			g.do(1, 1, 0)
			g.do(9, 3, 4)
			g.do(9, 4, 5)
			g.do(9, 3, 5)
			g.do(9, 5, 7)
			g.do(9, 6, 3)
		}},
		{"large set", func(_ *testing.T, g *guest) {
			g.do(3, 0, 0)
			for range 15 {
				g.do(1, 0, 0)
			}
			for i := range byte(15) {
				g.do(9, 3, 4+i)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, after := range [][]byte{nil, {8, 4, 8, 8, 7, 8, 12, 3, 9, 12, 6, 9}, {14, 0, 15, 7, 3, 9}, {6, 4, 0, 11, 3, 5, 9, 3, 5, 10, 3, 5, 9, 5, 3}} {
				g := newGuest()
				tt.make(t, g)
				runAlike(t, after, g.clone(t), g)
			}
		})
	}
}

func TestCloneInput(t *testing.T) {
	g := newGuest()
	if g.in.Asked() {
		t.Error("asked before anybody did")
	}
	wantRead(t, g.in, 0, "", abi.OK)
	if g.in.Asked() {
		t.Error("a read of nothing asks")
	}
	wantReady(t, g.in, 0)
	if !g.in.Asked() {
		t.Error("a poll does not ask")
	}
	one, two := g.clone(t), g.clone(t)
	if !one.in.Asked() {
		t.Error("a clone has not asked")
	}
	var w wakes
	one.in.Queue().Add(&w)
	one.in.Deliver([]byte("first"))
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	wantReady(t, one.in, In|Hup)
	wantRead(t, one.in, 9, "first", abi.OK)
	wantRead(t, one.in, 9, "", abi.OK)
	wantReady(t, one.in, Hup)
	wantRead(t, two.in, 9, "", abi.EAGAIN)
	two.in.Deliver(nil)
	wantRead(t, two.in, 9, "", abi.OK)
	wantRead(t, g.in, 9, "", abi.EAGAIN)
}

func TestCloneOutput(t *testing.T) {
	for _, tt := range []struct {
		name          string
		tail          bool
		wrote, before string
	}{
		{"all", false, "abc", "abc"},
		{"tail", true, "abc", "abc"},
		{"full tail", true, "abcdefghij", "cdefghij"},
		{"nothing", true, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := &guest{tab: NewTable(3)}
			called := 0
			g.in, g.out = NewWaitingInput(), NewCaptureOutput(8, func() { called++ })
			if tt.tail {
				g.out = NewCaptureTail(8)
			}
			mustInstall(t, g.tab, g.out, false, 0, 0)
			wantWrite(t, g.out, tt.wrote, len(tt.wrote), abi.OK)
			c := g.clone(t)
			wantWrite(t, g.out, "12", 2, abi.OK)
			if c.out.Dropped() {
				t.Error("an empty clone has dropped something")
			}
			if got := string(c.out.Before()); got != tt.before {
				t.Errorf("Before = %q, want %q", got, tt.before)
			}
			wantWrite(t, c.out, "ABCDEFGHI", 9, abi.OK)
			want, over := "ABCDEFGH", 1
			if tt.tail {
				want, over = "BCDEFGHI", 0
			}
			if got := string(c.out.Bytes()); got != want || c.over != over || called != 0 {
				t.Errorf("Bytes = %q, overflow called %d times (the source's %d), want %q, %d (0)", got, c.over, called, want, over)
			}
		})
	}
}

// Processes share descriptions across their tables, and so do their clones.
func TestCloneForked(t *testing.T) {
	g := newGuest()
	sys := g.tab.System()
	ep, r, w := NewEpoll(sys), (*PipeReader)(nil), (*PipeWriter)(nil)
	r, w = NewPipe(sys, 0)
	mustInstall(t, g.tab, r, false, 3, 3)
	mustInstall(t, g.tab, w, false, 4, 4)
	mustInstall(t, g.tab, ep, false, 5, 5)
	d, _ := g.tab.Description(3)
	if errno := ep.Add(d, 3, EpollEvent{unix.EPOLLIN, 3}); errno != abi.OK {
		t.Fatal(errno)
	}
	child := g.tab.Clone()
	g.tab.Close(4)
	g.tab.Close(5)
	child.Close(3)
	for _, order := range [][2]*Table{{g.tab, child}, {child, g.tab}} {
		var n ordered
		c := CloneContext{Clock: &n, Timers: &n, Memory: &g.memory}
		var tabs [2]*Table
		for i, tab := range order {
			var err error
			if tabs[i], err = tab.CloneInto(&c); err != nil {
				t.Fatal(err)
			}
		}
		parent, kid := tabs[0], tabs[1]
		if order[0] == child {
			parent, kid = kid, parent
		}
		if parent.System() != kid.System() {
			t.Fatal("the clones are of different systems")
		}
		kw, _ := kid.Get(4)
		wantWrite(t, kw, "x", 1, abi.OK)
		ke, _ := kid.Get(5)
		if d := cmp.Diff([]EpollEvent{{unix.EPOLLIN, 3}}, ke.(*Epoll).Collect(9)); d != "" {
			t.Error(d)
		}
		pr, _ := parent.Get(3)
		wantRead(t, pr, 9, "x", abi.OK)
		wantRead(t, r, 9, "", abi.EAGAIN)
		parent.CloseAll()
		if sys := kid.System(); sys.watches != 0 {
			t.Errorf("%d watches of a file that nobody has open", sys.watches)
		}
		kid.CloseAll()
		if sys := kid.System(); sys.pipeBytes != 0 {
			t.Errorf("%d bytes of pipes left", sys.pipeBytes)
		}
	}
}

// A stream of the host in place of what the frozen program had.
func TestCloneReplaces(t *testing.T) {
	g := newGuest()
	g.in.SetStatusFlags(unix.O_NONBLOCK)
	ep := NewEpoll(g.tab.System())
	mustInstall(t, g.tab, ep, false, 3, 3)
	d, _ := g.tab.Description(0)
	ep.Add(d, 0, EpollEvent{unix.EPOLLIN | unix.EPOLLET, 7})
	var n ordered
	c := CloneContext{Clock: &n, Timers: &n, Memory: &g.memory}
	in := NewEventInput([]byte("at once"))
	c.Replace(g.in, in)
	tab, err := g.tab.CloneInto(&c)
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := tab.Get(0); f != File(in) || c.File(g.in) != File(in) || in.StatusFlags() != unix.O_NONBLOCK {
		t.Errorf("descriptor 0 is %#v", f)
	}
	set, _ := tab.Get(3)
	if d := cmp.Diff([]EpollEvent{{unix.EPOLLIN | unix.EPOLLHUP, 7}}, set.(*Epoll).Collect(9)); d != "" {
		t.Errorf("what was ready when it came is not reported: %s", d)
	}
}

func TestCloneRefuses(t *testing.T) {
	host := NewStreamInput(strings.NewReader(""), nil)
	for _, tt := range []struct {
		name    string
		replace File
		watch   bool
		want    string
	}{
		{"not a Cloner", nil, false, "clone descriptor 3: an open file of type *fd.StreamInput cannot be copied"},
		{"cannot be watched", &countFile{}, true, "a file of type *fd.countFile replaces one of type *fd.StreamInput that is in an epoll set, which it cannot be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest()
			mustInstall(t, g.tab, host, false, 3, 3)
			if tt.watch {
				ep := NewEpoll(g.tab.System())
				mustInstall(t, g.tab, ep, false, 4, 4)
				d, _ := g.tab.Description(3)
				d.items = &epollItem{ep: ep, key: epollKey{d, 3}}
				ep.items = []*epollItem{d.items}
			}
			var c CloneContext
			if tt.replace != nil {
				c.Replace(host, tt.replace)
			}
			_, err := g.tab.CloneInto(&c)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if c.File(host) != tt.replace {
				t.Error("File returns a stream of the host")
			}
		})
	}
}

// Many clones of one frozen guest are made and run at the same time; for the race
// detector.
func TestCloneConcurrently(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	g := newGuest()
	for p := randomOps(r, 200); len(p) >= 3; p = p[3:] {
		g.do(p[0], p[1], p[2])
	}
	g.out.buf = append(g.out.buf, "before"...)
	after := randomOps(r, 100)
	logs := make([]string, 4)
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			for range 20 {
				c := g.clone(t)
				for p := after; len(p) >= 3; p = p[3:] {
					c.do(p[0], p[1], p[2])
				}
				logs[i] = strings.Join(append(c.log, c.drain()...), "\n") + string(c.out.Before())
				c.tab.CloseAll()
			}
		})
	}
	wg.Wait()
	for _, l := range logs {
		if l != logs[0] || l == "" {
			t.Error("clones of the same guest differ")
		}
	}
}

// What programs have open where they wait: C and Python; Go with its poller; Node.
func BenchmarkTableClone(b *testing.B) {
	for _, bb := range []struct {
		name string
		make func(g *guest)
	}{
		{"3streams", func(*guest) {}},
		{"5go", func(g *guest) {
			g.do(3, 0, 1)
			g.do(1, 0, 1)
			g.do(9, 3+48, 4)
		}},
		{"20node", func(g *guest) {
			for range 2 {
				g.do(3, 0, 1)
			}
			for range 4 {
				g.do(0, 0, 1)
			}
			for range 5 {
				g.do(1, 0, 1)
			}
			g.do(2, 0, 0)
			g.do(13, 18, 4)
			for _, fd := range []byte{0, 5, 7, 13, 14, 15, 18} {
				g.do(9, 3, fd)
			}
			g.do(9, 4, 16)
			g.do(4, 1, 0)
		}},
		{"24full pipes", func(g *guest) {
			for range 10 {
				g.do(0, 0, 0)
			}
			for i := range byte(10) {
				g.do(8, 4+2*i, 255)
			}
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g := newGuest()
			bb.make(g)
			var n guest
			b.ReportAllocs()
			for b.Loop() {
				n.clock.due = n.clock.due[:0]
				c := CloneContext{Clock: &n.clock, Timers: &n.clock, Memory: &n.memory}
				if _, err := g.tab.CloneInto(&c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
