// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// budget is the memory of a VM in pages.
type budget struct{ used, limit uint64 }

func (b *budget) Charge(n uint64) bool {
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

func (b *budget) Release(n uint64) { b.used -= n }

// vm is a network with a table of descriptors.
type vm struct {
	t      testing.TB
	memory *budget
	table  *fd.Table
	*Stack
}

func newVM(t testing.TB, pages uint64) *vm {
	v := &vm{t: t, memory: &budget{limit: pages}, table: fd.NewTable(1 << 16)}
	v.table.System().Memory = v.memory
	v.Stack = NewStack(v.table.System())
	return v
}

// clone returns the VM that a snapshot of v gives.
func (v *vm) clone() *vm {
	v.t.Helper()
	m := *v.memory
	c := &fd.CloneContext{Memory: &m}
	table, err := v.table.CloneInto(c)
	if err != nil {
		v.t.Fatal(err)
	}
	return &vm{t: v.t, memory: &m, table: table, Stack: v.Stack.Clone(c)}
}

// install opens a descriptor.
func (v *vm) install(s *Socket, errno abi.Errno) int32 {
	v.t.Helper()
	if errno != abi.OK {
		v.t.Fatal(errno)
	}
	n, errno := v.table.Install(s, false, 0)
	if errno != abi.OK {
		v.t.Fatal(errno)
	}
	return n
}

func (v *vm) get(n int32) *Socket {
	f, errno := v.table.Get(n)
	if errno != abi.OK {
		v.t.Fatalf("descriptor %d: %v", n, errno)
	}
	return f.(*Socket)
}

func (v *vm) socket(domain, typ int) int32 {
	v.t.Helper()
	return v.install(v.New(domain, typ, 0, unix.O_NONBLOCK, Cred{PID: 7}))
}

func (v *vm) pair(typ int) (a, b int32) {
	v.t.Helper()
	x, y, errno := v.Pair(unix.AF_UNIX, typ, 0, unix.O_NONBLOCK, Cred{PID: 7})
	return v.install(x, errno), v.install(y, errno)
}

// listen returns a listener and its address.
func (v *vm) listen(domain, typ, backlog int) (int32, Addr) {
	v.t.Helper()
	n := v.socket(domain, typ)
	s := v.get(n)
	a := Addr{Family: uint16(domain), IP: loopIP6, Path: fmt.Sprintf("\x00listener %d", n)}
	if domain == unix.AF_INET {
		a.IP = loopIP4
	}
	if errno := s.Bind(a); errno != abi.OK {
		v.t.Fatal(errno)
	}
	if errno := s.Listen(backlog, Cred{PID: 7}); errno != abi.OK {
		v.t.Fatal(errno)
	}
	return n, s.LocalAddr()
}

// connected returns both ends of a connection.
func (v *vm) connected(domain int) (a, b int32) {
	v.t.Helper()
	l, at := v.listen(domain, unix.SOCK_STREAM, 1)
	a = v.socket(domain, unix.SOCK_STREAM)
	_, errno := v.get(a).Connect(at, true, Cred{PID: 8})
	if errno != abi.OK && errno != abi.EINPROGRESS {
		v.t.Fatal(errno)
	}
	b = v.install(v.get(l).Accept(unix.O_NONBLOCK))
	v.table.Close(l)
	return a, b
}

func (v *vm) send(n int32, text string, rights ...int32) {
	v.t.Helper()
	m := &Message{Cred: Cred{PID: 7}, Limit: 1000}
	for _, r := range rights {
		d, errno := v.table.Description(r)
		if errno != abi.OK {
			v.t.Fatal(errno)
		}
		m.Rights = append(m.Rights, d)
	}
	if k, _, errno := v.get(n).Send(fd.Buffers{[]byte(text)}, m); errno != abi.OK || k != len(text) {
		v.t.Fatalf("send %q: %d, %v", text, k, errno)
	}
}

func (v *vm) recv(n int32) string {
	v.t.Helper()
	var buf [4096]byte
	r, errno := v.get(n).Recv(fd.Buffers{buf[:]}, false, 0)
	out := string(buf[:r.N])
	if errno != abi.OK {
		out = errno.String()
	}
	for _, d := range r.Rights {
		k, errno := v.table.InstallDescription(d, false, 0)
		d.Unref()
		if errno != abi.OK {
			v.t.Error(errno)
		}
		out += fmt.Sprintf(" +%d", k)
	}
	return out
}

func (v *vm) want(n int32, want string) {
	v.t.Helper()
	if got := v.recv(n); got != want {
		v.t.Errorf("descriptor %d gives %q, want %q", n, got, want)
	}
}

// empty holds that nothing is left once all is closed.
func (v *vm) empty() {
	v.t.Helper()
	v.table.CloseAll()
	v.Collect()
	if u := v.Usage(); u != (Usage{}) || v.memory.used != 0 {
		v.t.Errorf("after the end: %+v, %d pages", u, v.memory.used)
	}
}

// TestNothingLeaks opens and closes 10,000 connections of each kind, in each of
// the ways that they end.
func TestNothingLeaks(t *testing.T) {
	for _, domain := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_UNIX} {
		t.Run(fmt.Sprint(domain), func(t *testing.T) {
			v := newVM(t, 4096)
			l, at := v.listen(domain, unix.SOCK_STREAM, 5)
			before, pages := v.Usage(), v.memory.used
			for i := range 10_000 {
				c := v.socket(domain, unix.SOCK_STREAM)
				if _, errno := v.get(c).Connect(at, true, Cred{}); errno != abi.OK && errno != abi.EINPROGRESS {
					t.Fatalf("connection %d: %v", i, errno)
				}
				switch {
				case i%5 == 4: // given up before it was accepted
					v.send(c, "nobody reads this")
					v.table.Close(c)
					v.table.Close(v.install(v.get(l).Accept(0)))
					continue
				}
				s := v.install(v.get(l).Accept(unix.O_NONBLOCK))
				v.send(c, "a request that is long enough")
				if i%5 != 0 {
					v.want(s, "a request that is long enough")
				}
				v.send(s, string(make([]byte, 9000*(i%3))))
				if i%5 == 1 {
					v.get(c).Shutdown(unix.SHUT_WR)
					v.get(s).Shutdown(unix.SHUT_RDWR)
				}
				v.table.Close([]int32{c, s}[i%2])
				v.table.Close([]int32{s, c}[i%2])
				if u := v.Usage(); u != before || v.memory.used != pages {
					t.Fatalf("after connection %d: %+v and %d pages, at first %+v and %d", i, u, v.memory.used, before, pages)
				}
			}
			v.empty()
		})
	}
}

