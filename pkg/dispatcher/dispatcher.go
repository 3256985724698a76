// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package dispatcher takes events through a sink: queue, lease of a machine,
// contract, guest, contract, reply. It alone knows this order. It also changes
// the set of sinks while events run, without dropping any.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// Sink is what the data plane needs to know of a sink. Two values that are
// deeply equal are the same generation.
type Sink struct {
	Namespace, Name string

	Program   string // absolute path of the executable on this host
	ProgramID string // changes when the file at Program does
	Root      string // absolute path of the folder the guest sees as /; empty: the program alone
	Owners    string // file that says whose the files of Root are; see lease.Spec
	User      vmexec.User
	Argv0     string   // what the program is told as its name; empty: its path
	Args      []string // arguments after the program's name
	Env       []string // NAME=value
	Dir       string   // working directory in the guest; empty: /
	Secret    bool     // Env holds what must not come to rest on disk

	// Image is the reference of a sink that runs an image, and ImageDigest what
	// it means. Until that is known Pending says why, nothing of the program is
	// set, and the sink is not ready.
	Image       string
	ImageDigest string
	Pending     string

	Platform vmexec.Kind   // Auto or empty: the server's
	Snapshot bool          // machines come from a snapshot
	Disk     bool          // which may be kept in a file
	Warmup   [][]byte      // events that are safe to run, as structured JSON
	Tier     lease.Tier    // what two events may share
	IdleTime time.Duration // how long machines are kept without an event

	// Of the program of a source: State is the most bytes of the file that goes from run to
	// run, 0 for none, and with Streams it runs on, and writes to these descriptors as it
	// goes.
	State   int
	Streams []int

	Egress []string // what the program may connect to outside; see package policy

	Limits   vmexec.Limits
	Queue    queue.Config
	Contract contract.Config // how the program takes an event
}

// Key returns NAMESPACE/NAME, which is also the path of the sink's URL without
// its first slash.
func (s *Sink) Key() string { return key(s.Namespace, s.Name) }

func key(namespace, name string) string { return namespace + "/" + name }

// Options say where the stages of a sink come from.
type Options struct {
	// Source makes the source of machines of a generation. It may take long. Its
	// program need not have been started: see Ahead.
	Source func(Sink) (lease.Source, error)
	// Contract makes the contract of a generation.
	Contract func(Sink) (contract.Contract, error)
	// Ahead is how many sinks are made ready for their first event before it comes.
	// All others, as sinks without events for their IdleTime, hold nothing until one
	// does. A new generation of a sink that is awake is made ready in any case.
	Ahead int
	// Observer, when set, is told of each event.
	Observer Observer
	// Logger gets failures, changes, and what programs write to stderr.
	Logger *slog.Logger
}

// Observer is told what became of an event of a sink, NAMESPACE/NAME, and how long that
// took, waiting included. An event waits for it.
type Observer interface {
	Event(ctx context.Context, sink string, o reply.Outcome, took time.Duration)
}

// SinkError says why the new generation of a sink does not serve.
type SinkError struct {
	Sink string // NAMESPACE/NAME
	Kept bool   // the generation before it keeps serving
	Err  error
}

func (e *SinkError) Error() string {
	s := "sink " + e.Sink + ": " + e.Err.Error()
	if e.Kept {
		s += " (the version before keeps serving)"
	}
	return s
}

func (e *SinkError) Unwrap() error { return e.Err }

// Stats counts what became of the events of one sink.
type Stats struct {
	Sink       string                  `json:"sink"`       // NAMESPACE/NAME
	Generation uint64                  `json:"generation"` // of what serves, from 1; 0 when nothing does
	Error      string                  `json:"error,omitempty"`
	Image      string                  `json:"image,omitempty"`       // of what serves
	Digest     string                  `json:"imageDigest,omitempty"` // what the image's reference means
	Accepted   uint64                  `json:"accepted"`              // with or without a reply
	Replied    uint64                  `json:"replied"`
	Failed     map[reply.Reason]uint64 `json:"failed,omitempty"`
	Queue      queue.Stats             `json:"queue"`
	Machines   *lease.Stats            `json:"machines,omitempty"` // of what serves
	Cost       Cost                    `json:"cost"`
}

// errDraining is why events end when Close runs out of time.
var errDraining = errors.New("the receiver is shutting down")

// Dispatcher holds the sinks. Its methods may be called from several
// goroutines.
type Dispatcher struct {
	options Options

	// update is held while the set of sinks changes: for reading while one sink does.
	update sync.RWMutex

	mu     sync.RWMutex
	sinks  map[string]*sink
	closed bool

	open sync.WaitGroup // generations whose source is not closed
	kill context.Context
	stop context.CancelCauseFunc // ends kill
}

