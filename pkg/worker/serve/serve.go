// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package serve is the life of a worker process. It imports little: a worker
// starts for each event of a sink with the strictest isolation.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// A worker may have ownFiles descriptors, and seatFiles for each of its seats: the socket,
// and those of two machines.
const ownFiles, seatFiles = 64, 8

// Run does what the receiver says until it closes the socket, or until there is
// nothing more to do. files is how many the process was given of the program, seats how
// many machines it may have at once. What fails is told to the receiver.
func Run(files, seats int) error {
	closeStrays(wire.FilesFD + files + seats)
	at := wire.FilesFD
	open := func(n int, name string) (all []*os.File) {
		for range n {
			all = append(all, os.NewFile(uintptr(at), name))
			at++
		}
		return all
	}
	s := &server{common: &common{}, first: true, sock: os.NewFile(wire.SocketFD, "receiver")}
	s.files = open(files, "program")
	return s.failed(s.run(open(seats, "seat")))
}

// failed tells the receiver what has failed, which may be gone.
func (s *server) failed(err error) error {
	if err != nil {
		_, _ = s.sock.Write(wire.Append(nil, wire.KindFailed, []byte(wire.Cut(err.Error())), 0))
	}
	return err
}

// closeStrays closes what a careless library of the receiver has left open for its
// children, from a descriptor on. Those of the Go runtime stay: it opens its poller when
// it likes. New descriptors are the lowest that are free, so that its are before the
// first free ones.
func closeStrays(from int) {
	const enough = 16
	free := 0
	for ; free < enough; from++ {
		if _, err := unix.FcntlInt(uintptr(from), unix.F_GETFD, 0); err != nil {
			free++
			continue
		}
		free = 0
		closeStray(from)
	}
	if unix.CloseRange(uint(from), math.MaxUint32, 0) != nil { // before Linux 5.9
		closeListed(from)
	}
}

// closeStray closes a descriptor unless it is the Go runtime's.
func closeStray(fd int) {
	to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err == nil && to != "anon_inode:[eventpoll]" && to != "anon_inode:[eventfd]" {
		_ = unix.Close(fd)
	}
}

// closeListed is closeStrays by the list of descriptors.
func closeListed(from int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc it is not known what is open
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err == nil && fd >= from {
			closeStray(fd)
		}
	}
}

// common is what all machines of the process have in common.
type common struct {
	files []*os.File
	setup wire.Setup

	host     *vmexec.Host
	program  *vmexec.Program
	snapshot *vmexec.Snapshot // nil: each event starts the program
	told     atomic.Bool      // the receiver knows which pages an event uses

	// The kernel makes and ends machines of one process no faster on several threads.
	making, closing sync.Mutex
}

// server has one event after the other on a socket.
type server struct {
	*common
	sock  *os.File
	first bool // others come only when there are many events at once

	vm    *vmexec.VM   // ready for an event; of a program without a snapshot, made when it comes
	spare *vmexec.VM   // ready for the one after, with wire.Fresh
	line  *vmexec.Line // of the next event, or of the start, when there is one
	env   []string
	event []byte
	state []byte
	frame []byte
}

// run is the life of the process.
func (s *server) run(seats []*os.File) error {
	if err := s.start(len(seats)); err != nil {
		return err
	}
	switch {
	case s.setup.Reuse == wire.Freeze:
		return s.freeze()
	case len(seats) == 0:
		return s.serve()
	}
	var all sync.WaitGroup
	for i, sock := range seats {
		seat := &server{common: s.common, sock: sock, first: i == 0}
		if i == 0 {
			seat.vm = s.vm
			seat.newLine() // what is heard goes to the seat
		}
		all.Go(seat.sit)
	}
	all.Wait()
	return nil
}

