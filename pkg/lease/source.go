// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/vmexec"
)

// leastAwake is how long a source stays awake after an event at the least.
const leastAwake = time.Second

// New checks what spec says and returns its Source, which is asleep: it holds neither
// the program nor a machine until an event or Prepare asks for one, and again when none
// did for spec.IdleTime. The error is a *vmexec.ProgramError when the program cannot run.
func (w *Workers) New(spec Spec, log *slog.Logger) (Source, error) {
	if spec.Tier == TierProcess && w.worker == "" {
		return nil, errors.New("isolation Process needs worker processes")
	}
	if err := w.memory.fits(spec.Limits.Memory); err != nil {
		return nil, err
	}
	if w.noEgress && len(spec.Egress) > 0 {
		return nil, ErrNoEgress
	}
	broker, err := NewBroker(spec, w.resolver, log)
	if err != nil {
		return nil, err
	}
	if broker != nil {
		spec.outward = broker.Begin
	}
	it, err := w.shelf.join(spec)
	if err != nil {
		return nil, err
	}
	return &source{w: w, spec: spec, log: log, item: it, broker: broker}, nil
}

// source hands out the machines of one sink.
type source struct {
	w    *Workers
	spec Spec
	log  *slog.Logger
	item *item

	broker *egress.Broker // nil: programs reach nothing outside

	mu     sync.Mutex
	made   *cloned // nil: it is asleep
	pool   *pool   // nil: machines are started in this process, each for an event
	leases int     // machines in the hands of events, and events that wait for one
	last   time.Time
	timer  *time.Timer // nil: it is asleep
	closed bool
	dozing sync.WaitGroup // a doze gives up what there was
	rest   *Stats         // of when it was awake the last time; nil: never
}

// Prepare wakes the source up, so that an event finds a machine.
func (s *source) Prepare(ctx context.Context) error {
	_, _, err := s.wake(ctx, time.Time{})
	if err == nil {
		s.done()
	}
	return err
}

// wake makes sure that the source is awake, and that it stays so until done is called.
func (s *source) wake(ctx context.Context, deadline time.Time) (*cloned, *pool, error) {
	s.mu.Lock()
	if s.made != nil {
		defer s.mu.Unlock()
		s.leases++
		return s.made, s.pool, nil
	}
	s.mu.Unlock()
	made, err := s.w.shelf.use(ctx, s.item, s.spec, s.log, deadline)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases++
	if s.made != nil { // another event was faster
		return s.made, s.pool, s.w.shelf.release(s.item)
	}
	s.made = made
	s.timer = time.AfterFunc(s.awake(), s.doze)
	if made.frozen == nil {
		return s.made, nil, nil
	}
	spec := s.spec
	if !made.isSnapshot && spec.Tier == TierReset {
		spec.Tier = TierVM // there is nothing to reset to
	}
	s.pool = newPool(s.w, made.frozen.machine, s.w.shelf.takeFirst(s.item), spec, made.frozen.learned())
	s.pool.onGood = made.onGood
	return s.made, s.pool, nil
}

// awake is how long the source stays awake without an event.
func (s *source) awake() time.Duration { return max(s.spec.IdleTime, leastAwake) }

// done ends what wake began.
func (s *source) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases--
	s.last = time.Now()
}

// doze puts the source to sleep when there was no event for long enough.
func (s *source) doze() {
	s.mu.Lock()
	if s.closed || s.made == nil {
		s.mu.Unlock()
		return
	}
	if rest := s.awake() - time.Since(s.last); s.leases > 0 || rest > 0 {
		s.timer = time.AfterFunc(max(rest, leastAwake/10), s.doze)
		s.mu.Unlock()
		return
	}
	s.dozing.Add(1)
	defer s.dozing.Done()
	if err := s.sleep(); err != nil { // which unlocks
		s.log.Error("what an idle sink held was not closed", "error", err)
	}
}

// sleep gives up all that the source holds. s.mu is held, and given up.
func (s *source) sleep() error {
	rest := s.awakeStats()
	rest.Prepared, rest.Alive = 0, 0
	s.rest = &rest
	made, pool := s.made, s.pool
	s.timer.Stop()
	s.made, s.pool, s.timer = nil, nil, nil
	s.mu.Unlock()
	var err error
	if pool != nil {
		err = pool.Close()
	}
	made.saving.Wait() // what is on disk need not be kept
	return errors.Join(err, s.w.shelf.release(s.item))
}

// Lease returns a machine that waits for its event.
func (s *source) Lease(ctx context.Context, r Request) (VM, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	made, pool, err := s.wake(ctx, r.Deadline)
	if err != nil {
		return nil, err
	}
	var vm VM
	if pool != nil {
		vm, err = pool.Lease(ctx, r)
	} else {
		vm, err = made.fresh.Lease(ctx, r)
	}
	if err != nil {
		s.done()
		return nil, err
	}
	return &lent{vm, s}, nil
}

// lent is a machine that keeps its source awake.
type lent struct {
	VM
	of *source
}

// Run runs the event, with the network outside as the sink has it.
func (l *lent) Run(ctx context.Context, io vmexec.IO) (*vmexec.Result, error) {
	o, end := l.of.spec.outward.begin(ctx)
	defer end()
	io.Outward = o
	return l.VM.Run(ctx, io)
}

func (l *lent) Close() error {
	defer l.of.done()
	return l.VM.Close()
}

// Stats describes the source.
func (s *source) Stats() Stats {
	st := s.machines()
	if s.broker != nil {
		e := s.broker.Stats()
		st.Egress = &e
	}
	return st
}

// machines is Stats without what does not come of machines.
func (s *source) machines() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made != nil {
		return s.awakeStats()
	}
	st := Stats{Tier: s.spec.Tier, Snapshot: s.spec.Snapshot}
	if s.rest != nil {
		st = *s.rest
	}
	st.Asleep = true
	return st
}

// awakeStats is Stats of a source that is awake. s.mu is held.
func (s *source) awakeStats() Stats {
	var st Stats
	if s.pool == nil {
		st = s.made.fresh.Stats()
	} else {
		st = s.pool.stats()
		s.made.describe(&st)
	}
	if s.rest != nil && s.pool != nil {
		st.Made += s.rest.Made
		st.Resets += s.rest.Resets
		st.Waited += s.rest.Waited
	}
	return st
}

// Close frees what the source holds.
func (s *source) Close() error {
	s.mu.Lock()
	s.closed = true
	var err error
	if s.made == nil {
		s.mu.Unlock()
	} else {
		err = s.sleep() // which unlocks
	}
	s.dozing.Wait()
	err = errors.Join(err, s.w.shelf.leave(s.item))
	if s.broker != nil {
		s.broker.Close()
	}
	return err
}
