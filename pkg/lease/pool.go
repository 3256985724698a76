// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/vmexec"
)

const (
	// maxPool bounds the machines of one sink that are prepared ahead.
	maxPool = 16
	// maxEvents is how many events a machine runs before another takes its
	// place, so that nothing that builds up on the host's side does so for ever.
	maxEvents = 1000
	// exitPermanent is the exit status by which a program refuses an event for
	// good (EX_DATAERR of sysexits.h).
	exitPermanent = 65
)

// machine is a clone of a snapshot. *vmexec.VM is one.
type machine interface {
	VM
	// Reset makes the machine what it was before its run.
	Reset() error
}

// prepared is a machine that holds nothing of an event.
type prepared struct {
	machine
	events int       // that it ran
	since  time.Time // that it waits
}

// handover is what a waiting event is given.
type handover struct {
	vm  *prepared
	err error
}

// pool keeps the machines of one snapshot. There are never more than the events
// that hold or await one, and the pool's size beside them: an event gives its
// slot back only after its machine was closed or reset.
type pool struct {
	workers *Workers
	clone   func() (machine, error)
	tier    Tier
	reuse   bool          // machines are used again
	makers  int           // how many may be made at once
	bytes   uint64        // that a machine reserves
	size    int           // most prepared machines to have, when each is used once
	keep    time.Duration // how long to have them after the last event

	mu        sync.Mutex
	idle      []*prepared // the last to come in is the first to go out
	target    int         // how many of size to have: as many as events lately found missing
	waiters   list.List   // of chan handover, the first to come in front
	alive     int         // machines that are not closed, and those in the making
	making    int
	settling  int       // calls of makeOne and giveUp in progress
	returning int       // machines being reset
	refill    bool      // prepare machines ahead
	seen      bool      // an event ran to its end
	onGood    func()    // called after each event that ended well; may be nil
	last      time.Time // of the last event
	timer     *time.Timer
	closed    bool
	quiet     *sync.Cond // settling or expiring changed
	expiring  int        // expire calls in progress

	// After a machine could not be made no other is tried before retry: what is
	// broken must not use up the host.
	failures int // in a row
	failure  error
	retry    time.Time

	made, resets, waited uint64
}

// newPool makes a pool, which owns first and its reservation; first may be nil.
// learned says that it is known already which memory an event needs.
func newPool(w *Workers, clone func() (machine, error), first machine, spec Spec, learned bool) *pool {
	p := &pool{
		workers: w, clone: clone, tier: spec.Tier, reuse: spec.Tier == TierReset || spec.Tier == TierVM && w.worker != "", makers: w.makers, size: min(max(1, spec.Concurrency), maxPool),
		keep: spec.IdleTime, refill: spec.IdleTime > 0, seen: learned, last: time.Now(), bytes: spec.Limits.Memory,
	}
	p.waiters.Init()
	p.quiet = sync.NewCond(&p.mu)
	p.memory().join(p)
	if first != nil {
		p.alive, p.made = 1, 1
		_ = p.put(&prepared{machine: first}) // with nothing to be kept, there is no event to report an error to
	}
	w.wake(p)
	return p
}

// wants says whether another machine is to be made, and whether an event waits
// for it. p.mu is held.
func (p *pool) wants() (more, urgent bool) {
	switch {
	case p.closed || p.making >= p.makers || p.backsOff():
		return false, false
	case p.waiters.Len() > p.returning+p.making: // each machine being reset or made will serve one
		return true, true
	case !p.refill:
		return false, false
	case p.reuse, !p.seen:
		// The first event shows which memory an event needs; clones that are
		// made afterwards have it at hand.
		return p.alive == 0, false
	}
	return len(p.idle)+p.making < p.target, false
}

// firstRetry and lastRetry bound the time until another machine is tried after one
// could not be made; it doubles with each failure.
const firstRetry, lastRetry = 100 * time.Millisecond, 10 * time.Second

