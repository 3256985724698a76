// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package worker runs the machines of a sink in processes of their own, each in a
// jail: a guest that takes over its monitor finds itself in a process that can do
// next to nothing, and that knows of one event or of one sink only.
//
// A worker is the program kontain-worker (cmd/worker). It is given a snapshot on a
// descriptor and events over a socket.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

const (
	// startTime is how long a worker may take until it waits for an event, and
	// resetTime until it waits for the next.
	startTime = 20 * time.Second
	resetTime = 10 * time.Second
	// answerTime is how long after the time limit of an event its worker may take
	// to say so.
	answerTime = 5 * time.Second
	// oneWrite is the largest event that is copied behind its header, so that both
	// go out in one system call.
	oneWrite = 64 << 10
)

// Config says how workers of a sink are started.
type Config struct {
	Worker  string           // the path of kontain-worker
	Program *vmexec.Handover // what it runs; with a snapshot or without
	Limits  vmexec.Limits    // of each event
	Reuse   wire.Reuse
	Used    []uint64 // the pages that an event uses, when that is known
	// Snapshot: Program has one, and events do not start it.
	Snapshot bool
	// Seats is how many machines a process may have in its life, at most MaxSeats, by
	// Crew. 0: one, which is all that the process is for.
	Seats int
	// Talk, when set, talks with a program that is started until that is ready for its
	// snapshot; the error is why it never will be. Events are then talked about too:
	// vmexec.IO.Talk.
	Talk func(context.Context, *talk.Side) error
	// State is vmexec.ProgramSpec.State of Program.
	State int
	// Outward, when set, begins the network outside of a program that is started, and
	// gives what ends it. Events then have one too: vmexec.IO.Outward.
	Outward func(context.Context) (o talk.Outward, end func())

	// Cell is where the worker runs; nil: as this process does, but for the first level
	// of the jail. Tasks is the most processes and threads that all workers of a cell may
	// have together.
	Cell  *cell.Cell
	Tasks int
}

// DiedError says that a worker ended when it should not have.
type DiedError struct {
	// Began: the program had begun to work on the event. Otherwise nothing of it
	// has happened and another worker may be given it.
	Began bool
	How   string // how it ended
	Said  string // what it wrote to stderr; may be empty
}

func (e *DiedError) Error() string {
	s := "the worker process " + e.How
	if e.Said != "" {
		s += ": " + e.Said
	}
	return s
}

// MaxSeats is the most machines of a process, and so the most events that are lost
// with it.
const MaxSeats = 32

// Process is a machine in a worker process, which waits for an event or runs one. Most
// often it is the only one there. Its methods belong to one goroutine at a time, those
// of machines of one process to several.
type Process struct {
	*running
	sock   *os.File
	limits vmexec.Limits
	used   []uint64
	env    []string
	frame  []byte
	// Each event starts the program.
	started bool
	state   int // Config.State

	gone bool        // Close was called; running.mu guards it
	hung atomic.Bool // the machine was told to end
}

// running is a worker process.
type running struct {
	cmd     *exec.Cmd
	stderr  *os.File
	control *os.File // with seats: the process ends when it is closed
	ready   wire.Ready

	mu       sync.Mutex
	machines int        // that are not closed, and those in the making
	seats    []*os.File // that no machine had yet
	ending   bool       // there will be no other machine

	end  sync.Once
	died DiedError // how it ended; set by finish
	dead atomic.Bool
}

// Start starts a worker and waits until it is ready for an event.
func Start(ctx context.Context, c Config) (*Process, error) {
	path := c.Worker
	if c.Cell != nil {
		path = c.Cell.Program()
	}
	program, same := sameBuild(path)
	p, err := launch(ctx, c, same)
	if err != nil || program.stillThere(path) || !same {
		return p, err
	}
	// It was replaced at this moment, and has not looked at its build.
	_ = p.Close()
	return launch(ctx, c, false)
}

