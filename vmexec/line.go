// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"context"
	"slices"
	"sync"

	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/talk"
)

// Line carries messages between the network of a VM and the host's side of it,
// during one run. Its methods may be called from several goroutines, also before
// the run.
type Line struct {
	hear  func(talk.Message)
	aside bool // nothing is said to the program; see NewOutwardLine

	mu    sync.Mutex
	early []func(*VM) // until vm is set
	vm    *VM
}

// NewLine makes a line for one run. hear is told what the VM says, by the goroutine
// that runs it; the Data of a message is its own only until it returns.
func NewLine(hear func(talk.Message)) *Line { return &Line{hear: hear} }

// NewOutwardLine makes a line that is for the network outside alone: the program takes
// its event from stdin, and the run ends as one without a line.
func NewOutwardLine(hear func(talk.Message)) *Line { return &Line{hear: hear, aside: true} }

// talks reports whether the program is talked to.
func (l *Line) talks() bool { return l != nil && !l.aside }

// Tell takes a message for the VM, whose Data must not change any more. Messages
// before the run are there when it begins. After it they are dropped.
func (l *Line) Tell(m talk.Message) {
	if m.Op == talk.Signal {
		l.post(func(vm *VM) { _ = vm.kernel.Init.Signal(int(m.N), task.SigInfo{Code: task.CodeUser}) }) // with no room it has many
		return
	}
	l.post(func(vm *VM) { vm.kernel.Net.Tell(m) })
}

// Done ends the run with the Reason Answered; of a program that is being started it
// says that it is ready for its snapshot.
func (l *Line) Done() {
	if l.aside {
		return
	}
	l.post(func(vm *VM) { vm.lineDone() })
}

func (l *Line) post(f func(*VM)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vm == nil {
		l.early = append(l.early, f)
		return
	}
	vm := l.vm
	vm.kernel.Post(func() { f(vm) })
}

// attach connects the VM that is about to run.
func (l *Line) attach(vm *VM) {
	k := vm.kernel
	k.SetExternal(true)
	k.Post(func() { k.Net.Attach(l.hear, k.Post) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vm = vm
	for _, f := range l.early {
		k.Post(func() { f(vm) })
	}
	l.early = nil
}

// detach ends the line's part in the run; it is called after that.
func (l *Line) detach(vm *VM) { vm.kernel.Net.Detach() }

// conversation is a talk.Side on a Line in the same process.
type conversation struct {
	line  *Line
	side  *talk.Side
	begun chan struct{} // the first messages are there: the run may begin
	once  sync.Once
	ended chan struct{} // the talk is over
	stop  func() bool
}

// Tell implements talk.Transport.
func (c *conversation) Tell(m talk.Message) error {
	m.Data = slices.Clone(m.Data)
	c.line.Tell(m)
	return nil
}

// Flush implements talk.Transport. The run begins with the first one: what was said
// before, such as that a port is served, is then there from its first instruction.
func (c *conversation) Flush() error {
	c.once.Do(func() { close(c.begun) })
	return nil
}

// begin waits until the run may begin.
func (c *conversation) begin() {
	select {
	case <-c.begun:
	case <-c.ended:
	}
}

// converse starts f on a line of its own, which is done when f returns true. With f nil
// the line is for the network outside, o, alone.
func converse(ctx context.Context, started bool, o talk.Outward, f func(context.Context, *talk.Side) bool) *conversation {
	c := &conversation{begun: make(chan struct{}), ended: make(chan struct{})}
	c.side = talk.NewSide(started, c)
	c.side.SetOutward(o)
	newLine := NewLine
	if f == nil {
		newLine = NewOutwardLine
		f = func(_ context.Context, s *talk.Side) bool {
			s.AwaitEnd()
			return false
		}
	}
	c.line = newLine(func(m talk.Message) {
		if err := c.side.Hear(m); err != nil { // this package's own message
			panic(err)
		}
	})
	c.stop = context.AfterFunc(ctx, func() { c.side.Over(context.Cause(ctx)) })
	go func() {
		defer close(c.ended)
		if f(ctx, c.side) {
			c.line.Done()
		}
	}()
	return c
}

// end waits for the talk after the run has ended.
func (c *conversation) end() {
	c.stop()
	c.side.Over(nil)
	<-c.ended
}