// backOff is how long nothing is tried after so many failures before the last one.
func backOff(failures int) time.Duration {
	if failures < 7 {
		return min(lastRetry, firstRetry<<failures)
	}
	return lastRetry
}

// backsOff says whether it is too early to try to make a machine. p.mu is held.
func (p *pool) backsOff() bool { return p.failures > 0 && time.Now().Before(p.retry) }

// failed notes that a machine could not be made, and tells every event that waits
// for one. When it was its process that died, another is tried first: that may have
// been an accident. p.mu is held.
func (p *pool) failed(err error) {
	var died *worker.DiedError
	if p.failures == 0 && errors.As(err, &died) {
		p.failures, p.failure, p.retry = 1, err, time.Time{}
		return
	}
	p.failure, p.retry = err, time.Now().Add(backOff(p.failures))
	p.failures++
	p.refill = false // until the next event
	for p.waiters.Len() > p.returning+p.making && p.serve(handover{err: err}) {
	}
}

// urgent says whether an event waits for a machine that is not there yet.
func (p *pool) urgent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, urgent := p.wants()
	return urgent
}

// Lease returns a prepared machine, or waits for one.
func (p *pool) Lease(ctx context.Context, r Request) (VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	p.last, p.refill = time.Now(), p.keep > 0
	vm, dead := p.pop()
	if len(dead) > 0 {
		p.settling++
		p.mu.Unlock()
		for _, m := range dead {
			_ = p.discard(m) // the one that has found it dead has told
		}
		p.mu.Lock()
		p.settling--
		p.quiet.Broadcast()
	}
	if len(p.idle) == 0 {
		// One event now and then needs one machine, and another one in case; a sink with
		// more of them has twice as many each time that they do not suffice.
		p.target = min(p.size, max(2, 2*p.target))
	}
	if vm != nil {
		more, _ := p.wants()
		p.mu.Unlock()
		if more {
			p.workers.wake(p)
		}
		return p.lend(vm, r), nil
	}
	if p.backsOff() && p.returning+p.making == 0 {
		defer p.mu.Unlock()
		return nil, p.failure
	}
	p.waited++
	ready := make(chan handover, 1)
	place := p.waiters.PushBack(ready)
	p.mu.Unlock()
	p.workers.wake(p)

	var expired <-chan time.Time
	if !r.Deadline.IsZero() {
		t := time.NewTimer(time.Until(r.Deadline))
		defer t.Stop()
		expired = t.C
	}
	var err error
	select {
	case h := <-ready:
		return p.take(h, r)
	case <-expired:
		err = ErrTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.mu.Lock()
	select {
	case h := <-ready:
		// The machine came at the same moment. An event that merely waited too
		// long may still use it; one that is gone passes it on.
		p.mu.Unlock()
		if errors.Is(err, ErrTimeout) || h.err != nil {
			return p.take(h, r)
		}
		return nil, errors.Join(err, p.put(h.vm))
	default:
		p.waiters.Remove(place)
	}
	p.mu.Unlock()
	return nil, err
}

// pop takes the machine that came in last. Those before it whose process is known to
// have died with another machine are taken too. p.mu is held.
func (p *pool) pop() (m *prepared, dead []*prepared) {
	for n := len(p.idle); n > 0; n = len(p.idle) {
		m = p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		if d, ok := m.machine.(interface{ Dead() bool }); !ok || !d.Dead() {
			return m, dead
		}
		dead = append(dead, m)
	}
	return nil, dead
}

func (p *pool) take(h handover, r Request) (VM, error) {
	if h.err != nil {
		return nil, h.err
	}
	return p.lend(h.vm, r), nil
}

// lend gives a machine to an event.
func (p *pool) lend(m *prepared, r Request) *leased {
	l := &leased{prepared: m, pool: p, env: r.Env}
	l.setEnv()
	return l
}

// serve gives h to the event that waits longest, and says whether one did. p.mu
// is held.
func (p *pool) serve(h handover) bool {
	front := p.waiters.Front()
	if front == nil {
		return false
	}
	p.waiters.Remove(front)
	front.Value.(chan handover) <- h // it has room for one
	return true
}

// makeOne makes a machine if one is wanted, and says whether another one is.
func (p *pool) makeOne() (again bool) {
	p.mu.Lock()
	more, urgent := p.wants()
	p.mu.Unlock()
	if !more || !p.reserve(urgent) {
		return false
	}
	p.mu.Lock()
	if more, _ := p.wants(); !more { // any more, while room was made for it
		p.mu.Unlock()
		p.memory().release(p.bytes)
		return false
	}
	p.making++
	p.settling++
	p.alive++
	more, _ = p.wants()
	p.mu.Unlock()
	if more { // others may make machines at the same time
		p.workers.wake(p)
	}

	m, err := p.clone()

	p.mu.Lock()
	p.making--
	if err != nil {
		p.alive--
		p.failed(err)
	} else {
		p.made++
		p.failures = 0
	}
	p.mu.Unlock()
	if err != nil {
		p.memory().release(p.bytes)
	} else {
		// A machine that is not wanted any more and cannot be closed has no
		// event to report that to.
		_ = p.put(&prepared{machine: m})
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.settling--
	p.quiet.Broadcast()
	again, _ = p.wants()
	return again
}

func (p *pool) memory() *Memory { return p.workers.memory }

// reserve takes the memory for another machine.
func (p *pool) reserve(urgent bool) bool {
	wake := func() { p.workers.wake(p) }
	if urgent {
		return p.memory().reserveUrgent(p.bytes, p, wake)
	}
	return p.memory().reserve(p.bytes, p, wake)
}

// giveUp closes the machine that has been idle for the longest time, for an event
// of another sink. It says false when none is idle.
func (p *pool) giveUp() bool {
	p.mu.Lock()
	if len(p.idle) == 0 {
		p.mu.Unlock()
		return false
	}
	m := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	p.refill, p.target = false, 0 // until the next event
	p.settling++
	p.mu.Unlock()
	_ = p.discard(m) // there is no event to report it to
	p.mu.Lock()
	p.settling--
	p.quiet.Broadcast()
	p.mu.Unlock()
	return true
}

func (p *pool) lastEvent() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// put gives a machine that holds nothing of an event to one that waits, or
// keeps it, or closes it when there are enough.
func (p *pool) put(m *prepared) error {
	p.mu.Lock()
	return p.putLocked(m)
}

// putLocked is put with p.mu held, which it gives up.
func (p *pool) putLocked(m *prepared) error {
	if !p.closed && p.serve(handover{vm: m}) {
		p.mu.Unlock()
		return nil
	}
	if p.closed || p.keep <= 0 || (!p.reuse && len(p.idle) >= p.size) {
		p.mu.Unlock()
		return p.discard(m)
	}
	m.since = time.Now()
	p.idle = append(p.idle, m)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.keep, p.expire)
	}
	p.mu.Unlock()
	return nil
}

