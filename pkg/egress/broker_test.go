// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/egress/policy"
	"kontain.dev/eventing/vmexec/talk"
)

// machine is the monitor of a VM, which tells what it likes.
type machine struct {
	t    *testing.T
	side *talk.Side
	told chan talk.Message // what it hears
	log  *lockedBuffer
	b    *Broker
	end  func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Tell implements talk.Transport.
func (m *machine) Tell(msg talk.Message) error {
	msg.Data = bytes.Clone(msg.Data)
	m.told <- msg
	return nil
}

// Flush implements talk.Transport.
func (m *machine) Flush() error { return nil }

type resolverFunc func(name string) ([]string, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	texts, err := f(host)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all, ctx.Err()
}

func newMachine(t *testing.T, o Options, list ...string) *machine {
	t.Helper()
	p, err := policy.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, told: make(chan talk.Message, 10_000), log: &lockedBuffer{}}
	o.Logger = slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	m.b = New(p, o)
	m.begin()
	t.Cleanup(func() {
		m.over()
		m.b.Close()
		if open := m.b.Stats().Open; open != 0 {
			t.Errorf("%d connections are open at the end", open)
		}
	})
	return m
}

// begin begins a run.
func (m *machine) begin() {
	m.side = talk.NewSide(true, m)
	out, end := m.b.Begin(m.t.Context())
	m.side.SetOutward(out)
	m.end = end
}

// over ends a run.
func (m *machine) over() {
	m.side.Over(nil)
	m.end()
}

func (m *machine) say(msg talk.Message) {
	m.t.Helper()
	if err := m.side.Hear(msg); err != nil {
		m.t.Fatal(err)
	}
}

// hears waits for a message.
func (m *machine) hears() talk.Message {
	m.t.Helper()
	select {
	case msg := <-m.told:
		return msg
	case <-time.After(30 * time.Second):
		m.t.Fatal("nothing was said")
		return talk.Message{}
	}
}

const first = talk.FirstOutward + 1

func (m *machine) connect(id talk.ID, to string) {
	m.t.Helper()
	ap := netip.MustParseAddrPort(to)
	a := ap.Addr().As16()
	m.say(talk.Message{Op: talk.Connect, Conn: id, Port: ap.Port(), Data: a[:]})
}

// resolve asks for a name and returns the answer.
func (m *machine) resolve(name string) (code uint16, addresses string) {
	m.t.Helper()
	m.say(talk.Message{Op: talk.Resolve, Conn: first, Data: []byte(name)})
	a := m.hears()
	if a.Op != talk.Resolved || a.Conn != first {
		m.t.Fatalf("the answer to a question: %+v", a)
	}
	var all []string
	for b := a.Data; len(b) > 0; b = b[16:] {
		all = append(all, netip.AddrFrom16([16]byte(b)).Unmap().String())
	}
	return a.Port, strings.Join(all, " ")
}

