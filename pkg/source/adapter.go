// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"k8s.io/utils/clock"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/source/deliver"
	"kontain.dev/eventing/pkg/source/journal"
	"kontain.dev/eventing/pkg/source/schedule"
)

// RunType is the attribute type of the event that a program is run with: it says which
// run this is, and when it was due.
const RunType = "dev.kontain.source.run"

// looksUp is how often an adapter that waits looks at the clock, which may have been
// set.
const looksUp = 10 * time.Second

// Program runs a program once. *Machines is one.
type Program interface {
	// Run gives the program an event and returns the events that it wrote.
	Run(ctx context.Context, e *event.Event, a Attributes) ([]*event.Event, error)
}

// Sender sends events. *deliver.Sender is one.
type Sender interface {
	Send(ctx context.Context, e *event.Event) error
}

// Journal keeps what a source must not forget. *journal.Journal, whose methods say what
// each of these does, is one. An error of any but Room ends the source.
type Journal interface {
	Reached() journal.Reached
	Dealt() time.Time
	Waiting() (runs int, bytes int64)
	Room() error
	Add(scheduled time.Time, events []json.RawMessage, state []byte) (uint64, error)
	Oldest() (*journal.Run, error)
	Delivered(r *journal.Run) error
	Passed(t time.Time) error
	Close() error
}

// Config is one source.
type Config struct {
	Namespace, Name string
	// When says when runs are due; begun is when the source was first seen.
	When func(begun time.Time) schedule.Schedule
	// Deadline is how late a run may begin, and Jitter the longest time that it waits.
	Deadline, Jitter time.Duration
	// Suspended has no run begun.
	Suspended bool
	// Type and Source are attributes of the event that output becomes.
	Type, Source string
	// Extensions are set on every event.
	Extensions map[string]string

	Program Program
	Journal Journal
	Sender  Sender
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Stats counts what a source did since its adapter began.
type Stats struct {
	Runs      uint64    `json:"runs"`    // that ended well
	Failed    uint64    `json:"failed"`  // runs
	Missed    uint64    `json:"missed"`  // that were due and not begun
	Sent      uint64    `json:"sent"`    // events that the sink, or the dead letter sink, has taken
	Lost      uint64    `json:"lost"`    // events that neither would take
	Waiting   int       `json:"waiting"` // runs whose events are not all sent
	LastRun   time.Time `json:"lastRun,omitzero"`
	LastSent  time.Time `json:"lastSent,omitzero"`
	NextRun   time.Time `json:"nextRun,omitzero"`
	LastError string    `json:"lastError,omitempty"`

	LastSuccess time.Time `json:"lastSuccess,omitzero"` // when the last run that ended well began
	LastFailure time.Time `json:"lastFailure,omitzero"` // and the last that failed
	RunError    string    `json:"runError,omitempty"`   // of the last run that failed
	LostError   string    `json:"lostError,omitempty"`  // of the last event that was lost
}

// Adapter runs one source.
type Adapter struct {
	config Config
	added  chan struct{} // a run waits for the sink

	mu    sync.Mutex
	stats Stats
}

// New returns an Adapter, which does nothing before Run.
func New(c Config) *Adapter {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Adapter{config: c, added: make(chan struct{}, 1)}
}

// Stats returns a snapshot.
func (a *Adapter) Stats() Stats {
	waiting, _ := a.config.Journal.Waiting()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Waiting = waiting
	return s
}

func (a *Adapter) count(change func(*Stats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.stats)
}

// Run runs the source until ctx is done, or until nothing will ever be due any more and
// all events are sent. A run that was begun is broken off, and made again by the next
// Run; so is the sending of its events. The error is one of the journal.
func (a *Adapter) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sending sync.WaitGroup
	scheduled := make(chan struct{})
	var sendErr error
	sending.Go(func() {
		sendErr = a.sendAll(ctx, scheduled)
		cancel()
	})
	err := a.runAll(ctx)
	close(scheduled)
	if err != nil {
		cancel()
	}
	sending.Wait()
	return errors.Join(err, sendErr)
}

