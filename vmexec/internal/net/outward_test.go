// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/talk"
)

// away is a VM whose programs may reach the network outside, and its host.
type away struct {
	*vm
	heard []talk.Message
	posts []func()
}

func newAway(t testing.TB, loopback bool) *away {
	a := &away{vm: newVM(t, 1<<16)}
	a.SetOutward(loopback)
	a.attach()
	return a
}

func (a *away) attach() {
	a.Attach(func(m talk.Message) {
		m.Data = bytes.Clone(m.Data)
		a.heard = append(a.heard, m)
	}, func(f func()) { a.posts = append(a.posts, f) })
}

// loop does what was posted.
func (a *away) loop() {
	for len(a.posts) > 0 {
		f := a.posts[0]
		a.posts = a.posts[1:]
		f()
	}
}

// next returns the oldest message to the host.
func (a *away) next(op talk.Op) talk.Message {
	a.t.Helper()
	a.loop()
	if len(a.heard) == 0 || a.heard[0].Op != op {
		a.t.Fatalf("the host heard %+v, want a message of kind %d first", a.heard, op)
	}
	m := a.heard[0]
	a.heard = a.heard[1:]
	return m
}

// quiet fails when the host was told something.
func (a *away) quiet() {
	a.t.Helper()
	if a.loop(); len(a.heard) > 0 {
		a.t.Errorf("the host heard %+v", a.heard)
		a.heard = nil
	}
}

var far = Addr{Family: unix.AF_INET, IP: mapped(93, 184, 216, 34), Port: 443}

// dialed returns a socket that has asked for a connection, and its number.
func (a *away) dialed() (*Socket, talk.ID) {
	a.t.Helper()
	s := a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
	if _, errno := s.Connect(far, true, Cred{}); errno != abi.EINPROGRESS {
		a.t.Fatal(errno)
	}
	m := a.next(talk.Connect)
	if IP(m.Data) != far.IP || m.Port != far.Port || !m.Conn.Outward() {
		a.t.Errorf("asked for %+v", m)
	}
	return s, m.Conn
}

// open returns a socket that is connected.
func (a *away) open() (*Socket, talk.ID) {
	a.t.Helper()
	s, id := a.dialed()
	a.Tell(talk.Message{Op: talk.Opened, Conn: id})
	if _, errno := s.Connect(far, true, Cred{}); errno != abi.OK {
		a.t.Fatal(errno)
	}
	return s, id
}

func TestOutwardOff(t *testing.T) {
	v := newVM(t, 1<<16)
	v.Attach(func(m talk.Message) { t.Errorf("the host heard %+v", m) }, func(func()) {})
	s := v.get(v.socket(unix.AF_INET, unix.SOCK_STREAM))
	if _, errno := s.Connect(far, true, Cred{}); errno != abi.ENETUNREACH {
		t.Error(errno)
	}
	if _, errno := s.Connect(Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: 53}, false, Cred{}); errno != abi.ECONNREFUSED {
		t.Error(errno)
	}
	on := newAway(t, false)
	on.Detach() // nobody to ask
	s = on.get(on.socket(unix.AF_INET, unix.SOCK_STREAM))
	if _, errno := s.Connect(far, true, Cred{}); errno != abi.ENETUNREACH {
		t.Error(errno)
	}
	if _, errno := s.Connect(Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: 53}, false, Cred{}); errno != abi.ECONNREFUSED {
		t.Error(errno)
	}
}