// sit serves a seat until the receiver gives it up, and then frees what it had.
func (s *server) sit() {
	var err error
	if !s.first {
		err = s.join()
	}
	if err == nil {
		err = s.serve()
	}
	if !errors.Is(err, io.EOF) {
		_ = s.failed(err)
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	for _, vm := range []*vmexec.VM{s.vm, s.spare} {
		if vm != nil {
			_ = vm.Close() // the receiver, which is gone, could only be told
		}
	}
	_ = s.sock.Close() // now it may take the memory for free
}

// join makes the machine of a seat when that is asked for.
func (s *server) join() error {
	_, b, err := wire.Read(s.sock, wire.Only(wire.KindSeat, wire.MaxSetup))
	if err != nil {
		return err
	}
	var seat wire.Seat
	if err := json.Unmarshal(b, &seat); err != nil {
		return fmt.Errorf("what to do: %w", err)
	}
	if s.snapshot != nil && len(seat.Used) > 0 {
		s.snapshot.Learn(seat.Used)
		s.told.Store(true)
	}
	s.newLine()
	if s.vm, err = s.clone(); err != nil {
		return err
	}
	return s.send(wire.KindReady, nil)
}

// serve has one event after the other.
func (s *server) serve() error {
	for {
		if err := s.next(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		again, err := s.one()
		if err != nil || !again || s.setup.Reuse == wire.Once {
			return err
		}
		if err := s.renew(); err != nil {
			return err
		}
	}
}

// start makes a machine that waits for an event, in a jail.
func (s *server) start(seats int) error {
	began := time.Now()
	_, b, err := wire.Read(s.sock, wire.Only(wire.KindSetup, wire.MaxSetup))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.setup); err != nil {
		return fmt.Errorf("what to do: %w", err)
	}
	if s.setup.Seats != seats {
		return fmt.Errorf("%d seats are told of, and %d given", s.setup.Seats, seats)
	}
	if s.host, s.program, s.snapshot, err = vmexec.TakeOver(s.setup.Program, s.files, s.setup.SameBuild); err != nil {
		return err
	}
	if s.snapshot != nil {
		s.snapshot.Learn(s.setup.Used)
		s.told.Store(len(s.setup.Used) > 0)
	}
	loaded := time.Now()
	freeze := s.setup.Reuse == wire.Freeze
	s.newLine()
	jail, err := s.host.Jail(vmexec.JailSpec{Freeze: freeze, Files: ownFiles + seats*seatFiles, User: s.setup.User, Tasks: s.setup.Tasks})
	if err != nil {
		return err
	}
	if !freeze {
		if s.vm, err = s.clone(); err != nil {
			return err
		}
	}
	go watchAll()
	b, err = json.Marshal(wire.Ready{Jail: jail, Load: loaded.Sub(began), Clone: time.Since(loaded)})
	if err != nil {
		return err
	}
	return s.send(wire.KindReady, b)
}

// freeze runs the program until it waits for its event and sends the snapshot.
func (s *server) freeze() error {
	var f wire.Frozen
	var files []byte
	if s.line != nil {
		// What is said before the start is there from its first instruction.
		if err := s.next(); err != nil {
			return err
		}
		// An error of the socket meets the one who sends the snapshot, too.
		go func() {
			// The program may still do something outside when it is ready, until it rests.
			for err := error(nil); err == nil; {
				err = s.listen(s.line)
			}
		}()
	}
	snapshot, err := s.host.NewSnapshot(context.Background(), s.program, s.setup.Limits, vmexec.Wait{Line: s.line})
	var none *vmexec.NoWaitError
	switch {
	case errors.As(err, &none):
		f.Result, f.Asked, f.Talked = none.Result, none.Asked, none.Talked
	case err != nil:
		f.Reason = err.Error()
	default:
		o, err := s.host.HandOver(s.program, snapshot)
		if err != nil {
			return err
		}
		f = wire.Frozen{Snapshot: o.Text, Took: snapshot.Took, Stdout: snapshot.Stdout, Stderr: snapshot.Stderr}
		files = unix.UnixRights(int(o.Files[0].Fd()), int(o.Files[1].Fd()))
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	// The files go with the first bytes.
	b = wire.Append(nil, wire.KindFrozen, b, 0)
	n, err := unix.SendmsgN(wire.SocketFD, b, files, nil, 0)
	if err == nil {
		_, err = s.sock.Write(b[n:])
	}
	return err
}

// clone makes a machine of the snapshot; without one it makes none.
func (s *server) clone() (*vmexec.VM, error) {
	if s.snapshot == nil {
		return nil, nil
	}
	s.making.Lock()
	defer s.making.Unlock()
	if s.setup.Reuse == wire.Reset {
		return s.host.Clone(s.snapshot, s.setup.Limits)
	}
	return s.host.CloneOnce(s.snapshot, s.setup.Limits)
}

// watchAll ends the process when the receiver is gone, whatever a guest does.
func watchAll() {
	fds := []unix.PollFd{{Fd: wire.SocketFD, Events: unix.POLLRDHUP}}
	for {
		switch _, err := unix.Poll(fds, -1); {
		case err == nil && fds[0].Revents != 0:
			os.Exit(0)
		case err != nil && !errors.Is(err, unix.EINTR):
			return // the kernel has no memory: the next read finds the end
		}
	}
}

func (s *server) send(k wire.Kind, b []byte) error {
	s.frame = wire.Append(s.frame[:0], k, b, 0)
	_, err := s.sock.Write(s.frame)
	return err
}

// next waits for an event.
func (s *server) next() error {
	s.env, s.state = nil, nil
	for {
		k, n, err := wire.ReadHeader(s.sock, func(k wire.Kind) int {
			switch {
			case k == wire.KindRun:
				return wire.MaxEvent
			case k == wire.KindTalk && s.line != nil:
				return wire.MaxTalk
			case k == wire.KindState && s.program.State() > 0:
				return s.program.State()
			case k == wire.KindEnv && s.snapshot == nil:
				return wire.MaxEnv
			}
			return -1
		})
		if err != nil {
			return err
		}
		if k == wire.KindTalk {
			if err := s.tell(n); err != nil {
				return err
			}
			continue
		}
		if k == wire.KindState {
			if s.state, err = wire.ReadBody(s.sock, nil, n); err != nil {
				return err
			}
			continue
		}
		if s.event, err = wire.ReadBody(s.sock, s.event, n); err != nil || k == wire.KindRun {
			return err
		}
		if err := json.Unmarshal(s.event, &s.env); err != nil {
			return fmt.Errorf("the environment of an event: %w", err)
		}
	}
}

// one runs the event and sends its result. It says whether the worker may have
// another, which is also up to the receiver.
func (s *server) one() (again bool, err error) {
	if s.snapshot == nil {
		p, err := s.program.WithEnv(s.env)
		if err != nil {
			return false, err
		}
		if s.vm, err = s.host.NewVM(p, s.setup.Limits); err != nil {
			return false, err
		}
	}
	if err := s.send(wire.KindBegun, nil); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	shared := s.setup.Seats > 0
	var talked chan error
	switch {
	case s.line != nil:
		talked = make(chan error, 1)
		go func() {
			err := s.listen(s.line)
			if err != nil && shared {
				cancel()
			}
			talked <- err
		}()
	case shared:
		defer s.watch(cancel)()
	}
	r, err := s.vm.Run(ctx, vmexec.IO{Event: s.event, State: s.state, Line: s.line})
	if err != nil {
		return false, err
	}
	var used []uint64
	if s.snapshot != nil && s.snapshot.Learned() && s.told.CompareAndSwap(false, true) {
		used = s.snapshot.LearnedPages()
	}
	if s.frame, err = wire.AppendResult(s.frame[:0], r, used); err != nil {
		return false, err
	}
	if _, err = s.sock.Write(s.frame); err != nil {
		return false, err
	}
	if talked != nil {
		if err := <-talked; err != nil {
			return false, err
		}
		s.newLine()
	}
	return r.Reason == vmexec.Exited || r.Reason == vmexec.Answered, nil
}

// watch calls gone when the receiver gives the seat up, until the function that it
// returns is called. The receiver sends nothing meanwhile.
func (s *server) watch(gone func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := s.sock.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		_ = s.sock.SetReadDeadline(time.Unix(1, 0))
		<-ended
		_ = s.sock.SetReadDeadline(time.Time{})
	}
}

// newLine makes the line of the next event, or of the start, when there is one.
func (s *server) newLine() {
	switch {
	case s.setup.Talk:
		s.line = vmexec.NewLine(s.hear)
	case s.setup.Outward:
		s.line = vmexec.NewOutwardLine(s.hear)
	}
}

// hear sends what the program does on its connections to the receiver.
func (s *server) hear(m talk.Message) {
	s.frame = wire.AppendTalk(s.frame[:0], m)
	// When the receiver is gone, so is this process soon.
	_, _ = s.sock.Write(s.frame)
}

// tell passes a message of n bytes on to the VM.
func (s *server) tell(n int) error {
	b, err := wire.ReadBody(s.sock, nil, n)
	if err != nil {
		return err
	}
	m, err := wire.DecodeTalk(b)
	if err == nil {
		s.line.Tell(m)
	}
	return err
}

// listen passes messages on until the talk is over.
func (s *server) listen(l *vmexec.Line) error {
	defer l.Done()
	for {
		k, n, err := wire.ReadHeader(s.sock, func(k wire.Kind) int {
			switch {
			case k == wire.KindTalk:
				return wire.MaxTalk
			case k == wire.KindDone:
				return 0
			}
			return -1
		})
		if err != nil || k == wire.KindDone {
			return err
		}
		if err := s.tell(n); err != nil {
			return err
		}
	}
}

// renew makes the worker ready for another event.
func (s *server) renew() error {
	if s.setup.Reuse == wire.Reset && s.snapshot != nil {
		if err := s.vm.Reset(); err != nil {
			return err
		}
		return s.send(wire.KindReady, nil)
	}
	old := s.vm
	s.vm, s.spare = s.spare, nil
	var err error
	if s.vm == nil {
		if s.vm, err = s.clone(); err != nil {
			s.spare = old // to be closed
			return err
		}
	}
	if err := s.send(wire.KindReady, nil); err != nil {
		s.spare = old
		return err
	}
	s.closing.Lock()
	err = old.Close()
	s.closing.Unlock()
	if err == nil && s.first { // the next event need not wait for its machine
		s.spare, err = s.clone()
	}
	return err
}