// New makes a Dispatcher without sinks.
func New(o Options) *Dispatcher {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{options: o, sinks: make(map[string]*sink)}
	d.kill, d.stop = context.WithCancelCause(context.Background())
	return d
}

// Has says whether there is a sink of that name, ready or not.
func (d *Dispatcher) Has(namespace, name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.sinks[key(namespace, name)] != nil
}

// Update makes sinks the set of sinks. New and changed ones get a generation;
// events that run or wait lose nothing by that. A generation that cannot be
// made leaves the one before it serving. The error joins a *SinkError for each
// such sink.
func (d *Dispatcher) Update(sinks []Sink) error {
	d.update.Lock()
	defer d.update.Unlock()
	if d.isClosed() {
		return errDraining
	}
	var errs []error
	wanted := make(map[string]bool, len(sinks))
	changed := 0
	for i, spec := range sinks {
		k := spec.Key()
		if wanted[k] {
			errs = append(errs, &SinkError{Sink: k, Err: errors.New("the sink is defined twice; only the first is used")})
			continue
		}
		wanted[k] = true
		new, err := d.updateSink(k, spec, i < d.options.Ahead, changed < mostLogged)
		if err != nil {
			errs = append(errs, err)
		}
		if new {
			changed++
		}
	}
	if changed > mostLogged {
		d.options.Logger.Info("more sinks are ready", "sinks", changed-mostLogged)
	}
	d.mu.Lock()
	var removed []*sink
	for k, s := range d.sinks {
		if !wanted[k] {
			delete(d.sinks, k)
			removed = append(removed, s)
		}
	}
	d.mu.Unlock()
	for _, s := range removed {
		d.dismiss(s)
	}
	return errors.Join(errs...)
}

// Apply brings one sink to spec, which may be new, and leaves the others as they are. The
// error is a *SinkError, as Update has it. Calls for different sinks may overlap, so that
// a slow program holds up no other; those for one sink must not.
func (d *Dispatcher) Apply(spec Sink) error {
	d.update.RLock()
	defer d.update.RUnlock()
	if d.isClosed() {
		return errDraining
	}
	d.mu.RLock()
	few := len(d.sinks) < d.options.Ahead
	d.mu.RUnlock()
	_, err := d.updateSink(spec.Key(), spec, few, true)
	return err
}

// Remove takes one sink away: its events that run or wait are done, new ones get 404. It
// must not overlap with Apply for the same sink.
func (d *Dispatcher) Remove(namespace, name string) {
	d.update.RLock()
	defer d.update.RUnlock()
	k := key(namespace, name)
	d.mu.Lock()
	s := d.sinks[k]
	delete(d.sinks, k)
	d.mu.Unlock()
	if s != nil {
		d.dismiss(s)
	}
}

// dismiss ends a sink that is no longer in the set.
func (d *Dispatcher) dismiss(s *sink) {
	s.remove()
	s.summarize(d.options.Logger)
	d.options.Logger.Info("sink removed", "sink", s.key)
}

func (d *Dispatcher) isClosed() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.closed
}

// mostLogged is how many sinks that become ready at once have a line of the log each.
const mostLogged = 100

// updateSink brings one sink to spec, and says whether that is a new generation. With
// ahead that is made ready for an event, and with log it is logged. d.update is held.
func (d *Dispatcher) updateSink(k string, spec Sink, ahead, log bool) (changed bool, err error) {
	d.mu.RLock()
	s := d.sinks[k]
	d.mu.RUnlock()
	if s == nil {
		s = &sink{key: k, queue: queue.New(spec.Queue), failed: make(map[reply.Reason]uint64)}
		// It is known from now on: events for it get 503 until it is ready,
		// and that makes their senders try again.
		d.mu.Lock()
		d.sinks[k] = s
		d.mu.Unlock()
	}
	if s.serves(spec) {
		return false, nil
	}
	if spec.Pending != "" {
		s.fail(errors.New(spec.Pending))
		return false, nil
	}
	g, err := d.newGeneration(spec, ahead || s.awake())
	if err != nil {
		return false, &SinkError{Sink: k, Kept: s.fail(err), Err: err}
	}
	number := s.swap(g)
	if !log {
		return true, nil
	}
	m := g.source.Stats()
	args := []any{"sink", k, "generation", number, "program", spec.Program, "isolation", m.Tier, "snapshot", m.Snapshot}
	if spec.Image != "" {
		args = append(args, "image", spec.Image, "digest", spec.ImageDigest)
	}
	if m.Jail != nil {
		args = append(args, "jail", m.Jail.String())
	}
	d.options.Logger.Info("sink ready", args...)
	return true, nil
}