func TestOutwardBytes(t *testing.T) {
	a := newAway(t, false)
	s, id := a.open()
	if peer, errno := s.PeerAddr(); errno != abi.OK || peer.String() != far.String() || s.LocalAddr().IP != loopIP4 {
		t.Errorf("from %v to %v, %v", s.LocalAddr(), peer, errno)
	}
	if n, _, errno := s.Send(fd.Buffers{[]byte("question")}, &Message{}); n != 8 || errno != abi.OK {
		t.Fatal(n, errno)
	}
	if m := a.next(talk.Data); m.Conn != id || string(m.Data) != "question" {
		t.Errorf("heard %+v", m)
	}
	s.Shutdown(unix.SHUT_WR)
	a.next(talk.End)
	a.Tell(talk.Message{Op: talk.Data, Conn: id, Data: []byte("answer")})
	a.Tell(talk.Message{Op: talk.End, Conn: id})
	a.Tell(talk.Message{Op: talk.Close, Conn: id})
	b := make([]byte, 10)
	if r, errno := s.Recv(fd.Buffers{b}, false, 0); string(b[:r.N]) != "answer" || errno != abi.OK {
		t.Errorf("%q, %v", b[:r.N], errno)
	}
	if r, errno := s.Recv(fd.Buffers{b}, false, 0); r.N != 0 || errno != abi.OK {
		t.Errorf("at the end: %d, %v", r.N, errno)
	}
	a.quiet()
	if len(a.outward.conns) != 0 {
		t.Error("the connection is still known")
	}
	s.Release()
	a.quiet()
}

// TestOutwardWindows has a program that takes nothing, and a host that takes nothing.
func TestOutwardWindows(t *testing.T) {
	a := newAway(t, false)
	s, id := a.open()
	sent := 0
	for {
		n, _, errno := s.Send(fd.Buffers{make([]byte, 64<<10)}, &Message{})
		sent += n
		a.loop()
		if errno != abi.OK {
			break
		}
	}
	told := 0
	for _, m := range a.heard {
		told += len(m.Data)
	}
	if told != talk.OutwardWindow || sent <= told || sent > 8<<20 {
		t.Errorf("a program sent %d bytes, of which the host was told %d", sent, told)
	}
	a.heard = nil
	a.Tell(talk.Message{Op: talk.Taken, Conn: id, N: 5})
	if m := a.next(talk.Data); len(m.Data) != 5 {
		t.Errorf("%d bytes, where 5 were taken", len(m.Data))
	}
	for range 4 {
		a.Tell(talk.Message{Op: talk.Data, Conn: id, Data: make([]byte, talk.OutwardWindow/4)})
	}
	taken := 0
	for b := make([]byte, 4096); ; {
		r, errno := s.Recv(fd.Buffers{b}, false, 0)
		if a.loop(); errno == abi.EAGAIN {
			break
		}
		taken += r.N
	}
	credit := uint32(0)
	for _, m := range a.heard {
		credit += m.N
	}
	if taken != talk.OutwardWindow || int(credit) != taken {
		t.Errorf("a program took %d bytes, and the host was told %d", taken, credit)
	}
}

func TestOutwardRefused(t *testing.T) {
	for _, tc := range []struct{ told, want abi.Errno }{
		{abi.ENETUNREACH, abi.ENETUNREACH}, {abi.ECONNREFUSED, abi.ECONNREFUSED}, {abi.ETIMEDOUT, abi.ETIMEDOUT}, {0, abi.ECONNREFUSED},
	} {
		a := newAway(t, false)
		s, id := a.dialed()
		a.Tell(talk.Message{Op: talk.Close, Conn: id, N: uint32(tc.told)})
		if _, errno := s.Connect(far, true, Cred{}); errno != tc.want {
			t.Errorf("told %v: %v", tc.told, errno)
		}
		a.quiet()
	}
	a := newAway(t, false)
	s, id := a.open()
	a.Tell(talk.Message{Op: talk.Close, Conn: id, N: uint32(abi.ECONNRESET)})
	if _, errno := s.Recv(fd.Buffers{make([]byte, 1)}, false, 0); errno != abi.ECONNRESET {
		t.Error(errno)
	}
	a.quiet()
}

