// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

var differentialSeeds = flag.Int("differential-seeds", 150, "random series of calls of TestDifferential")

// side is where the calls are made: on sockets of the host, or of a VM. Sockets are
// known by the order in which they were made.
type side interface {
	socket(domain, typ int) error
	pair(typ int) error
	listen(i, backlog int) error
	connect(i, to int) error
	accept(i int) error
	send(i int, p []byte) (int, error)
	recv(i int, p []byte, peek bool) (int, error)
	shutdown(i, how int) error
	soError(i int) int
	linger(i int)
	poll(i int) int
	close(i int)
}

// guest is a side in a VM.
type guest struct {
	*vm
	fds []int32
}

func result0(errno abi.Errno) error {
	if errno == abi.OK {
		return nil
	}
	return unix.Errno(errno)
}

func (g *guest) add(s *Socket, errno abi.Errno) error {
	if errno == abi.OK {
		g.fds = append(g.fds, g.install(s, errno))
	}
	return result0(errno)
}

func (g *guest) at(i int) *Socket { return g.get(g.fds[i]) }

func (g *guest) socket(domain, typ int) error {
	return g.add(g.New(domain, typ, 0, unix.O_NONBLOCK, Cred{PID: 1}))
}

func (g *guest) pair(typ int) error {
	a, b, errno := g.Pair(unix.AF_UNIX, typ, 0, unix.O_NONBLOCK, Cred{PID: 1})
	if errno == abi.OK {
		_ = g.add(a, errno)
		_ = g.add(b, errno)
	}
	return result0(errno)
}

// name is a bind of an address of the kernel's choice.
func localAddr(domain int) Addr {
	switch domain {
	case unix.AF_INET:
		return Addr{Family: unix.AF_INET, IP: loopIP4}
	case unix.AF_INET6:
		return Addr{Family: unix.AF_INET6, IP: loopIP6}
	}
	return Addr{Family: unix.AF_UNIX}
}

func (g *guest) listen(i, backlog int) error {
	s := g.at(i)
	if errno := s.Bind(localAddr(s.domain)); errno != abi.OK && errno != abi.EINVAL {
		return unix.Errno(errno)
	}
	return result0(s.Listen(backlog, Cred{PID: 1}))
}

func (g *guest) connect(i, to int) error {
	if s := g.at(to); s.unix() && s.name == "" {
		return unix.EINVAL
	}
	_, errno := g.at(i).Connect(g.at(to).LocalAddr(), true, Cred{PID: 1})
	return result0(errno)
}

func (g *guest) accept(i int) error { return g.add(g.at(i).Accept(unix.O_NONBLOCK)) }

func (g *guest) send(i int, p []byte) (int, error) {
	n, _, errno := g.at(i).Send(fd.Buffers{p}, &Message{Cred: Cred{PID: 1}})
	if n > 0 && errno != abi.EAGAIN {
		errno = abi.OK
	}
	if errno != abi.OK {
		return 0, unix.Errno(errno)
	}
	return n, nil
}

func (g *guest) recv(i int, p []byte, peek bool) (int, error) {
	r, errno := g.at(i).Recv(fd.Buffers{p}, peek, 0)
	if errno != abi.OK {
		return -1, unix.Errno(errno)
	}
	return r.N, nil
}

func (g *guest) shutdown(i, how int) error { return result0(g.at(i).Shutdown(how)) }
func (g *guest) soError(i int) int         { return int(g.at(i).takeErr()) }
func (g *guest) poll(i int) int            { return int(g.at(i).Readiness()) }
func (g *guest) close(i int)               { g.table.Close(g.fds[i]) }

