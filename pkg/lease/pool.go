// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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
	reset   bool          // machines are used again
	size    int           // prepared machines to have, when each is used once
	keep    time.Duration // how long to have them after the last event

	mu        sync.Mutex
	idle      []*prepared // the last to come in is the first to go out
	waiters   list.List   // of chan handover, the first to come in front
	alive     int         // machines that are not closed, and the one in the making
	making    bool
	returning int       // machines being reset
	refill    bool      // prepare machines ahead
	seen      bool      // an event ran to its end
	last      time.Time // of the last event
	timer     *time.Timer
	closed    bool
	quiet     *sync.Cond // making or background changed
	expiring  int        // expire calls in progress

	made, resets, waited uint64
}

// newPool makes a pool, which owns first. learned says that it is known already
// which memory an event needs.
func newPool(w *Workers, clone func() (machine, error), first machine, spec Spec, learned bool) *pool {
	p := &pool{
		workers: w, clone: clone, reset: spec.Tier == TierReset, size: min(max(1, spec.Concurrency), maxPool),
		keep: spec.IdleTime, refill: spec.IdleTime > 0, seen: learned, last: time.Now(), alive: 1, made: 1,
	}
	p.waiters.Init()
	p.quiet = sync.NewCond(&p.mu)
	_ = p.put(&prepared{machine: first}) // with nothing to be kept, there is no event to report an error to
	w.wake(p)
	return p
}

// wants says whether another machine is to be made, and whether an event waits
// for it. p.mu is held.
func (p *pool) wants() (more, urgent bool) {
	switch {
	case p.closed || p.making:
		return false, false
	case p.waiters.Len() > p.returning: // each machine being reset will serve one
		return true, true
	case !p.refill:
		return false, false
	case p.reset, !p.seen:
		// The first event shows which memory an event needs; clones that are
		// made afterwards have it at hand.
		return p.alive == 0, false
	}
	return len(p.idle) < p.size, false
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
	if n := len(p.idle); n > 0 {
		vm := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		more, _ := p.wants()
		p.mu.Unlock()
		if more {
			p.workers.wake(p)
		}
		return &leased{prepared: vm, pool: p}, nil
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
		return p.take(h)
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
			return p.take(h)
		}
		return nil, errors.Join(err, p.put(h.vm))
	default:
		p.waiters.Remove(place)
	}
	p.mu.Unlock()
	return nil, err
}

func (p *pool) take(h handover) (VM, error) {
	if h.err != nil {
		return nil, h.err
	}
	return &leased{prepared: h.vm, pool: p}, nil
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
	if more, _ := p.wants(); !more {
		p.mu.Unlock()
		return false
	}
	p.making = true
	p.alive++
	p.mu.Unlock()

	m, err := p.clone()

	p.mu.Lock()
	if err != nil {
		p.alive--
		p.refill = false // until the next event: this is no time to try over and over
		p.serve(handover{err: err})
	} else {
		p.made++
	}
	p.mu.Unlock()
	if err == nil {
		// A machine that is not wanted any more and cannot be closed has no
		// event to report that to.
		_ = p.put(&prepared{machine: m})
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.making = false
	p.quiet.Broadcast()
	again, _ = p.wants()
	return again
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
	if p.closed || p.keep <= 0 || (!p.reset && len(p.idle) >= p.size) {
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
		if p.reset {
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
		p.refill = false
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
	s := Stats{Tier: TierVM, Snapshot: true, Prepared: len(p.idle), Alive: p.alive, Made: p.made, Resets: p.resets, Waited: p.waited}
	if p.reset {
		s.Tier = TierReset
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
	for p.making || p.expiring > 0 {
		p.quiet.Wait()
	}
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
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
	good bool // it ran, and may run again once it is reset
}

// Run runs the event.
func (l *leased) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	l.events++
	r, err := l.machine.Run(ctx, io)
	l.good = err == nil && mayRunAgain(r)
	return r, err
}

// mayRunAgain says whether a machine with this result may be reset: only after
// a program that did its work and accepted or refused the event. What crashed,
// also by its language's own handling of a fault, failed, or was stopped by a
// limit is not used again.
func mayRunAgain(r *vmexec.Result) bool {
	return r.Reason == vmexec.Exited && (r.Status == 0 || r.Status == exitPermanent)
}

// Close resets the machine for another event, or destroys it.
func (l *leased) Close() error {
	p := l.pool
	again := p.reset && l.good && l.events < maxEvents
	p.mu.Lock()
	p.seen = p.seen || l.good
	if again {
		p.returning++
	}
	p.mu.Unlock()
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