// TestOutwardGivenUp has programs that do not wait, and the host that is told.
func TestOutwardGivenUp(t *testing.T) {
	for name, end := range map[string]func(*Socket){
		"close": (*Socket).Release, "time": (*Socket).GiveUp, "shutdown": func(s *Socket) { s.Shutdown(unix.SHUT_RDWR) },
	} {
		a := newAway(t, false)
		s, id := a.dialed()
		end(s)
		if m := a.next(talk.Close); m.Conn != id {
			t.Errorf("%s: %+v", name, m)
		}
		a.Tell(talk.Message{Op: talk.Opened, Conn: id}) // on its way until then
		a.quiet()
	}
	a := newAway(t, false)
	s, id := a.open()
	a.Tell(talk.Message{Op: talk.Data, Conn: id, Data: []byte("x")})
	s.Release() // with a byte that it has not read
	a.next(talk.Close)
	a.quiet()
	for range maxOutward {
		a.dialed()
	}
	more := a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
	if _, errno := more.Connect(far, true, Cred{}); errno != abi.EINPROGRESS {
		t.Fatal(errno)
	}
	if _, errno := more.Connect(far, true, Cred{}); errno != abi.EADDRNOTAVAIL {
		t.Errorf("one too many: %v", errno)
	}
	a.quiet()
}

// TestOutwardLastWords has a program that ends after a write.
func TestOutwardLastWords(t *testing.T) {
	a := newAway(t, false)
	s, _ := a.open()
	s.Send(fd.Buffers{[]byte("last")}, &Message{})
	s.Release()
	a.posts = nil // the loop has ended
	a.Detach()
	if len(a.heard) != 2 || string(a.heard[0].Data) != "last" || a.heard[1].Op != talk.End {
		t.Errorf("heard %+v", a.heard)
	}
}

// TestOutwardLoopback has a host whose loopback interface is meant where nobody listens
// in the VM.
func TestOutwardLoopback(t *testing.T) {
	for _, on := range []bool{false, true} {
		a := newAway(t, on)
		_, at := a.listen(unix.AF_INET, unix.SOCK_STREAM, 1)
		s := a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
		if _, errno := s.Connect(at, false, Cred{}); errno != abi.OK {
			t.Fatal(errno)
		}
		a.quiet()
		s = a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
		_, errno := s.Connect(Addr{Family: unix.AF_INET, IP: loopIP4, Port: 1}, false, Cred{})
		if on && errno == abi.EINPROGRESS {
			a.next(talk.Connect)
		} else if on || errno != abi.ECONNREFUSED {
			t.Errorf("%t: %v", on, errno)
		}
		a.quiet()
	}
}

// TestOutwardFrozen has connections that are open in a snapshot, or on their way.
func TestOutwardFrozen(t *testing.T) {
	a := newAway(t, false)
	up := a.socket(unix.AF_INET, unix.SOCK_STREAM)
	if _, errno := a.get(up).Connect(far, true, Cred{}); errno != abi.EINPROGRESS {
		t.Fatal(errno)
	}
	id := a.next(talk.Connect).Conn
	a.Tell(talk.Message{Op: talk.Opened, Conn: id})
	a.Tell(talk.Message{Op: talk.Data, Conn: id, Data: []byte("of the other side")})
	waits := a.socket(unix.AF_INET, unix.SOCK_STREAM)
	if _, errno := a.get(waits).Connect(far, true, Cred{}); errno != abi.EINPROGRESS {
		t.Fatal(errno)
	}
	names := a.socket(unix.AF_INET, unix.SOCK_STREAM)
	if _, errno := a.get(names).Connect(Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: 53}, false, Cred{}); errno != abi.OK {
		t.Fatal(errno)
	}
	a.Detach()
	for range 2 {
		c := &away{vm: a.clone()}
		c.Sever()
		c.attach()
		c.quiet()
		if len(c.outward.conns) != 0 {
			t.Errorf("a clone has %d connections", len(c.outward.conns))
		}
		b := make([]byte, 100)
		s := c.get(up)
		if r, errno := s.Recv(fd.Buffers{b}, false, 0); errno != abi.OK || string(b[:r.N]) != "of the other side" {
			t.Errorf("what was there already: %q, %v", b[:r.N], errno)
		}
		for _, n := range []int32{up, names} {
			if _, errno := c.get(n).Recv(fd.Buffers{b}, false, 0); errno != abi.ECONNRESET {
				t.Errorf("descriptor %d: %v", n, errno)
			}
		}
		if _, errno := c.get(waits).Connect(far, true, Cred{}); errno != abi.ECONNRESET {
			t.Errorf("one on its way: %v", errno)
		}
		c.open()
		for _, n := range []int32{up, waits, names} {
			c.get(n).Release()
		}
	}
}

