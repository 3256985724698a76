// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/source/journal"
	"kontain.dev/eventing/pkg/source/schedule"
)

// looksUp is how often an adapter that waits looks at the clock, which may have been
// set.
const looksUp = 10 * time.Second

// flight is a run that was begun.
type flight struct {
	id     string
	due    time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed when there is what follows

	began    time.Time
	took     time.Duration
	events   []json.RawMessage
	state    []byte
	err      error
	replaced bool // set by the one who begins runs
}

func (f *flight) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// scheduler begins the runs of a source, and puts what came of them into the journal in
// the order in which they were due. It belongs to one goroutine.
type scheduler struct {
	*Adapter
	when    schedule.Schedule
	last    time.Time // all that was due up to here was dealt with, or is begun
	flights []*flight // in that order
	full    bool      // the journal has no room, which was said
}

// runAll makes the runs that are due.
func (a *Adapter) runAll(ctx context.Context) error {
	j := a.config.Journal
	begun := j.Reached().Begun
	s := &scheduler{Adapter: a, when: a.config.When(begun), last: j.Dealt()}
	if s.last.IsZero() {
		s.last = begun.Add(-1)
	}
	defer s.abandon()
	for ctx.Err() == nil {
		if len(s.flights) > 0 && s.flights[0].over() {
			f := s.flights[0]
			if err := a.settle(ctx, f); ctx.Err() != nil {
				return nil // it is made again
			} else if err != nil && !isProgramError(err) {
				return err
			}
			s.flights = s.flights[1:]
			continue
		}
		if more, err := s.next(ctx); err != nil || !more {
			return err
		}
	}
	return nil
}

// abandon breaks off what was begun.
func (s *scheduler) abandon() {
	for _, f := range s.flights {
		f.cancel()
	}
	for _, f := range s.flights {
		<-f.done
	}
}

// next begins the run that is due, or waits until something changes. It says whether
// there is more to come.
func (s *scheduler) next(ctx context.Context) (more bool, err error) {
	c := &s.config
	most := 1
	if c.Policy == v1alpha1.ConcurrencyAllow {
		most = v1alpha1.MaxConcurrentRuns
	}
	free := len(s.flights) < most
	if waiting, _ := c.Journal.Waiting(); !free && c.Policy != v1alpha1.ConcurrencyReplace || free && c.State && waiting > 0 {
		s.wait(ctx, nil)
		return true, nil
	}
	now := c.Clock.Now()
	due, missed := schedule.Due(s.when, s.last, now, c.Deadline)
	if !due.IsZero() && !free {
		f := s.flights[0]
		f.replaced = true
		f.cancel()
		<-f.done
		return true, nil // and it is settled before the next one begins
	}
	if missed > 0 {
		s.count(func(st *Stats) { st.Missed += uint64(missed) })
		c.Logger.Warn("runs were missed", "missed", missed)
	}
	if due.IsZero() {
		if missed > 0 {
			if err := s.pass(now); err != nil {
				return false, err
			}
		}
		next := s.announce(now)
		if next.IsZero() && len(s.flights) == 0 {
			return false, nil
		}
		s.idle(ctx, now, next)
		return true, nil
	}
	room := c.Journal.Room()
	switch {
	case c.Suspended:
	case room != nil:
		s.count(func(st *Stats) { st.Missed++; st.LastError = room.Error() })
		if !s.full {
			c.Logger.Warn("no run is begun", "error", room)
		}
	default:
		s.full = false
		s.last = due
		s.announce(now)
		s.flights = append(s.flights, s.begin(ctx, due, c.Jitter))
		return true, nil
	}
	s.full = room != nil
	return true, s.pass(due)
}

// announce notes when the next run is due.
func (s *scheduler) announce(now time.Time) time.Time {
	next := s.when.Next(later(s.last, now))
	s.count(func(st *Stats) { st.NextRun = next })
	return next
}

// pass notes that all which was due up to t was dealt with, though no run came of the
// last of it. While runs go on that were due before, the journal is not told: they are
// to be made again should the adapter end.
func (s *scheduler) pass(t time.Time) error {
	s.last = later(s.last, t)
	if len(s.flights) > 0 {
		return nil
	}
	return s.config.Journal.Passed(t)
}

// idle waits until the next run is due, or until something changes.
func (s *scheduler) idle(ctx context.Context, now, next time.Time) {
	d := looksUp
	if !next.IsZero() {
		d = min(next.Sub(now), looksUp)
	}
	t := s.config.Clock.NewTimer(d)
	defer t.Stop()
	s.wait(ctx, t.C())
}