// newGeneration makes a generation, and with ready one that waits for events.
func (d *Dispatcher) newGeneration(spec Sink, ready bool) (*generation, error) {
	c, err := d.options.Contract(spec)
	if err != nil {
		return nil, err
	}
	src, err := d.options.Source(spec)
	if err != nil {
		return nil, err
	}
	if ready {
		if err := src.Prepare(d.kill); err != nil {
			return nil, errors.Join(err, src.Close())
		}
	}
	d.open.Add(1)
	g := &generation{spec: spec, contract: c, source: src, refs: 1}
	g.closed = func() {
		defer d.open.Done()
		if err := src.Close(); err != nil {
			d.options.Logger.Error("sink generation not closed", "sink", spec.Key(), "error", err)
		}
	}
	return g, nil
}

// Dispatch takes events through a sink. It returns their replies in the order
// of the events, or a failure: events that come together are accepted together
// or not at all, so it is the worst of theirs. At most as many run at once as
// the sink has slots, and none is started after one failed. When ctx is done,
// events that wait are dropped and those that run are killed.
func (d *Dispatcher) Dispatch(ctx context.Context, namespace, name string, events []*event.Event) ([]*event.Event, *reply.Failure) {
	k := key(namespace, name)
	d.mu.RLock()
	s, closed := d.sinks[k], d.closed
	if s != nil && !closed {
		s.enter()
	}
	d.mu.RUnlock()
	switch {
	case closed:
		return nil, reply.Failf(http.StatusServiceUnavailable, reply.Draining, "%v", errDraining)
	case s == nil:
		return nil, reply.Failf(http.StatusNotFound, reply.SinkNotFound, "there is no sink %s", k)
	}
	defer s.leave()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.kill, func() { cancel(context.Cause(d.kill)) })()

	outcomes := make([]reply.Outcome, len(events))
	if len(events) == 1 {
		outcomes[0] = d.one(ctx, s, events[0], false)
	} else {
		d.batch(ctx, s, events, outcomes)
	}
	if f := reply.Worst(outcomes); f != nil {
		return nil, f
	}
	var replies []*event.Event
	for _, o := range outcomes {
		if o.Event != nil {
			replies = append(replies, o.Event)
		}
	}
	return replies, nil
}

func (d *Dispatcher) batch(ctx context.Context, s *sink, events []*event.Event, outcomes []reply.Outcome) {
	var failed atomic.Bool
	var running sync.WaitGroup
	slots := make(chan struct{}, s.concurrency())
	for i, e := range events {
		slots <- struct{}{}
		if failed.Load() {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			outcomes[i] = d.one(ctx, s, e, true)
			if outcomes[i].Failure != nil {
				failed.Store(true)
			}
		})
	}
	running.Wait()
}

// one takes one event through the stages, counts and logs what became of it.
// With settle it returns only when the event's slot is free again.
func (d *Dispatcher) one(ctx context.Context, s *sink, e *event.Event, settle bool) (o reply.Outcome) {
	// Most events have nothing logged.
	log := func() *slog.Logger {
		return d.options.Logger.With("sink", s.key, "id", e.ID(), "source", e.Source(), "type", e.Type())
	}
	start := time.Now()
	var cost Cost
	defer func() {
		if p := recover(); p != nil {
			// One event must not end the process that serves all others.
			log().Error("panic", "panic", fmt.Sprint(p))
			o = reply.Fail(reply.Failf(http.StatusInternalServerError, reply.Internal, "internal error in the receiver; its log has the details"))
		}
		s.count(o)
		if d.options.Observer != nil {
			d.options.Observer.Event(ctx, s.key, o, time.Since(start))
		}
		debug := d.options.Logger.Enabled(ctx, slog.LevelDebug)
		if f := o.Failure; f != nil {
			log().Warn("event failed", "status", f.Status, "reason", f.Reason, "error", f.Message, "took", time.Since(start))
		} else if debug {
			log().Debug("event accepted", "reply", o.Event != nil, "took", time.Since(start))
		}
		if cost.Runs > 0 && debug {
			log().Debug("event cost", cost.attributes()...)
		}
	}()
	if f := s.notReady(); f != nil {
		return reply.Fail(f)
	}
	end := step(ctx, "queue")
	release, err := s.queue.Acquire(ctx)
	end()
	if err != nil {
		return reply.Fail(s.queueFailure(ctx, err))
	}
	began := time.Now()
	waited := began.Sub(start)
	g := s.acquire()
	var vm lease.VM
	free := func() {
		defer s.leave()
		defer release()
		defer g.release()
		if vm == nil {
			return
		}
		if err := vm.Close(); err != nil {
			log().Error("machine not closed", "error", err)
		}
	}
	defer func() {
		s.enter()
		// Freeing the machine's memory takes as long as a short event. The
		// answer need not wait for it, unless the next event would then be
		// refused because it finds neither a slot nor a place to wait.
		if settle || g.spec.Queue.Length == 0 {
			free()
		} else {
			go free()
		}
	}()
	input, err := g.contract.Input(e)
	if err != nil {
		return reply.Fail(reply.FromError(err))
	}
	request := lease.Request{Env: input.Env}
	if g.spec.Queue.Timeout > 0 {
		// Waiting for a machine is waiting in the queue to its sender.
		request.Deadline = start.Add(g.spec.Queue.Timeout)
	}
	end = step(ctx, "restore")
	vm, err = g.source.Lease(ctx, request)
	end()
	if err != nil {
		vm = nil
		if ctx.Err() != nil || errors.Is(err, lease.ErrTimeout) {
			return reply.Fail(s.queueFailure(ctx, err))
		}
		var pe *vmexec.ProgramError
		if errors.As(err, &pe) {
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "%v", pe))
		}
		f := reply.Failf(http.StatusServiceUnavailable, reply.NoMachine, "no virtual machine could be made: %v", err)
		f.RetryAfter = s.queue.RetryAfter()
		return reply.Fail(f)
	}
	restored := time.Since(began)
	io := vmexec.IO{Event: input.Stdin}
	var talk conversation
	if t, ok := g.contract.(contract.Talker); ok {
		talk = conversation{talker: t, event: e}
		io.Talk = talk.hold
	}
	end = step(ctx, "run")
	result, err := vm.Run(ctx, io)
	end()
	if err == nil {
		cost = s.charge(waited, restored, &result.Stats)
	}
	if err != nil {
		if ctx.Err() != nil {
			return reply.Fail(gone(ctx))
		}
		var lost *lease.LostError
		if errors.As(err, &lost) {
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "%v", lost))
		}
		return reply.Fail(reply.Failf(http.StatusInternalServerError, reply.Internal, "the virtual machine monitor failed: %v", err))
	}
	logOutput(log, g.contract, result)
	if result.Reason == vmexec.Canceled {
		return reply.Fail(gone(ctx))
	}
	if answered, o := talk.outcome(result); answered {
		if o.Log != "" {
			log().Info("log", "text", contract.Tail([]byte(o.Log)))
		}
		return o
	}
	return g.contract.Outcome(e, result)
}