// question is a question as libraries ask it.
func question(t testing.TB, id uint16, name string, typ dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// said is an answer in one line.
func said(t testing.TB, b []byte) string {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	var all []string
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, Addr{Family: unix.AF_INET, IP: mapped(b.A[0], b.A[1], b.A[2], b.A[3])}.String())
		case *dnsmessage.AAAAResource:
			all = append(all, Addr{Family: unix.AF_INET6, IP: b.AAAA}.String())
		}
	}
	return strings.TrimPrefix(m.RCode.String(), "RCode") + " " + strings.Join(all, " ")
}

func TestNameServer(t *testing.T) {
	four, six := mapped(1, 2, 3, 4), IP{0x20, 1, 15: 1}
	both := append(bytes.Clone(four[:]), six[:]...)
	to := &Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: 53}
	for _, tc := range []struct {
		name string
		ask  []byte
		asks string // of the host; empty: nothing
		code uint16 // that it answers
		want string // empty: nothing
	}{
		{"IPv4", question(t, 7, "API.example.com.", dnsmessage.TypeA), "api.example.com", talk.Success, "Success 1.2.3.4:0"},
		{"IPv6", question(t, 7, "api.example.com.", dnsmessage.TypeAAAA), "api.example.com", talk.Success, "Success [20010000000000000000000000000001]:0"},
		{"none", question(t, 7, "a.", dnsmessage.TypeA), "a", talk.NameError, "NameError "},
		{"ill", question(t, 7, "a.", dnsmessage.TypeA), "a", talk.ServerFailure, "ServerFailure "},
		{"another record", question(t, 7, "a.", dnsmessage.TypeMX), "", 0, "Success "},
		{"no name", question(t, 7, ".", dnsmessage.TypeA), "", 0, "NameError "},
		{"no question", make([]byte, 12), "", 0, "FormatError "},
		{"an answer", append([]byte{0, 7, 0x80}, question(t, 7, "a.", dnsmessage.TypeA)[3:]...), "", 0, ""},
		{"another operation", append([]byte{0, 7, 0x28}, question(t, 7, "a.", dnsmessage.TypeA)[3:]...), "", 0, "NotImplemented "},
		{"short", []byte{1}, "", 0, ""},
		{"long", make([]byte, maxQuestion+1), "", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAway(t, false)
			datagrams := a.get(a.socket(unix.AF_INET, unix.SOCK_DGRAM))
			stream := a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
			if _, errno := stream.Connect(*to, false, Cred{}); errno != abi.OK {
				t.Fatal(errno)
			}
			for _, s := range []*Socket{datagrams, stream} {
				b := tc.ask
				if s == stream {
					b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
				}
				if n, _, errno := s.Send(fd.Buffers{b}, &Message{To: to}); errno != abi.OK || n != len(b) {
					t.Fatal(n, errno)
				}
				if tc.asks != "" {
					m := a.next(talk.Resolve)
					if string(m.Data) != tc.asks || !a.OutwardBusy() {
						t.Errorf("asked for %q", m.Data)
					}
					answer := talk.Message{Op: talk.Resolved, Conn: m.Conn, Port: tc.code, N: 5}
					if tc.code == talk.Success {
						answer.Data = both
					}
					a.Tell(answer)
					a.Tell(answer) // a second one is none
				}
				a.quiet()
				got := make([]byte, 1000)
				r, errno := s.Recv(fd.Buffers{got}, false, 0)
				got = got[:r.N]
				switch {
				case tc.want == "" && r.N > 0:
					t.Errorf("answered %x", got)
				case tc.want == "":
					continue
				case errno != abi.OK:
					t.Fatal(errno)
				}
				if s == stream {
					if int(binary.BigEndian.Uint16(got)) != len(got)-2 {
						t.Errorf("the length in %x", got)
					}
					got = got[2:]
				} else if r.From.IP != nameServer.ip || r.From.Port != 53 {
					t.Errorf("answered from %v", r.From)
				}
				if binary.BigEndian.Uint16(got) != binary.BigEndian.Uint16(tc.ask) {
					t.Errorf("the number in %x", got)
				}
				if s := said(t, got); s != tc.want {
					t.Errorf("%s, want %s", s, tc.want)
				}
			}
		})
	}
}