// wants asks for a connection and says whether it is refused with errno; 0 is that it is
// there.
func (m *machine) wants(id talk.ID, to string, errno unix.Errno) {
	m.t.Helper()
	m.connect(id, to)
	got := m.hears()
	want := talk.Message{Op: talk.Close, Conn: id, N: uint32(errno)}
	if errno == 0 {
		want = talk.Message{Op: talk.Opened, Conn: id}
	}
	if got.Op != want.Op || got.Conn != want.Conn || got.N != want.N {
		m.t.Errorf("%s: heard %+v, want %+v; log: %s", to, got, want, m.log)
	}
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestRebinding has a name server that answers with something else each time: what it
// said first does not open what it says then.
func TestRebinding(t *testing.T) {
	var mu sync.Mutex
	answers := []string{"93.184.216.34", "127.0.0.1", "169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "::1"}
	n := 0
	m := newMachine(t, Options{Resolver: resolverFunc(func(string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return []string{answers[min(n, len(answers))-1]}, nil
	})}, "evil.test")
	if code, got := m.resolve("evil.test"); code != talk.Success || got != "93.184.216.34" {
		t.Errorf("the first answer: %d %s", code, got)
	}
	for i := range answers[1:] {
		m.forget("evil.test") // as time does
		if code, got := m.resolve("EVIL.test"); code != talk.NameError || got != "" {
			t.Errorf("answer %d: %d %s", i+2, code, got)
		}
	}
	for i, a := range answers[1:] {
		m.wants(first+talk.ID(i), netip.AddrPortFrom(netip.MustParseAddr(a), 80).String(), unix.ENETUNREACH)
	}
	if s := m.b.Stats(); s.Connections != 0 || s.Refused != 6 || s.Lookups != 7 || s.Unanswered != 6 {
		t.Errorf("counted: %+v", s)
	}
	for _, want := range []string{"address=169.254.169.254 port=80 why=", "(NAT64 of loopback)", "name=EVIL.test why="} {
		if !strings.Contains(m.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, m.log)
		}
	}
}

// forget drops what is known of a name.
func (m *machine) forget(name string) {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	if l, ok := m.b.names.get(name); ok {
		l.until = time.Time{}
	}
}

// TestErrors has connections that cannot be made, and names that are not found.
func TestErrors(t *testing.T) {
	l := listen(t)
	closed := l.Addr().String()
	_ = l.Close()
	m := newMachine(t, Options{Resolver: resolverFunc(func(name string) ([]string, error) {
		if name == "none.test" {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}
		return nil, errors.New("the name server is ill")
	})}, "127.0.0.1", "*.test")
	m.wants(first, closed, unix.ECONNREFUSED)
	m.wants(first, "127.0.0.1:0", unix.ENETUNREACH)
	m.wants(first, "[::1]:80", unix.ENETUNREACH)
	if code, _ := m.resolve("none.test"); code != talk.NameError {
		t.Errorf("a name that there is not: %d", code)
	}
	if code, _ := m.resolve("ill.test"); code != talk.ServerFailure {
		t.Errorf("a name server that is ill: %d", code)
	}
	for _, name := range []string{"test", "a.example.com", "\x00\n\xff", "127.0.0.1", strings.Repeat("a", talk.MaxName)} {
		if code, _ := m.resolve(name); code != talk.NameError {
			t.Errorf("%q: %d", name, code)
		}
	}
	for err, want := range map[error]unix.Errno{
		unix.ECONNREFUSED: unix.ECONNREFUSED, unix.ENETUNREACH: unix.ENETUNREACH, context.DeadlineExceeded: unix.ETIMEDOUT, unix.EACCES: unix.EHOSTUNREACH,
	} {
		if got := errnoOf(&net.OpError{Op: "dial", Err: err}); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// TestKnownBefore has an address that a program knows from before: from a snapshot that
// another process has made.
func TestKnownBefore(t *testing.T) {
	l := listen(t)
	m := newMachine(t, Options{Resolver: resolverFunc(func(name string) ([]string, error) {
		if name == "a.test" {
			return []string{"93.184.216.34"}, nil
		}
		return nil, errors.New("not known")
	})}, "b.test", "a.test:443", "127.0.0.1")
	m.wants(first, "93.184.216.34:80", unix.ENETUNREACH)
	m.wants(first, "93.184.216.35:443", unix.ENETUNREACH)
	m.wants(first, l.Addr().String(), 0)
	s, _ := m.b.Begin(t.Context())
	c := &conn{s: s.(*session), to: netip.MustParseAddrPort("93.184.216.34:443")}
	if names, err := c.allow(); err != nil || len(names) != 1 || names[0] != "a.test" {
		t.Errorf("an address of a name that is listed: %q, %v", names, err)
	}
}

// TestBytes moves bytes in both directions, and ends them one after the other.
func TestBytes(t *testing.T) {
	l := listen(t)
	m := newMachine(t, Options{}, "127.0.0.1")
	m.wants(first, l.Addr().String(), 0)
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	m.say(talk.Message{Op: talk.Data, Conn: first, Data: []byte("question")})
	m.say(talk.Message{Op: talk.End, Conn: first})
	if b, err := io.ReadAll(peer); string(b) != "question" || err != nil {
		t.Errorf("the peer read %q, %v", b, err)
	}
	if _, err := peer.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if got := m.hears(); got.Op != talk.Data || string(got.Data) != "answer" {
		t.Errorf("heard %+v", got)
	}
	_ = peer.Close()
	if got := m.hears(); got.Op != talk.End {
		t.Errorf("heard %+v, want the end", got)
	}
	if got := m.hears(); got.Op != talk.Close || got.N != 0 {
		t.Errorf("heard %+v, want that it is closed", got)
	}
	if err := m.side.Hear(talk.Message{Op: talk.Close, Conn: first}); err != nil {
		t.Errorf("what comes after the end: %v", err)
	}
}

// TestWindow has a peer that sends without end to a program that takes nothing.
func TestWindow(t *testing.T) {
	l := listen(t)
	m := newMachine(t, Options{}, "127.0.0.1")
	m.wants(first, l.Addr().String(), 0)
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for b := make([]byte, 64<<10); ; {
			if _, err := peer.Write(b); err != nil {
				return
			}
		}
	})
	n := 0
	for n < talk.OutwardWindow {
		n += len(m.hears().Data)
	}
	m.say(talk.Message{Op: talk.Taken, Conn: first, N: 1000})
	for n < talk.OutwardWindow+1000 {
		n += len(m.hears().Data)
	}
	if n != talk.OutwardWindow+1000 {
		t.Errorf("%d bytes were sent to a program that took 1000", n)
	}
	if err := m.side.Hear(talk.Message{Op: talk.Taken, Conn: first, N: talk.OutwardWindow + 1}); err == nil {
		t.Error("a program took more than it was sent")
	}
	m.over()
	sending.Wait() // the connection is closed with the event
	_ = peer.Close()
}

// TestReset has connections that one side breaks off: the other hears of it.
func TestReset(t *testing.T) {
	l := listen(t)
	m := newMachine(t, Options{}, "127.0.0.1")
	for _, byPeer := range []bool{true, false} {
		m.wants(first, l.Addr().String(), 0)
		peer, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		if byPeer {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			if got := m.hears(); got.Op != talk.Close || unix.Errno(got.N) != unix.ECONNRESET {
				t.Errorf("heard %+v", got)
			}
			continue
		}
		m.say(talk.Message{Op: talk.Close, Conn: first})
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the peer of a program that has broken off: %v", err)
		}
		_ = peer.Close()
	}
}

