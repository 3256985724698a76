// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

const (
	// MaxLine is the most bytes of a line of a program that runs on.
	MaxLine = 1 << 20
	// LastWords is how long a program that runs on may take to end when it is asked to.
	LastWords = 5 * time.Second
	// mostLogLine is how much of a line of its log is taken.
	mostLogLine = 4 << 10
)

// StreamDescriptors are those that a program which runs on writes to as it goes: see
// lease.Spec.
func StreamDescriptors() []int { return []int{unix.Stdout, unix.Stderr} }

// Streams runs a program that runs on, in a virtual machine. It writes to its descriptors
// as to pipes: while nobody takes what it writes, it waits.
type Streams struct {
	// Source is where the machine comes from. Its Spec has StreamDescriptors.
	Source   lease.Source
	Contract contract.Contract // stdio
	// LastWords replaces the constant of that name; 0: it does not.
	LastWords time.Duration
	Logger    *slog.Logger
}

// Run implements Stream.
func (m *Streams) Run(ctx context.Context, e *event.Event, take func(line []byte) error) error {
	input, err := m.Contract.Input(e)
	if err != nil {
		return err
	}
	vm, err := m.Source.Lease(ctx, lease.Request{Env: input.Env})
	if err != nil {
		return err
	}
	s := &streaming{log: m.Logger.With("run", e.ID()), take: take, asked: ctx, patience: cmp.Or(m.LastWords, LastWords)}
	// The machine outlives ctx for the program's last words.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.end = cancel
	result, err := vm.Run(runCtx, vmexec.IO{Event: input.Stdin, Talk: s.hold})
	if closed := vm.Close(); closed != nil {
		m.Logger.Error("machine not closed", "error", closed)
	}
	switch {
	case s.err != nil:
		return s.err
	case err != nil:
		return err
	case result.Reason == vmexec.Answered:
		return errors.New("the program has closed its standard output, but went on")
	}
	result.Stderr = s.last
	if f := contract.Ended(result); f != nil {
		return f // and what is cut off is no line
	}
	if len(s.rest) > 0 {
		return take(s.rest)
	}
	return nil
}

// streaming is a program that runs on.
type streaming struct {
	log   *slog.Logger
	take  func([]byte) error
	asked context.Context // the program is asked to end when it is done
	end   context.CancelFunc
	// patience is how long it is waited for when it ought to end.
	patience time.Duration

	err  error  // why the program was ended
	rest []byte // a line without an end, when the program ended
	last []byte // the last line of its log
}

// hold takes what the program writes, until it has ended or closed its standard output.
func (s *streaming) hold(_ context.Context, side *talk.Side) {
	stop := context.AfterFunc(s.asked, func() {
		side.Signal(int(unix.SIGTERM))
		time.AfterFunc(s.patience, s.end)
	})
	defer stop()
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		s.takeLog(side.Stream(unix.Stderr))
	}()
	if s.err = s.takeLines(side.Stream(unix.Stdout)); s.err != nil {
		s.end()
		return
	}
	// It has ended, or is about to.
	slow := time.AfterFunc(s.patience, s.end)
	defer slow.Stop()
	side.AwaitEnd()
	<-logged
}

// takeLines takes lines until there are no more, and keeps one without an end. One that
// is too long, or that nobody takes, is an error.
func (s *streaming) takeLines(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, err := readLine(in, MaxLine)
		switch {
		case errors.Is(err, errLong):
			return &OutputError{number, err}
		case err != nil: // the program's end
			s.rest = line
			return nil
		}
		if err := s.take(line); err != nil {
			return err
		}
	}
}

var errLong = fmt.Errorf("has more than the %d bytes that a line may have", MaxLine)

// readLine reads a line and returns it without its end. The error is errLong, or that of r,
// with what there is of the line.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most+1 {
			return nil, errLong
		}
		switch {
		case err == nil && line == nil:
			return part[:len(part)-1], nil
		case err == nil:
			return append(line, part[:len(part)-1]...), nil
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// takeLog logs what the program writes to its standard error.
func (s *streaming) takeLog(r io.Reader) {
	in := bufio.NewReaderSize(r, mostLogLine)
	for {
		line, err := in.ReadSlice('\n') // of a long one in parts
		if line = bytes.TrimSpace(line); len(line) > 0 {
			s.last = bytes.Clone(line)
			s.log.Info("stderr", "text", contract.Tail(line))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