// TestNameServerBusy has more questions than there may be, and a connection with several.
func TestNameServerBusy(t *testing.T) {
	a := newAway(t, false)
	to := &Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: 53}
	s := a.get(a.socket(unix.AF_INET, unix.SOCK_DGRAM))
	for range 2 * maxQueries {
		s.Send(fd.Buffers{question(t, 1, "a.", dnsmessage.TypeA)}, &Message{To: to})
	}
	if len(a.heard) != maxQueries {
		t.Errorf("%d questions at once", len(a.heard))
	}
	for _, m := range a.heard {
		a.Tell(talk.Message{Op: talk.Resolved, Conn: m.Conn})
	}
	a.heard = nil
	stream := a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
	if _, errno := stream.Connect(*to, false, Cred{}); errno != abi.OK {
		t.Fatal(errno)
	}
	q := question(t, 1, "a.", dnsmessage.TypeA)
	q = append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	for _, b := range append(q, q...) { // a byte at a time
		stream.Send(fd.Buffers{{b}}, &Message{})
		a.loop()
	}
	stream.Shutdown(unix.SHUT_WR)
	one, two := a.next(talk.Resolve), a.next(talk.Resolve)
	a.Tell(talk.Message{Op: talk.Resolved, Conn: one.Conn, Port: talk.NameError})
	a.Tell(talk.Message{Op: talk.Resolved, Conn: two.Conn, Port: talk.NameError})
	a.quiet()
	b := make([]byte, 1000)
	r, errno := stream.Recv(fd.Buffers{b}, false, 0)
	if errno != abi.OK || r.N != 2*len(q) {
		t.Errorf("%d bytes of answers, %v", r.N, errno)
	}
	if r, errno := stream.Recv(fd.Buffers{b}, false, 0); errno != abi.OK || r.N != 0 {
		t.Errorf("after the answers: %d bytes, %v", r.N, errno)
	}
}

// FuzzAsk has any bytes as a question, in a datagram and on a connection.
func FuzzAsk(f *testing.F) {
	f.Add(question(f, 7, "a.example.com.", dnsmessage.TypeA))
	f.Add(question(f, 7, ".", dnsmessage.TypeAAAA))
	f.Add([]byte{0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxUDP4 {
			return
		}
		a := newAway(t, false)
		to := &Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: 53}
		s := a.get(a.socket(unix.AF_INET, unix.SOCK_DGRAM))
		s.Send(fd.Buffers{b}, &Message{To: to})
		stream := a.get(a.socket(unix.AF_INET, unix.SOCK_STREAM))
		stream.Connect(*to, false, Cred{})
		stream.Send(fd.Buffers{b}, &Message{})
		stream.Send(fd.Buffers{binary.BigEndian.AppendUint16(nil, uint16(len(b))), b}, &Message{})
		a.loop()
		for _, m := range a.heard {
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			a.Tell(talk.Message{Op: talk.Resolved, Conn: m.Conn, Data: make([]byte, 2*talk.AddressSize)})
		}
		a.loop()
		s.Release()
		stream.Release()
		a.loop()
		a.Detach()
	})
}