// wait waits for the oldest run, for the sink to have taken all of one, for a timer, or
// for the end of ctx.
func (s *scheduler) wait(ctx context.Context, timer <-chan time.Time) {
	var done chan struct{}
	if len(s.flights) > 0 {
		done = s.flights[0].done
	}
	select {
	case <-done:
	case <-s.sent:
	case <-timer:
	case <-ctx.Done():
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits for d, or for the end of ctx.
func (a *Adapter) sleep(ctx context.Context, d time.Duration) {
	t := a.config.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

// programError is one that another run may not have.
type programError struct{ error }

func isProgramError(err error) bool {
	var p programError
	return errors.As(err, &p)
}

func (p programError) Unwrap() error { return p.error }

// runID is what identifies a run: that of the same time has it again, and so have its
// events.
func (a *Adapter) runID(due time.Time) string {
	return a.config.Namespace + "." + a.config.Name + "." + due.UTC().Format(time.RFC3339Nano)
}

// tick is the event that a program is run with.
func (a *Adapter) tick(id string, due, begin time.Time) (*event.Event, error) {
	e := ce.New()
	e.SetID(id)
	e.SetType(RunType)
	e.SetSource(a.config.Source)
	e.SetTime(begin.UTC())
	return &e, e.SetData(ce.ApplicationJSON, map[string]string{"due": due.UTC().Format(time.RFC3339Nano)})
}

// begin begins the run that was due, after a time of up to jitter.
func (a *Adapter) begin(ctx context.Context, due time.Time, jitter time.Duration) *flight {
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{id: a.runID(due), due: due, cancel: cancel, done: make(chan struct{})}
	state := a.config.Journal.Reached().State
	a.count(func(s *Stats) { s.Running++ })
	go func() {
		defer close(f.done)
		defer cancel()
		defer a.count(func(s *Stats) { s.Running-- })
		if jitter > 0 {
			a.sleep(ctx, rand.N(jitter)) //nolint:gosec // Nothing rests on it being a secret.
		}
		if f.err = ctx.Err(); f.err == nil {
			f.err = a.fly(ctx, f, state)
			f.took = a.config.Clock.Since(f.began)
		}
	}()
	return f
}

// fly makes the run.
func (a *Adapter) fly(ctx context.Context, f *flight, state []byte) error {
	c := &a.config
	f.began = c.Clock.Now()
	a.count(func(s *Stats) { s.LastRun = f.began })
	e, err := a.tick(f.id, f.due, f.began)
	if err != nil {
		return err
	}
	o, err := c.Program.Run(ctx, e, Attributes{ID: f.id, Type: c.Type, Source: c.Source, Time: f.began.UTC()}, state)
	if err != nil {
		return err
	}
	f.state = o.State
	f.events, err = a.encode(o.Events)
	return err
}

// settle puts what came of a run that is over into the journal. An error of its program
// is a programError: the run is not made again.
func (a *Adapter) settle(ctx context.Context, f *flight) error {
	c := &a.config
	log := c.Logger.With("run", f.id)
	if err := f.err; err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.replaced:
			a.count(func(s *Stats) { s.Replaced++ })
			log.Info("run replaced: the next one is due")
		default:
			a.failed(f.began, err, log)
			a.ran(f)
		}
		if err := c.Journal.Passed(f.due); err != nil {
			return err
		}
		return programError{err}
	}
	var large *journal.TooLargeError
	if _, err := c.Journal.Add(f.due, f.events, f.state); errors.As(err, &large) {
		f.err = err
		return a.settle(ctx, f)
	} else if err != nil {
		return err
	}
	a.count(func(s *Stats) { s.Runs++; s.LastSuccess = f.began })
	a.ran(f)
	log.Debug("run", "events", len(f.events), "late", f.began.Sub(f.due), "took", f.took)
	signal(a.added)
	return nil
}

// ran tells of a run that is over.
func (a *Adapter) ran(f *flight) {
	if a.config.Ran != nil {
		a.config.Ran(f.began.Sub(f.due), f.took)
	}
}

// encode gives the events the extensions of the source, and the form they are kept in.
func (a *Adapter) encode(events []*event.Event) ([]json.RawMessage, error) {
	list := make([]json.RawMessage, 0, len(events))
	for i, e := range events {
		for name, value := range a.config.Extensions {
			e.SetExtension(name, value)
		}
		b, err := event.EncodeJSON(e)
		if err != nil {
			return nil, fmt.Errorf("event %d of %d: %w", i+1, len(events), err)
		}
		list = append(list, b)
	}
	return list, nil
}