// TestListenerCloses holds that a listener takes with it those that it has not
// accepted, and those that wait for a place.
func TestListenerCloses(t *testing.T) {
	for _, domain := range []int{unix.AF_INET, unix.AF_UNIX} {
		v := newVM(t, 4096)
		l, at := v.listen(domain, unix.SOCK_STREAM, 2)
		var list []int32
		for range 6 {
			c := v.socket(domain, unix.SOCK_STREAM)
			_, errno := v.get(c).Connect(at, true, Cred{})
			if domain == unix.AF_UNIX && len(list) >= 3 {
				if errno != abi.EAGAIN {
					t.Errorf("connection %d of a full listener: %v", len(list), errno)
				}
			}
			list = append(list, c)
		}
		v.table.Close(l)
		for i, c := range list {
			want := abi.ECONNRESET
			if i >= 3 {
				want = abi.ECONNREFUSED
				if domain == unix.AF_UNIX {
					want = abi.OK
				}
			}
			if got := v.get(c).takeErr(); got != want {
				t.Errorf("domain %d, connection %d: %v, want %v", domain, i, got, want)
			}
		}
		v.empty()
	}
}

// TestMemoryEnds holds that a VM without memory left gets errors and no more.
func TestMemoryEnds(t *testing.T) {
	v := newVM(t, 64)
	a, b := v.connected(unix.AF_INET)
	sent := 0
	for {
		n, _, errno := v.get(a).Send(fd.Buffers{make([]byte, 30_000)}, &Message{})
		sent += n
		if errno == abi.ENOBUFS {
			break
		}
		if errno != abi.OK {
			t.Fatal(errno)
		}
	}
	if v.memory.used > 64 || sent < 64<<10 {
		t.Errorf("%d pages for %d bytes", v.memory.used, sent)
	}
	got := 0
	for got < sent {
		var buf [5000]byte
		r, errno := v.get(b).Recv(fd.Buffers{buf[:]}, false, 0)
		if errno != abi.OK {
			t.Fatalf("%v after %d bytes of %d", errno, got, sent)
		}
		got += r.N
	}
	sockets := 0
	for ; ; sockets++ {
		s, errno := v.New(unix.AF_UNIX, unix.SOCK_DGRAM, 0, 0, Cred{})
		if errno == abi.ENOBUFS {
			break
		}
		v.install(s, errno)
	}
	if sockets == 0 || sockets > 64*pageSize/socketMemory {
		t.Errorf("%d sockets in %d pages", sockets, 64)
	}
	v.empty()
}