func (g *guest) linger(i int) {
	g.at(i).SetOption(unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// host is a side of real sockets.
type host struct {
	t   *testing.T
	fds []int
}

func (h *host) add(n int, err error) error {
	if err == nil {
		h.fds = append(h.fds, n)
		// What is sent is to be there at once; not every socket has the option.
		_ = unix.SetsockoptInt(n, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return err
}

func (h *host) socket(domain, typ int) error {
	return h.add(unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0))
}

func (h *host) pair(typ int) error {
	p, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		h.fds = append(h.fds, p[0], p[1])
	}
	return err
}

func (h *host) listen(i, backlog int) error {
	domain, err := unix.GetsockoptInt(h.fds[i], unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	var a unix.Sockaddr
	switch domain {
	case unix.AF_INET:
		a = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	case unix.AF_INET6:
		a = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	default:
		a = &unix.SockaddrUnix{}
	}
	if err := unix.Bind(h.fds[i], a); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return unix.Listen(h.fds[i], backlog)
}

func (h *host) connect(i, to int) error {
	a, err := unix.Getsockname(h.fds[to])
	if err != nil {
		return err
	}
	if u, ok := a.(*unix.SockaddrUnix); ok && (u.Name == "" || u.Name == "@") {
		return unix.EINVAL
	}
	return unix.Connect(h.fds[i], a)
}

func (h *host) accept(i int) error {
	n, _, err := unix.Accept4(h.fds[i], unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return h.add(n, err)
}

func (h *host) send(i int, p []byte) (int, error) {
	return unix.SendmsgN(h.fds[i], p, nil, nil, unix.MSG_NOSIGNAL)
}

func (h *host) recv(i int, p []byte, peek bool) (int, error) {
	flags := 0
	if peek {
		flags = unix.MSG_PEEK
	}
	n, _, err := unix.Recvfrom(h.fds[i], p, flags)
	return n, err
}

func (h *host) shutdown(i, how int) error { return unix.Shutdown(h.fds[i], how) }

func (h *host) soError(i int) int {
	n, err := unix.GetsockoptInt(h.fds[i], unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *host) poll(i int) int {
	p := []unix.PollFd{{Fd: int32(h.fds[i]), Events: -1}}
	if _, err := unix.Poll(p, 0); err != nil {
		h.t.Fatal(err)
	}
	return int(uint16(p[0].Revents))
}

func (h *host) close(i int) { unix.Close(h.fds[i]) }

func (h *host) linger(i int) {
	if err := unix.SetsockoptLinger(h.fds[i], unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		h.t.Fatal(err)
	}
}

// model remembers which sockets there are.
type model struct {
	open      []int
	listeners []int
	count     int
	sent      map[int]int
}

// step makes one random call on a side and says what it gave. The same numbers
// make the same call.
func (m *model) step(s side, r *rand.Rand, domain, typ int) string {
	pick := func(list []int) int {
		if len(list) == 0 {
			return -1
		}
		return list[r.IntN(len(list))]
	}
	grown := func(err error, n int) {
		if err != nil {
			return
		}
		for range n {
			m.open = append(m.open, m.count)
			m.count++
		}
	}
	i, k := pick(m.open), r.IntN(100)
	size := r.IntN(200)
	switch {
	case i < 0 || k < 8 && len(m.open) < 12:
		if domain == unix.AF_UNIX && r.IntN(2) == 0 {
			err := s.pair(typ)
			grown(err, 2)
			return fmt.Sprint("pair ", err)
		}
		err := s.socket(domain, typ)
		grown(err, 1)
		return fmt.Sprint("socket ", err)
	case k < 14:
		backlog := 1 + r.IntN(3)
		if domain != unix.AF_UNIX { // who finds no place there tries again by the clock
			backlog = 50
		}
		err := s.listen(i, backlog)
		if err == nil {
			m.listeners = append(m.listeners, i)
		}
		return fmt.Sprint("listen ", i, err)
	case k < 28:
		to := pick(m.listeners)
		if to < 0 || r.IntN(8) == 0 {
			to = i
		}
		return fmt.Sprint("connect ", i, to, s.connect(i, to))
	case k < 40:
		if l := pick(m.listeners); l >= 0 && r.IntN(5) > 0 {
			i = l
		}
		err := s.accept(i)
		grown(err, 1)
		return fmt.Sprint("accept ", i, err)
	case k < 60:
		if m.sent[i] > 20000 {
			return ""
		}
		p := make([]byte, size)
		for j := range p {
			p[j] = byte(m.sent[i] + j)
		}
		m.sent[i] += size
		n, err := s.send(i, p)
		return fmt.Sprint("send ", i, size, n, err)
	case k < 82:
		p := make([]byte, size+1)
		peek := r.IntN(5) == 0
		n, err := s.recv(i, p, peek)
		return fmt.Sprint("recv ", i, size+1, peek, n, err, p[:max(n, 0)])
	case k < 87:
		how := r.IntN(3)
		return fmt.Sprint("shutdown ", i, how, s.shutdown(i, how))
	case k < 91:
		return fmt.Sprint("error ", i, s.soError(i))
	case k < 92 && domain != unix.AF_UNIX:
		s.linger(i)
		return fmt.Sprint("linger ", i)
	case k < 97:
		s.close(i)
		m.open, m.listeners = removed(m.open, i), removed(m.listeners, i)
		return fmt.Sprint("close ", i)
	}
	return fmt.Sprint("poll ", i)
}

func removed(list []int, i int) []int {
	var out []int
	for _, v := range list {
		if v != i {
			out = append(out, v)
		}
	}
	return out
}

// TestDifferential makes random calls on sockets of the host and of a VM: they must
// give the same, and all sockets must be in the same conditions after each.
func TestDifferential(t *testing.T) {
	for _, k := range []struct {
		name        string
		domain, typ int
	}{
		{"unix", unix.AF_UNIX, unix.SOCK_STREAM},
		{"seqpacket", unix.AF_UNIX, unix.SOCK_SEQPACKET},
		{"inet", unix.AF_INET, unix.SOCK_STREAM},
		{"inet6", unix.AF_INET6, unix.SOCK_STREAM},
	} {
		t.Run(k.name, func(t *testing.T) {
			for seed := range *differentialSeeds {
				if !differ(t, uint64(seed), k.domain, k.typ) {
					return
				}
			}
		})
	}
}

func differ(t *testing.T, seed uint64, domain, typ int) bool {
	h := &host{t: t}
	g := &guest{vm: newVM(t, 1<<16)}
	rs := [2]*rand.Rand{rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 1))}
	ms := [2]*model{{sent: map[int]int{}}, {sent: map[int]int{}}}
	defer func() {
		for _, i := range ms[0].open {
			h.close(i)
		}
	}()
	var log []string
	fail := func(format string, args ...any) bool {
		if len(log) > 120 {
			log = log[len(log)-120:]
		}
		for _, l := range log {
			t.Log(l)
		}
		t.Errorf("seed %d: %s", seed, fmt.Sprintf(format, args...))
		return false
	}
	for range 120 {
		want := ms[0].step(h, rs[0], domain, typ)
		got := ms[1].step(g, rs[1], domain, typ)
		if len(got) < 200 {
			log = append(log, got)
		} else {
			log = append(log, got[:200])
		}
		if got != want {
			return fail("the VM: %s\nthe host: %s", got, want)
		}
		for _, i := range ms[0].open {
			got := g.poll(i)
			var want int
			for range 50 { // the host's network may take a moment
				if want = h.poll(i); got == want {
					break
				}
				time.Sleep(200 * time.Microsecond)
			}
			if got != want {
				return fail("socket %d: conditions %#x in the VM, %#x on the host", i, got, want)
			}
		}
	}
	for _, i := range ms[1].open {
		g.close(i)
	}
	g.empty()
	return !t.Failed()
}