// logOutput logs what a program has written: to stderr and, when its answer came
// another way, to stdout. What is not for people is taken out of the result.
func logOutput(log func() *slog.Logger, c contract.Contract, r *vmexec.Result) {
	if clean, ok := c.(contract.LogCleaner); ok {
		r.Stdout, r.Stderr = clean.CleanLog(r.Stdout), clean.CleanLog(r.Stderr)
	}
	if _, ok := c.(contract.Talker); ok && len(r.Stdout) > 0 {
		log().Info("stdout", "text", contract.Tail(r.Stdout))
	}
	if len(r.Stderr) > 0 {
		log().Info("stderr", "text", contract.Tail(r.Stderr))
	}
}

// gone says why an event ended before its program did.
func gone(ctx context.Context) *reply.Failure {
	if errors.Is(context.Cause(ctx), errDraining) {
		return reply.Failf(http.StatusServiceUnavailable, reply.Draining, "%v before the event was done", errDraining)
	}
	return reply.Failf(reply.StatusClientGone, reply.ClientGone, "the sender went away")
}

// Stats returns a snapshot of every sink, by name.
func (d *Dispatcher) Stats() []Stats {
	d.mu.RLock()
	sinks := make([]*sink, 0, len(d.sinks))
	for _, s := range d.sinks {
		sinks = append(sinks, s)
	}
	d.mu.RUnlock()
	list := make([]Stats, len(sinks))
	for i, s := range sinks {
		list[i] = s.stats()
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Sink < list[j].Sink })
	return list
}

// SinkStats returns a snapshot of one sink, and whether there is one of that name.
func (d *Dispatcher) SinkStats(namespace, name string) (Stats, bool) {
	d.mu.RLock()
	s := d.sinks[key(namespace, name)]
	d.mu.RUnlock()
	if s == nil {
		return Stats{}, false
	}
	return s.stats(), true
}

// Close refuses new events, waits for those that run or wait, and frees every
// sink. When ctx is done before that, running programs are killed and waiting
// events are dropped; the error is then that of ctx. Close returns when
// everything is freed, either way.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.update.Lock()
	defer d.update.Unlock()
	d.mu.Lock()
	d.closed = true
	sinks := d.sinks
	d.sinks = make(map[string]*sink)
	d.mu.Unlock()
	for _, s := range sinks {
		s.remove()
	}
	freed := make(chan struct{})
	go func() {
		d.open.Wait()
		close(freed)
	}()
	var err error
	select {
	case <-freed:
	case <-ctx.Done():
		err = fmt.Errorf("events were ended before they were done: %w", context.Cause(ctx))
		d.stop(errDraining)
		<-freed
	}
	d.stop(errDraining)
	for _, s := range sinks {
		s.summarize(d.options.Logger)
	}
	return err
}