// launch is Start; sameBuild says that the worker need not find out its build.
func launch(ctx context.Context, c Config, sameBuild bool) (*Process, error) {
	s := wire.Setup{Program: c.Program.Text, Limits: c.Limits, Reuse: c.Reuse, Used: c.Used, Talk: c.Talk != nil, Outward: c.Outward != nil, SameBuild: sameBuild, Seats: c.Seats}
	if c.Cell != nil {
		s.User, s.Tasks = c.Cell.User(), c.Tasks
	}
	setup, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	p, err := spawn(c)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Worker, err)
	}
	p.limits, p.started, p.state = c.Limits, !c.Snapshot, c.State
	defer context.AfterFunc(ctx, p.abandon)()
	seat := p.sock
	if p.control != nil {
		p.sock = p.control
	}
	_ = p.sock.SetDeadline(time.Now().Add(startTime))
	err = p.send(wire.KindSetup, setup)
	if err == nil || isEnd(err) { // a worker that has ended says how
		err = p.awaitReady(&p.ready)
	}
	if err != nil || ctx.Err() != nil {
		_ = p.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("start %s: %w", c.Worker, err)
	}
	_ = p.sock.SetDeadline(time.Time{})
	p.sock = seat
	if c.Cell != nil {
		p.ready.Jail.Cgroup = c.Cell.Bounded()
		if err := c.Cell.Unbounded(); err != nil {
			p.ready.Jail.Missing = append(p.ready.Jail.Missing, "no cgroup bounds what the sink uses: "+err.Error())
		}
	}
	return p, nil
}

// socketpair makes a socket of a worker and its other end, which has deadlines.
func socketpair(flags int) (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	_ = unix.SetNonblock(pair[0], true)
	return os.NewFile(uintptr(pair[0]), "worker"), os.NewFile(uintptr(pair[1]), "receiver"), nil
}

