// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// told is a Transport that keeps the messages.
type told struct {
	all     []Message
	flushed int
}

func (t *told) Tell(m Message) error {
	m.Data = append([]byte(nil), m.Data...)
	t.all = append(t.all, m)
	return nil
}

func (t *told) Flush() error { t.flushed++; return nil }

func TestWindow(t *testing.T) {
	to := &told{}
	s := NewSide(true, to)
	c, err := s.Dial(80)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, Window)
	if err := s.Hear(Message{Op: Data, Conn: c.ID(), Data: b}); err != nil {
		t.Fatal(err)
	}
	// One more byte than anyone has asked for.
	if err := s.Hear(Message{Op: Data, Conn: c.ID(), Data: b[:1]}); err == nil {
		t.Error("a program may send without bounds")
	}
	c.unread--
	if n, err := io.ReadFull(c, b[:Window/2]); n != Window/2 || err != nil {
		t.Fatal(n, err)
	}
	last := to.all[len(to.all)-1]
	if last.Op != Taken || last.N != Window/2 {
		t.Errorf("after half of the window the program is told %+v", last)
	}
}

func TestHostileMessages(t *testing.T) {
	for name, m := range map[string]Message{
		"no kind":             {},
		"unknown kind":        {Op: lastOp},
		"data in a dial":      {Op: Dial, Data: []byte("x")},
		"too much data":       {Op: Data, Data: make([]byte, MaxData+1)},
		"no such connection":  {Op: Data, Conn: 77},
		"odd number":          {Op: Accept, Conn: 3, Port: 1},
		"nothing was sent":    {Op: Taken, Conn: 1, N: 1},
		"what the host says":  {Op: Resolved, Conn: FirstOutward},
		"a short address":     {Op: Connect, Conn: FirstOutward, Data: make([]byte, 4)},
		"an inner number":     {Op: Connect, Conn: 2, Data: make([]byte, AddressSize)},
		"a name of nothing":   {Op: Resolve, Conn: FirstOutward},
		"a dial from outside": {Op: Dial, Conn: 1},
	} {
		s := NewSide(true, &told{})
		if _, err := s.Dial(80); err != nil { // connection 1
			t.Fatal(err)
		}
		if err := s.Hear(m); err == nil {
			t.Errorf("%s: %+v was taken", name, m)
		}
	}
}

func TestEnds(t *testing.T) {
	s := NewSide(false, &told{})
	l, err := s.Listen(9001)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Message{
		{Op: Accept, Conn: 2, Port: 9001},
		{Op: Data, Conn: 2, Data: []byte("abc")},
		{Op: End, Conn: 2},
		{Op: Accept, Conn: 4, Port: 9001},
		{Op: Close, Conn: 4},
	} {
		if err := s.Hear(m); err != nil {
			t.Fatal(err)
		}
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "abc" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	broken, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a connection that was broken off: %v", err)
	}
	why := errors.New("the caller gave up")
	s.Over(why)
	if _, err := l.Accept(); !errors.Is(err, why) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := s.Dial(1); !errors.Is(err, why) {
		t.Errorf("after the end: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	to := &told{}
	s := NewSide(true, to)
	for i := range waiting + 1 {
		if err := s.Hear(Message{Op: Accept, Conn: ID(2 * (i + 1)), Port: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if len(to.all) != 1 || to.all[0].Op != Close {
		t.Errorf("the connection that nobody accepts: %+v", to.all)
	}
	var err error
	for i := waiting + 1; i < 2*maxConns && err == nil; i++ {
		err = s.Hear(Message{Op: Accept, Conn: ID(2 * (i + 1)), Port: 1})
	}
	if err == nil {
		t.Error("connections without bounds")
	}
}

// TestNowhere has a program that asks for the network outside where there is none.
func TestNowhere(t *testing.T) {
	to := &told{}
	s := NewSide(true, to)
	for _, m := range []Message{
		{Op: Connect, Conn: FirstOutward, Data: make([]byte, AddressSize)},
		{Op: Data, Conn: FirstOutward, Data: []byte("x")}, // before it heard the answer
		{Op: Resolve, Conn: FirstOutward, Data: []byte("a")},
	} {
		if err := s.Hear(m); err != nil {
			t.Fatal(err)
		}
	}
	if len(to.all) != 2 || to.all[0].Op != Close || unix.Errno(to.all[0].N) != unix.ENETUNREACH || to.all[1].Op != Resolved || to.all[1].Port != NameError {
		t.Errorf("answers: %+v", to.all)
	}
}