// Once makes one run, as if it were due now, and sends its events and those that wait
// already. The error is the program's, the sink's, or that of ctx.
func (a *Adapter) Once(ctx context.Context) error {
	if err := a.once(ctx, a.config.Clock.Now()); err != nil {
		return err
	}
	for {
		more, err := a.sendOne(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// runAll makes the runs that are due.
func (a *Adapter) runAll(ctx context.Context) error {
	c := a.config
	begun := c.Journal.Reached().Begun
	when := c.When(begun)
	full := false
	for ctx.Err() == nil {
		last := c.Journal.Dealt()
		if last.IsZero() {
			last = begun.Add(-1)
		}
		now := c.Clock.Now()
		due, missed := schedule.Due(when, last, now, c.Deadline)
		if missed > 0 {
			a.count(func(s *Stats) { s.Missed += uint64(missed) })
			c.Logger.Warn("runs were missed", "missed", missed)
		}
		if due.IsZero() {
			if missed > 0 {
				if err := c.Journal.Passed(now); err != nil {
					return err
				}
			}
			next := when.Next(later(last, now))
			a.count(func(s *Stats) { s.NextRun = next })
			if next.IsZero() {
				return nil
			}
			a.sleep(ctx, min(next.Sub(now), looksUp))
			continue
		}
		room := c.Journal.Room()
		switch {
		case c.Suspended:
		case room != nil:
			a.count(func(s *Stats) { s.Missed++; s.LastError = room.Error() })
			if !full {
				c.Logger.Warn("no run is begun", "error", room)
			}
		default:
			if c.Jitter > 0 {
				a.sleep(ctx, rand.N(c.Jitter)) //nolint:gosec // Nothing rests on it being a secret.
			}
			err := a.once(ctx, due)
			if ctx.Err() != nil {
				return nil // it is made again
			}
			if err == nil {
				full = false
				continue
			}
			if !isProgramError(err) {
				return err
			}
		}
		full = room != nil
		if err := c.Journal.Passed(due); err != nil {
			return err
		}
	}
	return nil
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

// once makes the run that was due.
func (a *Adapter) once(ctx context.Context, due time.Time) error {
	c := a.config
	id := a.runID(due)
	log := c.Logger.With("run", id)
	begin := c.Clock.Now()
	a.count(func(s *Stats) { s.LastRun = begin })
	tick := ce.New()
	tick.SetID(id)
	tick.SetType(RunType)
	tick.SetSource(c.Source)
	tick.SetTime(begin.UTC())
	if err := tick.SetData(ce.ApplicationJSON, map[string]string{"due": due.UTC().Format(time.RFC3339Nano)}); err != nil {
		return err
	}
	events, err := c.Program.Run(ctx, &tick, Attributes{ID: id, Type: c.Type, Source: c.Source, Time: begin.UTC()})
	var encoded []json.RawMessage
	if err == nil {
		encoded, err = a.encode(events)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.failed(begin, err, log)
		return programError{err}
	}
	var large *journal.TooLargeError
	if _, err := c.Journal.Add(due, encoded, nil); errors.As(err, &large) {
		a.failed(begin, err, log)
		return programError{err}
	} else if err != nil {
		return err
	}
	a.count(func(s *Stats) { s.Runs++; s.LastSuccess = begin })
	log.Debug("run", "events", len(events), "late", begin.Sub(due), "took", c.Clock.Since(begin))
	select {
	case a.added <- struct{}{}:
	default:
	}
	return nil
}

// failed notes that the run that began then failed.
func (a *Adapter) failed(begin time.Time, err error, log *slog.Logger) {
	a.count(func(s *Stats) {
		s.Failed++
		s.LastFailure, s.RunError, s.LastError = begin, err.Error(), err.Error()
	})
	log.Error("run failed", "error", err)
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

// sendAll sends what waits until ctx is done, or until nothing waits after scheduled is
// closed.
func (a *Adapter) sendAll(ctx context.Context, scheduled <-chan struct{}) error {
	for {
		more, err := a.sendOne(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !isRefused(err):
			return err
		case more:
			continue
		}
		select {
		case <-a.added:
		case <-ctx.Done():
			return nil
		case <-scheduled:
			if n, _ := a.config.Journal.Waiting(); n == 0 {
				return nil
			}
		}
	}
}

func isRefused(err error) bool {
	var refused *deliver.RefusedError
	return errors.As(err, &refused)
}

// sendOne sends the events of the oldest run that waits, and says whether there was one.
// An event that nobody takes is lost: it would hold back all behind it. The error then is
// a *deliver.RefusedError.
func (a *Adapter) sendOne(ctx context.Context) (more bool, err error) {
	c := a.config
	run, err := c.Journal.Oldest()
	if err != nil || run == nil {
		return false, err
	}
	var lost error
	for i, raw := range run.Events {
		e, err := event.DecodeJSON(raw)
		if err != nil {
			return false, fmt.Errorf("event %d of run %d in the journal: %w", i+1, run.Number, err)
		}
		switch err := c.Sender.Send(ctx, e); {
		case ctx.Err() != nil && err != nil:
			return false, ctx.Err()
		case err != nil:
			a.count(func(s *Stats) { s.Lost++; s.LostError, s.LastError = err.Error(), err.Error() })
			c.Logger.Error("event lost", "id", e.ID(), "source", e.Source(), "type", e.Type(), "error", err)
			lost = err
		default:
			a.count(func(s *Stats) { s.Sent++; s.LastSent = c.Clock.Now() })
		}
	}
	if err := c.Journal.Delivered(run); err != nil {
		return false, err
	}
	return true, lost
}