// spawn starts the process.
func spawn(c Config) (_ *Process, err error) {
	if c.Seats < 0 || c.Seats > MaxSeats {
		return nil, fmt.Errorf("%d machines in a process: %d are the most", c.Seats, MaxSeats)
	}
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
		}
	}()
	for i := range 1 + c.Seats {
		flags := 0
		if i > 0 { // a seat takes no thread while nothing happens there
			flags = unix.SOCK_NONBLOCK
		}
		our, their, err := socketpair(flags)
		if err != nil {
			return nil, err
		}
		ours, theirs = append(ours, our), append(theirs, their)
	}
	// What it says when it crashes. It can write no more than its file size limit.
	fd, err := unix.MemfdCreate("kontain-worker-stderr", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	r := &running{stderr: os.NewFile(uintptr(fd), "stderr"), machines: 1}
	p := &Process{running: r, sock: ours[0]}
	if c.Seats > 0 {
		r.control, p.sock, r.seats = ours[0], ours[1], ours[2:]
	}
	env := []string{}
	if c.Reuse == wire.Once {
		// A worker of one event does one thing after the other. With more than one
		// the runtime starts threads that find nothing to do, and that the jail has to
		// wait for: a fifth of the processor time of its start.
		env = append(env, "GOMAXPROCS=1")
	}
	files := append(theirs[:1:1], c.Program.Files...) // SocketFD, FilesFD
	r.cmd = &exec.Cmd{
		Path: c.Worker, Args: []string{Name, strconv.Itoa(len(c.Program.Files)), strconv.Itoa(c.Seats)}, Env: env, Dir: "/",
		Stderr: r.stderr, ExtraFiles: append(files, theirs[1:]...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	start := r.cmd.Start
	if c.Cell != nil {
		start = func() error { return c.Cell.Start(r.cmd) }
	}
	if err := start(); err != nil {
		return nil, errors.Join(err, r.stderr.Close())
	}
	return p, nil
}

// join makes the machine of a seat that was taken; used are the pages that an event
// uses, when that is known. When it fails the seat is given up.
func (p *Process) join(ctx context.Context, used []uint64) error {
	defer context.AfterFunc(ctx, p.abandon)()
	b, err := json.Marshal(wire.Seat{Used: used})
	if err == nil {
		_ = p.sock.SetDeadline(time.Now().Add(startTime))
		err = p.send(wire.KindSeat, b)
	}
	if err == nil || isEnd(err) {
		err = p.awaitReady(nil)
	}
	if err == nil && ctx.Err() == nil {
		return p.sock.SetDeadline(time.Time{})
	}
	_ = p.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("another machine in a worker process: %w", err)
}

// sit takes a seat, and says whether there is one.
func (p *Process) sit() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending || len(p.seats) == 0 {
		return false
	}
	p.sock, p.seats = p.seats[0], p.seats[1:]
	p.machines++
	return true
}

// Frozen is what came of running a program until it waits for its event.
type Frozen struct {
	Took           time.Duration // up to there
	Stdout, Stderr []byte        // what it wrote meanwhile
}

// Freeze runs a program in a worker of its own until it waits for its event, and
// returns what is needed to clone the snapshot, which the caller closes. Of cfg, Reuse
// and Used do not count; Limits are those of the start. The error is a
// *vmexec.NoWaitError when the program ended first.
func Freeze(ctx context.Context, cfg Config) (*vmexec.Handover, Frozen, error) {
	cfg.Reuse, cfg.Seats = wire.Freeze, 0
	p, err := Start(ctx, cfg)
	if err != nil {
		return nil, Frozen{}, err
	}
	defer func() { _ = p.Close() }()
	defer context.AfterFunc(ctx, p.abandon)()
	if cfg.Limits.Wall > 0 {
		_ = p.sock.SetDeadline(time.Now().Add(cfg.Limits.Wall + answerTime))
	}
	var c *conversation
	var talked error
	if cfg.Talk != nil || cfg.Outward != nil {
		var o talk.Outward
		if cfg.Outward != nil {
			var end func()
			o, end = cfg.Outward(ctx)
			defer end()
		}
		var f func(context.Context, *talk.Side)
		if cfg.Talk != nil {
			f = func(ctx context.Context, s *talk.Side) {
				if talked = cfg.Talk(ctx, s); talked != nil {
					p.kill()
				}
			}
		}
		c = p.converse(ctx, true, func() error { return p.send(wire.KindRun, nil) }, o, cfg.Outward != nil && f != nil, f)
	}
	f, files, err := p.receiveFrozen(c)
	if c != nil {
		c.end(nil)
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, Frozen{}, context.Cause(ctx)
	case f.Result != nil:
		return nil, Frozen{}, &vmexec.NoWaitError{Result: f.Result, Asked: f.Asked, Talked: f.Talked, Talk: talked}
	case talked != nil:
		return nil, Frozen{}, &vmexec.NoWaitError{Result: &vmexec.Result{Reason: vmexec.Canceled}, Talk: talked}
	case err != nil:
		return nil, Frozen{}, err
	case f.Snapshot == nil:
		return nil, Frozen{}, errors.New(strings.ToValidUTF8(wire.Cut(f.Reason), "\uFFFD"))
	case len(files) != 2:
		return nil, Frozen{}, &wire.Error{Reason: fmt.Sprintf("a snapshot with %d files", len(files))}
	}
	memory, state := files[0], files[1]
	files = nil
	o, err := cfg.Program.WithSnapshot(f.Snapshot, memory, state)
	return o, Frozen{Took: f.Took, Stdout: f.Stdout, Stderr: f.Stderr}, err
}

// receiveFrozen reads the answer of a worker that freezes, and its files.
func (p *Process) receiveFrozen(c *conversation) (f wire.Frozen, files []*os.File, err error) {
	r := &descriptorReader{p: p}
	defer func() {
		for _, fd := range r.fds {
			files = append(files, os.NewFile(uintptr(fd), "kontain-snapshot"))
		}
	}()
	for {
		k, b, err := p.receiveFrom(r, func(k wire.Kind) int {
			switch {
			case k == wire.KindFrozen:
				return wire.MaxHead + 4*p.limits.Output
			case k == wire.KindTalk && c != nil:
				return wire.MaxTalk
			}
			return -1
		})
		switch {
		case isEnd(err):
			return f, nil, p.finish(true)
		case err != nil:
			return f, nil, err
		case k == wire.KindTalk:
			if err := c.hear(b); err != nil {
				return f, nil, err
			}
			continue
		}
		if err := json.Unmarshal(b, &f); err != nil {
			return f, nil, &wire.Error{Reason: "what a worker has frozen: " + err.Error()}
		}
		return f, nil, nil
	}
}

// descriptorsOf returns the descriptors in ancillary data; unix(7).
func descriptorsOf(oob []byte) []int {
	var all []int
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// SetEnv sets variables for the next event, NAME=value, in place of what the program
// has under the same names. A program with a snapshot has its environment already.
func (p *Process) SetEnv(env []string) { p.env = env }

// Ready returns what the worker said of itself.
func (p *Process) Ready() wire.Ready { return p.ready }

// Used returns the pages that the first event used, when that was to be learned.
func (p *Process) Used() []uint64 { return p.used }

// send writes a frame.
func (p *Process) send(k wire.Kind, b []byte) error {
	if len(b) <= oneWrite {
		p.frame = wire.Append(p.frame[:0], k, b, 0)
		_, err := p.sock.Write(p.frame)
		return err
	}
	_, err := p.sock.Write(wire.Append(nil, k, nil, len(b)))
	if err == nil {
		_, err = p.sock.Write(b)
	}
	return err
}

// receive reads a frame. A worker may also say why it cannot go on, which is the
// error then.
func (p *Process) receive(most func(wire.Kind) int) (wire.Kind, []byte, error) {
	return p.receiveFrom(p.sock, most)
}

func (p *Process) receiveFrom(r io.Reader, most func(wire.Kind) int) (wire.Kind, []byte, error) {
	k, b, err := wire.Read(r, func(k wire.Kind) int {
		if k == wire.KindFailed {
			return wire.MaxText
		}
		return most(k)
	})
	if err == nil && k == wire.KindFailed {
		return 0, nil, fmt.Errorf("the worker process says: %s", strings.ToValidUTF8(string(b), "\uFFFD"))
	}
	return k, b, err
}

// awaitReady waits until the worker is ready.
func (p *Process) awaitReady(r *wire.Ready) error {
	_, b, err := p.receive(wire.Only(wire.KindReady, wire.MaxReady))
	switch {
	case isEnd(err) && !p.hung.Load():
		return p.finish(false)
	case err != nil:
		return err
	case r == nil:
		return nil
	}
	if err := json.Unmarshal(b, r); err != nil {
		return &wire.Error{Reason: "a worker says that it is ready: " + err.Error()}
	}
	return nil
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// Run runs an event. Of io only Event, State, Talk and Outward count; the latter two as the
// worker was configured. The error is a *DiedError when the
// worker ended, and another one when it did not keep to the protocol; it is of no
// more use after either.
func (p *Process) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	if ctx.Err() != nil {
		return canceled(), nil
	}
	stop := context.AfterFunc(ctx, p.abandon)
	if p.limits.Wall > 0 {
		_ = p.sock.SetDeadline(time.Now().Add(p.limits.Wall + answerTime))
		defer func() { _ = p.sock.SetDeadline(time.Time{}) }()
	}
	r, err := p.run(ctx, io)
	switch {
	case !stop(): // it has no other event, whatever came of this one
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.kill() // it was told, and goes on
		}
		return canceled(), nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.kill()
		return &vmexec.Result{Reason: vmexec.WallLimit, Message: fmt.Sprintf("the program was stopped: %v after its time limit its worker process had not answered", answerTime)}, nil
	}
	return r, err
}

func canceled() *vmexec.Result {
	return &vmexec.Result{Reason: vmexec.Canceled, Message: "the program was stopped: the caller gave up"}
}

func (p *Process) run(ctx context.Context, io vmexec.IO) (r *vmexec.Result, err error) {
	var c *conversation
	if io.Talk == nil && io.Outward == nil {
		// A worker that has ended says how in what can still be read.
		if err := p.sendEvent(io); err != nil && !isEnd(err) {
			return nil, err
		}
	} else {
		c = p.converse(ctx, p.started, func() error { return p.sendEvent(io) }, io.Outward, false, io.Talk)
		defer func() {
			if err != nil {
				p.abandon() // it is of no more use, and may have stopped to listen
			}
			c.end(err)
		}()
	}
	began := false
	for {
		k, b, err := p.receive(func(k wire.Kind) int {
			switch {
			case k == wire.KindBegun && !began:
				return 0
			case k == wire.KindTalk && began && c != nil:
				return wire.MaxTalk
			case k == wire.KindResult && began:
				return 4 + wire.MaxHead + 2*p.limits.Output + p.state
			}
			return -1
		})
		switch {
		case isEnd(err) && !p.hung.Load():
			return nil, p.finish(began)
		case err != nil:
			return nil, err
		case k == wire.KindBegun:
			began = true
			continue
		case k == wire.KindTalk:
			if err := c.hear(b); err != nil {
				return nil, err
			}
			continue
		}
		r, used, err := wire.DecodeResult(b)
		if len(used) > 0 {
			p.used = used
		}
		return r, err
	}
}

func (p *Process) sendEvent(io vmexec.IO) error {
	if len(p.env) > 0 {
		b, err := json.Marshal(p.env)
		if err == nil {
			err = p.send(wire.KindEnv, b)
		}
		if err != nil {
			return err
		}
		p.env = nil
	}
	if p.state > 0 {
		if err := p.send(wire.KindState, io.State); err != nil {
			return err
		}
	}
	return p.send(wire.KindRun, io.Event)
}

// Reset waits until the worker is ready for another event.
func (p *Process) Reset() error {
	_ = p.sock.SetDeadline(time.Now().Add(resetTime))
	err := p.awaitReady(nil)
	_ = p.sock.SetDeadline(time.Time{})
	return err
}

// kill ends the process, with all of its machines; finish reaps it.
func (r *running) kill() {
	r.mu.Lock()
	r.ending = true
	r.mu.Unlock()
	_ = r.cmd.Process.Kill()
}

// abandon ends what the machine does: with its process, or where that has others too by
// saying so. Its next answer then comes soon, or the end.
func (p *Process) abandon() {
	p.mu.Lock()
	gone, alone := p.gone, p.machines == 1
	p.ending = p.ending || alone && !gone
	p.mu.Unlock()
	switch {
	case gone:
	case alone:
		_ = p.cmd.Process.Kill()
	default:
		p.hung.Store(true)
		_ = p.sock.SetReadDeadline(time.Now().Add(answerTime))
		p.hangUp()
	}
}

// hangUp says that nothing more is sent to the machine, which is its end.
func (p *Process) hangUp() {
	raw, err := p.sock.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// finish ends and reaps the process, and says how it ended.
func (p *Process) finish(began bool) *DiedError {
	r := p.running
	r.end.Do(func() {
		// One that has closed its socket is about to end by itself: how, is worth to
		// know. The watch is for one that was taken over.
		slow := time.AfterFunc(time.Second, r.kill)
		_ = p.sock.Close()
		_ = r.cmd.Wait()
		slow.Stop()
		r.died = DiedError{How: ending(r.cmd.ProcessState), Said: r.said()}
		r.dead.Store(true)
		_ = r.stderr.Close()
		if r.control != nil {
			_ = r.control.Close()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ending = true
		for _, s := range r.seats {
			_ = s.Close()
		}
		r.seats = nil
	})
	_ = p.sock.Close()
	d := r.died
	d.Began = began
	return &d
}

// ending says how a process ended.
func ending(s *os.ProcessState) string {
	ws, ok := s.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return s.String()
	case ws.Signaled() && ws.Signal() == unix.SIGSYS:
		return "was ended by its jail: it made a system call that it never needs"
	case ws.Signaled():
		return "was killed by " + unix.SignalName(ws.Signal())
	}
	return fmt.Sprintf("ended with status %d", ws.ExitStatus())
}

// said returns the first of what the worker wrote to stderr.
func (r *running) said() string {
	b := make([]byte, wire.MaxText)
	n, _ := r.stderr.ReadAt(b, 0)
	return strings.TrimSpace(strings.ToValidUTF8(string(b[:n]), "\uFFFD"))
}

// Dead says whether the process is known to have ended.
func (p *Process) Dead() bool { return p.dead.Load() }

// Close ends the machine, and with the last one the process. Its memory is free then.
func (p *Process) Close() error {
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		return nil
	}
	p.gone = true
	p.machines--
	last := p.machines == 0
	p.ending = p.ending || last
	p.mu.Unlock()
	if last {
		p.kill()
		_ = p.finish(false)
		return nil
	}
	p.hangUp()
	_ = p.sock.SetReadDeadline(time.Now().Add(answerTime))
	for b := make([]byte, 4<<10); ; {
		if _, err := p.sock.Read(b); err == nil {
			continue // what nobody waits for any more
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			p.kill() // it does not give the machine up
		}
		_ = p.sock.Close() // it is closed already where the process has died
		return nil
	}
}