// discard closes a machine.
func (p *pool) discard(m *prepared) error {
	err := p.workers.close(m.machine)
	p.memory().release(p.bytes)
	p.mu.Lock()
	p.alive--
	more, _ := p.wants()
	p.mu.Unlock()
	if more {
		p.workers.wake(p)
	}
	return err
}

// expire closes the machines that were idle for too long.
func (p *pool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	now := time.Now()
	var old, kept []*prepared
	next := now.Add(p.keep)
	for _, m := range p.idle {
		// Machines that are used once are kept as long as there are events at
		// all, those that are used again as long as this many are needed.
		since := p.last
		if p.reuse {
			since = m.since
		}
		if end := since.Add(p.keep); end.After(now) {
			kept = append(kept, m)
			if end.Before(next) {
				next = end
			}
		} else {
			old = append(old, m)
		}
	}
	p.idle = kept
	if len(old) > 0 && len(kept) == 0 {
		p.refill, p.target = false, 0
	}
	p.timer = nil
	if len(kept) > 0 {
		p.timer = time.AfterFunc(next.Sub(now), p.expire)
	}
	p.expiring++
	p.mu.Unlock()
	for _, m := range old {
		_ = p.discard(m) // there is no event to report it to
	}
	p.mu.Lock()
	p.expiring--
	p.quiet.Broadcast()
}

