// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/source/journal"
	"kontain.dev/eventing/pkg/source/schedule"
)

// RunType is the attribute type of the event that a program is run with: it says which
// run this is, and when it was due.
const RunType = "dev.kontain.source.run"

// Outcome is what came of a run.
type Outcome struct {
	Events []*event.Event
	State  []byte // what the program left for the next run
}

// Program runs a program once. *Machines is one.
type Program interface {
	// Run gives the program an event, and what the run before left, and returns what came
	// of it.
	Run(ctx context.Context, e *event.Event, a Attributes, state []byte) (Outcome, error)
}

// Stream is a program that runs on. *Streams is one.
type Stream interface {
	// Run gives the program an event, and calls take with each line that it writes until
	// it ends. The line is take's until that returns; meanwhile the program may write
	// little more. When ctx is done the program is asked to end, and has some time for
	// its last lines. The error says how it failed, or is that of take, which ends it.
	Run(ctx context.Context, e *event.Event, take func(line []byte) error) error
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
	// Policy is what becomes of a run that is due while another one goes on.
	Policy v1alpha1.ConcurrencyPolicy
	// State: each run begins with what the one before left, and when all of that one's
	// events are sent.
	State bool
	// Type and Source are attributes of the event that output becomes.
	Type, Source string
	// Extensions are set on every event.
	Extensions map[string]string

	// Program runs when it is due. Stream, in its place, runs on, and When does not count.
	Program Program
	Stream  Stream
	Journal Journal
	Sender  Sender
	Clock   clock.Clock
	Logger  *slog.Logger
	// Ran, when set, hears of each run that ended by itself: how long after it was due it
	// began, and how long it took.
	Ran func(late, took time.Duration)
}

// Stats says what a source did since its adapter began, and what is next.
type Stats struct {
	Runs     uint64 `json:"runs"`     // that ended well
	Failed   uint64 `json:"failed"`   // runs
	Missed   uint64 `json:"missed"`   // that were due and not begun
	Replaced uint64 `json:"replaced"` // that were ended because the next one was due
	Restarts uint64 `json:"restarts"` // of a program that runs on
	Running  int    `json:"running"`  // that go on
	Sent     uint64 `json:"sent"`     // events that the sink, or the dead letter sink, has taken
	Lost     uint64 `json:"lost"`     // events that neither would take, and lines of a program that runs on which are none
	Waiting  int    `json:"waiting"`  // runs whose events are not all sent
	// When the last run began, the last that ended well, and the last that failed. Before
	// there is one, the first two are when that was due whose events an adapter before has
	// sent.
	LastRun     time.Time `json:"lastRun,omitzero"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	LastSent    time.Time `json:"lastSent,omitzero"` // when an event was last taken
	NextRun     time.Time `json:"nextRun,omitzero"`  // when one is due
	LastError   string    `json:"lastError,omitempty"`
	RunError    string    `json:"runError,omitempty"`  // of the last run that failed
	LastLost    time.Time `json:"lastLost,omitzero"`   // when an event was lost
	LostError   string    `json:"lostError,omitempty"` // of that event
}

// Adapter runs one source.
type Adapter struct {
	config Config
	added  chan struct{} // a run waits for the sink
	sent   chan struct{} // the sink has all of a run

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
	a := &Adapter{config: c, added: make(chan struct{}, 1), sent: make(chan struct{}, 1)}
	if r := c.Journal.Reached(); r.Run > 0 {
		a.stats.LastRun, a.stats.LastSuccess, a.stats.LastSent = r.Scheduled, r.Scheduled, r.Delivered
	}
	return a
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

// failed notes that the run that began then failed.
func (a *Adapter) failed(began time.Time, err error, log *slog.Logger) {
	a.count(func(s *Stats) {
		s.Failed++
		s.LastFailure, s.RunError, s.LastError = began, err.Error(), err.Error()
	})
	log.Error("run failed", "error", err)
}

// lost notes that an event was lost.
func (a *Adapter) lost(err error) {
	a.count(func(s *Stats) {
		s.Lost++
		s.LastLost, s.LostError, s.LastError = a.config.Clock.Now(), err.Error(), err.Error()
	})
}

// signal wakes the one who waits for c.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
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
	run := a.runAll
	if a.config.Stream != nil {
		run = a.runOn
	}
	err := run(ctx)
	close(scheduled)
	if err != nil {
		cancel()
	}
	sending.Wait()
	return errors.Join(err, sendErr)
}

// Once makes one run, as if it were due now, and sends its events and those that wait
// already. A program that runs on is not started again. The error is the program's, the
// sink's, or that of ctx.
func (a *Adapter) Once(ctx context.Context) error {
	if a.config.State { // which is that of what waits
		if err := a.sendWaiting(ctx); err != nil {
			return err
		}
	}
	if err := a.once(ctx); err != nil {
		return err
	}
	return a.sendWaiting(ctx)
}

func (a *Adapter) once(ctx context.Context) error {
	if a.config.Stream != nil {
		return a.stream(ctx)
	}
	f := a.begin(ctx, a.config.Clock.Now(), 0)
	<-f.done
	return a.settle(ctx, f)
}