// TestIdle has a connection that nothing goes over.
func TestIdle(t *testing.T) {
	l := listen(t)
	m := newMachine(t, Options{IdleTimeout: 50 * time.Millisecond}, "127.0.0.1")
	m.wants(first, l.Addr().String(), 0)
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	if got := m.hears(); got.Op != talk.Close || unix.Errno(got.N) != unix.ETIMEDOUT {
		t.Errorf("heard %+v", got)
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the peer's side is open")
	}
}

// TestTooMuch has an event that asks for too much, and is loud about it.
func TestTooMuch(t *testing.T) {
	l := listen(t)
	m := newMachine(t, Options{}, "127.0.0.1")
	for i := range MaxConns {
		m.wants(first+talk.ID(i), l.Addr().String(), 0)
	}
	m.wants(first+MaxConns, l.Addr().String(), unix.EADDRNOTAVAIL)
	for range 2 * maxLines {
		m.wants(first+MaxConns, "8.8.8.8:53", unix.EADDRNOTAVAIL)
		if code, _ := m.resolve("a"); code != talk.NameError {
			t.Error(code)
		}
	}
	m.over()
	if n := strings.Count(m.log.String(), "level=WARN"); n != maxLines+1 {
		t.Errorf("%d lines were logged", n)
	}
	if !strings.Contains(m.log.String(), "times=61") {
		t.Error("what was not logged is not counted")
	}
	if got := m.b.Stats(); got.Connections != MaxConns || got.Refused != 2*maxLines+1 {
		t.Errorf("counted: %+v", got)
	}
	// Another event is another.
	m.begin()
	m.wants(first, l.Addr().String(), 0)
}

// TestForged has monitors that were taken over: whatever they say, they are machines of
// their sink.
func TestForged(t *testing.T) {
	l := listen(t)
	one, other := newMachine(t, Options{}, "127.0.0.1"), newMachine(t, Options{}, "10.0.0.1")
	one.wants(first, l.Addr().String(), 0)
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	other.say(talk.Message{Op: talk.Data, Conn: first, Data: []byte("theirs")}) // of a connection that it has not
	other.wants(first, l.Addr().String(), unix.ENETUNREACH)
	one.say(talk.Message{Op: talk.Data, Conn: first, Data: []byte("ours")})
	one.say(talk.Message{Op: talk.End, Conn: first})
	if b, err := io.ReadAll(peer); string(b) != "ours" || err != nil {
		t.Errorf("the peer read %q, %v", b, err)
	}
	for name, m := range map[string]talk.Message{
		"a number twice": {Op: talk.Connect, Conn: first, Data: make([]byte, 16)},
		"a bad number":   {Op: talk.Connect, Conn: 2, Data: make([]byte, 16)},
		"an answer":      {Op: talk.Resolved, Conn: first},
		"a dial":         {Op: talk.Dial, Conn: first},
	} {
		if err := one.side.Hear(m); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// FuzzHear has a monitor that says anything at all.
func FuzzHear(f *testing.F) {
	f.Add([]byte{byte(talk.Resolve), 1, 0, 0, 128, 0, 0, 'a'})
	f.Add([]byte{byte(talk.Connect), 1, 0, 0, 128, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1})
	p, err := policy.Parse([]string{"a", "*.b", "192.0.2.0/24:1"})
	if err != nil {
		f.Fatal(err)
	}
	b := New(p, Options{DialTimeout: time.Nanosecond, Resolver: resolverFunc(func(string) ([]string, error) { return []string{"10.0.0.1"}, nil })})
	f.Fuzz(func(_ *testing.T, in []byte) {
		s := talk.NewSide(true, discard{})
		o, end := b.Begin(context.Background())
		s.SetOutward(o)
		for len(in) > 7 {
			n := min(len(in)-7, 16)
			_ = s.Hear(talk.Message{Op: talk.Op(in[0]), Conn: talk.ID(in[1]) | talk.ID(in[4])<<24, Port: uint16(in[5]), N: uint32(in[6]), Data: in[7 : 7+n]})
			in = in[7+n:]
		}
		s.Over(nil)
		end()
		b.Close()
	})
}

type discard struct{}

func (discard) Tell(talk.Message) error { return nil }
func (discard) Flush() error            { return nil }