func (p *pool) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Tier: p.tier, Snapshot: true, Prepared: len(p.idle), Alive: p.alive, Made: p.made, Resets: p.resets, Waited: p.waited}
	if p.failures > 0 {
		s.Failing = p.failure.Error()
	}
	return s
}

// Close closes every machine. Those that were leased must have been closed.
func (p *pool) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	for p.settling > 0 || p.expiring > 0 {
		p.quiet.Wait()
	}
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	p.memory().leave(p)
	var errs []error
	for _, m := range idle {
		errs = append(errs, p.discard(m))
	}
	return errors.Join(errs...)
}

// leased is a machine in the hands of one event.
type leased struct {
	*prepared
	pool *pool
	env  []string
	good bool // it ran, and may run again once it is reset
}

// setEnv gives a program that the event starts the event's environment.
func (l *leased) setEnv() {
	if m, ok := l.machine.(interface{ SetEnv(env []string) }); ok {
		m.SetEnv(l.env)
	}
}

// LostError says that a machine went down with the event that it ran.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "the virtual machine was lost: " + e.Err.Error() }

func (e *LostError) Unwrap() error { return e.Err }

// Run runs the event. When the machine's process has died before the program began,
// another one takes its place, once. The error is a *LostError when it died later.
func (l *leased) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	r, err := l.run(ctx, io)
	var died *worker.DiedError
	if errors.As(err, &died) && !died.Began {
		other, leaseErr := l.pool.Lease(ctx, Request{Deadline: time.Now().Add(startTimeout)})
		if leaseErr != nil {
			return nil, &LostError{errors.Join(err, leaseErr)}
		}
		// The first one is lost already; that it cannot be closed tells nothing new.
		_ = l.pool.discard(l.prepared)
		l.prepared = other.(*leased).prepared
		l.setEnv()
		r, err = l.run(ctx, io)
	}
	if errors.As(err, &died) {
		err = &LostError{err}
	}
	return r, err
}

func (l *leased) run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	l.events++
	r, err := l.machine.Run(ctx, io)
	l.good = err == nil && mayRunAgain(r)
	return r, err
}

// mayRunAgain says whether a machine with this result may be reset: only after
// a program that did its work and accepted or refused the event, or answered it. What crashed,
// also by its language's own handling of a fault, failed, or was stopped by a
// limit is not used again.
func mayRunAgain(r *vmexec.Result) bool {
	return r.Reason == vmexec.Answered || r.Reason == vmexec.Exited && (r.Status == 0 || r.Status == exitPermanent)
}

// Close resets the machine for another event, or destroys it.
func (l *leased) Close() error {
	p := l.pool
	again := p.reuse && l.good && l.events < maxEvents
	p.mu.Lock()
	p.seen = p.seen || l.good
	if again {
		p.returning++
	}
	p.mu.Unlock()
	if l.good && p.onGood != nil {
		p.onGood()
	}
	if !again {
		return p.discard(l.prepared)
	}
	err := l.Reset()
	p.mu.Lock()
	p.returning--
	if err != nil {
		p.mu.Unlock()
		return errors.Join(fmt.Errorf("a machine was destroyed because it could not be reset: %w", err), p.discard(l.prepared))
	}
	p.resets++
	return p.putLocked(l.prepared)
}