// TestCollect holds that sockets which only hold each other go, and others stay.
func TestCollect(t *testing.T) {
	v := newVM(t, 4096)
	keep, other := v.pair(unix.SOCK_STREAM)
	for range 10 {
		a, b := v.pair(unix.SOCK_STREAM)
		c, d := v.pair(unix.SOCK_DGRAM)
		v.send(a, "b in itself", b)
		v.send(a, "d in b", d)
		v.send(c, "b in d", b)
		for _, n := range []int32{b, d, a, c} {
			v.table.Close(n)
		}
	}
	// In a listener's queue.
	l, at := v.listen(unix.AF_UNIX, unix.SOCK_STREAM, 5)
	c := v.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	if _, errno := v.get(c).Connect(at, true, Cred{}); errno != abi.OK {
		t.Fatal(errno)
	}
	v.send(c, "the listener itself", l)
	v.table.Close(l)
	v.table.Close(c)
	// One that can be received: other's buffer holds x, whose buffer holds y.
	x, xp := v.pair(unix.SOCK_STREAM)
	y, yp := v.pair(unix.SOCK_STREAM)
	v.send(xp, "y", y)
	v.send(yp, "text for y")
	v.send(keep, "x", x)
	for _, n := range []int32{x, y, xp, yp} {
		v.table.Close(n)
	}
	v.Collect()
	if u := v.Usage(); u.InFlight != 2 {
		t.Errorf("%d descriptors in flight, want 2: %+v", u.InFlight, u)
	}
	for _, w := range []*vm{v.clone(), v} {
		w.want(other, "x +2")
		w.want(2, "y +3")
		w.want(3, "text for y")
		w.empty()
	}
}

// TestTooManyInFlight holds that descriptors in messages are bounded.
func TestTooManyInFlight(t *testing.T) {
	v := newVM(t, 1<<16)
	a, b := v.pair(unix.SOCK_DGRAM)
	d, _ := v.table.Description(a)
	for i := range 100 {
		_, _, errno := v.get(a).Send(fd.Buffers{[]byte("x")}, &Message{Rights: []*fd.Description{d, d, d}, Limit: 100})
		want := abi.OK
		if i >= 33 {
			want = abi.ETOOMANYREFS
		}
		if errno != want {
			t.Fatalf("message %d: %v, want %v", i, errno, want)
		}
	}
	v.table.Close(b)
	v.empty()
}

// TestSnapshot holds that a clone has every socket as it was, that it and the source
// do not touch each other, and that epoll sets still watch.
func TestSnapshot(t *testing.T) {
	v := newVM(t, 4096)
	a, b := v.connected(unix.AF_INET)
	c, d := v.pair(unix.SOCK_STREAM)
	e, f := v.pair(unix.SOCK_DGRAM)
	l, at := v.listen(unix.AF_INET6, unix.SOCK_STREAM, 0)
	var waiting []int32 // the first is in the queue, the second waits for a place
	for range 3 {
		n := v.socket(unix.AF_INET6, unix.SOCK_STREAM)
		v.get(n).Connect(at, true, Cred{})
		waiting = append(waiting, n)
	}
	u := v.socket(unix.AF_INET, unix.SOCK_DGRAM)
	if errno := v.get(u).Bind(Addr{Family: unix.AF_INET, IP: anyIP4, Port: 5353}); errno != abi.OK {
		t.Fatal(errno)
	}
	set := fd.NewEpoll(v.table.System())
	ep, _ := v.table.Install(set, false, 0)
	for _, n := range []int32{b, d, l} {
		desc, _ := v.table.Description(n)
		if errno := set.Add(desc, n, fd.EpollEvent{Events: unix.EPOLLIN | 1<<31, Data: uint64(n)}); errno != abi.OK {
			t.Fatal(errno)
		}
	}
	v.send(a, "to b")
	v.send(c, "to d, with the epoll set and itself", ep, c, d)
	v.send(e, "one")
	v.send(e, "")
	v.send(e, "two", u)
	v.table.Close(ep) // it is on its way only
	v.get(b).Shutdown(unix.SHUT_WR)
	v.get(waiting[0]).Send(fd.Buffers{[]byte("early")}, &Message{})

	play := func(v *vm) string {
		var out bytes.Buffer
		fmt.Fprintln(&out, v.Usage(), v.memory.used, v.Listening(at.Port), v.Listening(5353))
		fmt.Fprintln(&out, v.recv(b), v.recv(a), v.recv(d), v.recv(f), v.recv(f), v.recv(f), v.recv(f))
		set, _ := v.table.Get(ep)
		fmt.Fprintln(&out, set.(*fd.Epoll).Collect(10))
		for range 4 {
			s, errno := v.get(l).Accept(unix.O_NONBLOCK)
			if errno != abi.OK {
				fmt.Fprintln(&out, errno)
				continue
			}
			n := v.install(s, errno)
			fmt.Fprintln(&out, n, v.recv(n), s.PeerAddrText())
		}
		for n := range int32(30) {
			if f, errno := v.table.Get(n); errno == abi.OK {
				fmt.Fprintf(&out, "%d:%#x ", n, f.Readiness())
			}
		}
		v.send(a, "more")
		v.send(e, "more")
		fmt.Fprintln(&out, set.(*fd.Epoll).Collect(10), v.recv(b), v.recv(f), v.Usage())
		out.Write(v.Proc("tcp6"))
		out.Write(v.Proc("udp"))
		return out.String()
	}
	x, y := v.clone(), v.clone()
	z := x.clone()
	first := play(x)
	for name, other := range map[string]*vm{"a second clone": y, "a clone of a clone": z, "the source": v} {
		if got := play(other); got != first {
			t.Errorf("%s differs:\n%s\nfrom\n%s", name, got, first)
		}
	}
	for _, w := range []*vm{x, y, z, v} {
		w.empty()
	}
	if !bytes.Contains([]byte(first), []byte("early")) || !bytes.Contains([]byte(first), []byte("to d, with the epoll set and itself +")) {
		t.Errorf("played:\n%s", first)
	}
}

