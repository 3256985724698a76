// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kontain.dev/eventing/pkg/source/journal"
)

// How a program that runs on is started again: after firstRestart, then after twice as
// long each time, at most mostRestart; from the beginning once it has run for healthy.
const (
	firstRestart = time.Second
	mostRestart  = 5 * time.Minute
	healthy      = 10 * time.Minute
)

// Bounds of what a program that runs on has written and the journal has not yet. At them
// the program waits.
const (
	mostPending      = 1000
	mostPendingBytes = 1 << 20
	// mostBatch is how many events the journal has in one record: so many are sent again
	// when the adapter is killed.
	mostBatch = 100
)

// mostBadLines is how many lines that are no events are logged of each start.
const mostBadLines = 10

// runOn starts a program that runs on, again whenever it ends.
func (a *Adapter) runOn(ctx context.Context) error {
	c := &a.config
	if c.Suspended {
		<-ctx.Done()
		return nil
	}
	for wait := firstRestart; ; wait = min(2*wait, mostRestart) {
		begin := c.Clock.Now()
		err := a.stream(ctx)
		switch {
		case err != nil && !isProgramError(err):
			return err
		case ctx.Err() != nil:
			return nil
		}
		if c.Clock.Since(begin) >= healthy {
			wait = firstRestart
		}
		next := c.Clock.Now().Add(wait)
		a.count(func(s *Stats) { s.Restarts++; s.NextRun = next })
		c.Logger.Warn("the program ended; it is started again", "next", wait)
		a.sleep(ctx, wait)
		if ctx.Err() != nil {
			return nil
		}
		a.count(func(s *Stats) { s.NextRun = time.Time{} })
	}
}

// stream starts a program that runs on, once, and puts what it writes into the journal as
// it comes. An error of the program is a programError.
func (a *Adapter) stream(ctx context.Context) error {
	c := &a.config
	begin := c.Clock.Now()
	id := a.runID(begin)
	log := c.Logger.With("run", id)
	e, err := a.tick(id, begin, begin)
	if err != nil {
		return err
	}
	a.count(func(s *Stats) { s.LastRun = begin; s.Running++ })
	defer a.count(func(s *Stats) { s.Running-- })
	w := newBatches()
	written := make(chan error, 1)
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		err := a.write(ctx, w)
		if err != nil {
			cancel() // what the program writes would be lost
		}
		written <- err
	}()
	l := &lines{adapter: a, id: id, log: log, to: w}
	err = c.Stream.Run(runCtx, e, l.take)
	w.close()
	if err := <-written; err != nil {
		return err
	}
	switch {
	case err == nil:
		a.count(func(s *Stats) { s.Runs++; s.LastSuccess = begin })
		return nil
	case ctx.Err() != nil:
		return programError{ctx.Err()}
	}
	a.failed(begin, err, log)
	return programError{err}
}

// lines makes events of the lines of a program that runs on.
type lines struct {
	adapter *Adapter
	id      string // of the run
	log     *slog.Logger
	to      *batches
	number  int // of the last line
	bad     int
}

// take takes a line. One that is no event though it means to be is lost alone. The error
// is that nobody takes any more.
func (l *lines) take(line []byte) error {
	l.number++
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return nil
	}
	encoded, err := l.encode(line)
	if err != nil {
		err = &OutputError{l.number, err}
		l.adapter.lost(err)
		if l.bad++; l.bad <= mostBadLines {
			l.log.Error("a line is no event", "error", err)
		}
		return nil
	}
	return l.to.add(encoded)
}

func (l *lines) encode(line []byte) ([]json.RawMessage, error) {
	events, ok, err := decode(line, MaxEvents)
	if !ok {
		c := &l.adapter.config
		events, err = data(bytes.Clone(line), Attributes{ID: fmt.Sprintf("%s.%d", l.id, l.number), Type: c.Type, Source: c.Source, Time: c.Clock.Now().UTC()})
	}
	if err != nil {
		return nil, err
	}
	return l.adapter.encode(events)
}

// batches are events on their way to the journal. They have room for a few: who adds
// more waits.
type batches struct {
	mu     sync.Mutex
	change sync.Cond
	events []json.RawMessage
	bytes  int
	closed bool  // nothing more comes
	err    error // nobody takes any more
}

func newBatches() *batches {
	b := &batches{}
	b.change.L = &b.mu
	return b
}

// add adds events when there is room. The error is that of fail.
func (b *batches) add(events []json.RawMessage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && (len(b.events) >= mostPending || b.bytes >= mostPendingBytes) {
		b.change.Wait()
	}
	if b.err != nil {
		return b.err
	}
	for _, e := range events {
		b.events = append(b.events, e)
		b.bytes += len(e)
	}
	b.change.Broadcast()
	return nil
}

// next waits for events and returns some; none at the end.
func (b *batches) next() []json.RawMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.events) == 0 && !b.closed {
		b.change.Wait()
	}
	n := min(len(b.events), mostBatch)
	batch := b.events[:n:n]
	for _, e := range batch {
		b.bytes -= len(e)
	}
	b.events = b.events[n:]
	b.change.Broadcast()
	return batch
}

func (b *batches) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.change.Broadcast()
}

func (b *batches) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.change.Broadcast()
}

// write puts events into the journal until there are no more. While that is full it waits
// for the sink, and so do all behind it; at the end of ctx what is left is written all
// the same.
func (a *Adapter) write(ctx context.Context, b *batches) error {
	for {
		batch := b.next()
		if len(batch) == 0 {
			return nil
		}
		a.awaitRoom(ctx)
		if err := a.addBatch(batch); err != nil {
			b.fail(err)
			return err
		}
		signal(a.added)
	}
}

// addBatch puts events into the journal: in parts when together they are more than that
// takes. One that is so alone is lost.
func (a *Adapter) addBatch(batch []json.RawMessage) error {
	_, err := a.config.Journal.Add(a.config.Clock.Now(), batch, nil)
	var large *journal.TooLargeError
	switch n := len(batch); {
	case !errors.As(err, &large):
		return err
	case n == 1:
		a.lost(err)
		a.config.Logger.Error("event lost", "error", err)
		return nil
	default:
		if err := a.addBatch(batch[:n/2]); err != nil {
			return err
		}
		return a.addBatch(batch[n/2:])
	}
}

// awaitRoom waits until the journal has room, or for the end of ctx.
func (a *Adapter) awaitRoom(ctx context.Context) {
	c := &a.config
	for said := false; ctx.Err() == nil; said = true {
		full := c.Journal.Room()
		if full == nil {
			return
		}
		if !said {
			a.count(func(s *Stats) { s.LastError = full.Error() })
			c.Logger.Warn("the program waits", "error", full)
		}
		select {
		case <-a.sent:
		case <-ctx.Done():
		}
	}
}
