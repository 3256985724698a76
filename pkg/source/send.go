// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/source/deliver"
)

// sendWaiting sends what waits. The error is that of an event that was lost, or of ctx.
func (a *Adapter) sendWaiting(ctx context.Context) error {
	for {
		more, err := a.sendOne(ctx)
		if err != nil || !more {
			return err
		}
	}
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
	kept := false // the state before
	for i, raw := range run.Events {
		e, err := event.DecodeJSON(raw)
		if err != nil {
			return false, fmt.Errorf("event %d of run %d in the journal: %w", i+1, run.Number, err)
		}
		switch err := c.Sender.Send(ctx, e); {
		case ctx.Err() != nil && err != nil:
			return false, ctx.Err()
		case err != nil:
			a.lost(err)
			c.Logger.Error("event lost", "id", e.ID(), "source", e.Source(), "type", e.Type(), "error", err)
			var refused *deliver.RefusedError
			if errors.As(err, &refused) && refused.Temporary() {
				kept = true
			}
			lost = err
		default:
			a.count(func(s *Stats) { s.Sent++; s.LastSent = c.Clock.Now() })
		}
	}
	if kept && c.State {
		// The next run begins where this one did, and may have the event again.
		run.State = c.Journal.Reached().State
	}
	if err := c.Journal.Delivered(run); err != nil {
		return false, err
	}
	signal(a.sent)
	return true, lost
}