// PeerAddrText is for messages of tests.
func (s *Socket) PeerAddrText() string {
	a, errno := s.PeerAddr()
	return fmt.Sprint(a, errno)
}

func FuzzDecodeAddr(f *testing.F) {
	for _, a := range []Addr{
		{Family: unix.AF_INET, IP: loopIP4, Port: 80},
		{Family: unix.AF_INET6, IP: loopIP6, Port: 80, Scope: 1},
		{Family: unix.AF_UNIX, Path: "a/b"},
		{Family: unix.AF_UNIX, Path: "\x00abstract"},
		{Family: unix.AF_NETLINK, PortID: 9},
	} {
		f.Add(a.Family, a.Encode())
	}
	f.Fuzz(func(t *testing.T, domain uint16, raw []byte) {
		a, errno := DecodeAddr(int(domain), raw)
		if errno != abi.OK || a.Family != domain || domain == unix.AF_UNSPEC {
			return
		}
		b, errno := DecodeAddr(int(domain), a.Encode())
		if errno == abi.OK && a != b && a.Path == b.Path {
			t.Errorf("%x: %+v, encoded and decoded %+v", raw, a, b)
		}
		v := newVM(t, 64)
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			s, errno := v.New(int(domain), typ, 0, 0, Cred{})
			if errno != abi.OK {
				continue
			}
			_ = s.Bind(a)
			_, _ = s.Connect(a, true, Cred{})
			_, _, _ = s.Send(fd.Buffers{[]byte("x")}, &Message{To: &a})
			s.Release()
		}
		v.empty()
	})
}

func FuzzDecodeControl(f *testing.F) {
	var w ControlWriter
	w.Room = 400
	w.Add(unix.SOL_SOCKET, unix.SCM_RIGHTS, make([]byte, 12))
	w.Add(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, make([]byte, 12))
	w.Add(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 12))
	w.Add(unix.IPPROTO_IP, unix.IP_TTL, int32Bytes(9))
	w.Add(unix.IPPROTO_IP, unix.IP_TOS, []byte{9})
	w.Add(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, int32Bytes(9))
	w.Add(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int32Bytes(-1))
	f.Add(uint8(unix.AF_UNIX), w.Bytes)
	f.Add(uint8(unix.AF_INET), w.Bytes)
	f.Fuzz(func(t *testing.T, domain uint8, raw []byte) {
		c, errno := DecodeControl(int(domain), raw)
		if len(c.FDs) > MaxRights || errno != abi.OK && (c.FDs != nil || c.Cred != nil) {
			t.Errorf("%v: %d descriptors, credentials %v", errno, len(c.FDs), c.Cred)
		}
	})
}

func FuzzNetlink(f *testing.F) {
	r := reply{portID: 1}
	r.message(unix.RTM_GETLINK, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, 1, func(b []byte) []byte { return append(b, make([]byte, 16)...) })
	r.message(unix.RTM_GETLINK, unix.NLM_F_REQUEST|unix.NLM_F_ACK, 2, func(b []byte) []byte {
		return attribute(append(b, make([]byte, 16)...), unix.IFLA_IFNAME, []byte("lo\x00"))
	})
	r.message(unix.RTM_GETADDR, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, 3, func(b []byte) []byte { return append(b, unix.AF_INET) })
	f.Add(r.b)
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := newVM(t, 4096)
		n := v.socket(unix.AF_NETLINK, unix.SOCK_RAW)
		s := v.get(n)
		_, _, _ = s.Send(fd.Buffers{raw}, &Message{})
		if s.in.cost > int(s.opts.rcvBuf) {
			t.Errorf("%d bytes of answers", s.in.cost)
		}
		for {
			var buf [1 << 16]byte
			got, errno := s.Recv(fd.Buffers{buf[:]}, false, 0)
			if errno == abi.ENOBUFS {
				continue
			}
			if errno != abi.OK {
				break
			}
			decodeNetlink(buf[:got.N], func(netlinkHeader, []byte) {})
		}
		v.empty()
	})
}
