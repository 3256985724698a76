// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package schedule says when the runs of a source are due.
//
// A time of day that the clocks skip in spring is due at the moment they go
// forward; one that they repeat in autumn is due the first time. A schedule whose
// hour is * goes by the time that passes, as an interval does: it is neither held
// up nor doubled by a change of the clocks. This is what cron(8) of Debian does.
package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when runs are due.
type Schedule interface {
	// Next returns the first due time after t, or the zero time when there is none.
	Next(t time.Time) time.Time
}

// MaxCron is the most bytes of a cron expression.
const MaxCron = 256

// parser takes five fields, or six with seconds before them, and @daily and the like.
var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Cron reads a cron expression of five fields, or of six with seconds in front, to be
// understood in a time zone of the IANA database; an empty one is UTC. The error says
// what is wrong with it.
func Cron(expression, zone string) (Schedule, error) {
	text := strings.TrimSpace(expression)
	switch {
	case text == "":
		return nil, errors.New("is empty")
	case len(text) > MaxCron:
		return nil, fmt.Errorf("has %d bytes; at most %d are taken", len(text), MaxCron)
	case strings.Contains(strings.ToUpper(text), "TZ="):
		return nil, errors.New("may not name a time zone; the field timeZone is for that")
	case strings.HasPrefix(text, "@every"):
		return nil, errors.New("may not be @every; the field interval is for that")
	}
	loc, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("is no cron expression: %w", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("is no cron expression of five or six fields: %q", text)
	}
	var s Schedule
	if everyHour(text) {
		spec.Location = loc
		s = spec
	} else {
		spec.Location = time.UTC
		s = &daily{spec, loc}
	}
	if s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("never comes: %q names a day that no month has", text)
	}
	return s, nil
}

// Zone returns a time zone by its name in the IANA database; an empty one is UTC.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if name == "Local" {
		return nil, errors.New("the time zone Local is another one on each machine; name it, such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q; names are such as Europe/Berlin or UTC", name)
	}
	return loc, nil
}

// everyHour says whether an expression that was parsed has a * for its hour.
func everyHour(text string) bool {
	fields := strings.Fields(text)
	if len(fields) < 5 {
		return text == "@hourly"
	}
	hour := fields[len(fields)-4]
	return hour == "*" || hour == "?"
}

// daily is a schedule by the hours that clocks show.
type daily struct {
	spec cron.Schedule // in UTC, which stands for what the clocks show
	loc  *time.Location
}

func (d *daily) Next(t time.Time) time.Time {
	for shown := asUTC(t.In(d.loc)); ; {
		if shown = d.spec.Next(shown); shown.IsZero() {
			return shown
		}
		// What clocks show twice is due once, and may be over.
		if at := when(shown, d.loc); at.After(t) {
			return at
		}
	}
}

// asUTC returns the time at which clocks in UTC show what those of t's zone do at t.
func asUTC(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// when returns the first moment at which the clocks of loc show what those in UTC do
// at shown. If they never do, it is the moment at which they go forward past it.
func when(shown time.Time, loc *time.Location) time.Time {
	near := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), shown.Second(), shown.Nanosecond(), loc)
	begin, end := near.ZoneBounds()
	for _, change := range []time.Time{begin, end} {
		if change.IsZero() {
			continue
		}
		_, before := change.Add(-1).Zone()
		_, after := change.Zone()
		from, to := asUTC(change), asUTC(change) // what clocks show: when they change, and then
		from = from.Add(time.Duration(before-after) * time.Second)
		switch {
		case before < after && !shown.Before(from) && shown.Before(to): // skipped
			return change
		case before > after && !shown.Before(to) && shown.Before(from): // shown twice
			return change.Add(shown.Sub(from))
		}
	}
	return near
}

// interval is due at an anchor and in equal steps from it.
type interval struct {
	anchor time.Time
	step   time.Duration
}

// Every is due in steps from anchor, which is itself the first. step is more than 0.
func Every(anchor time.Time, step time.Duration) Schedule {
	return &interval{anchor.Round(0), step}
}

func (i *interval) Next(t time.Time) time.Time {
	passed := t.Sub(i.anchor)
	if passed < 0 {
		return i.anchor
	}
	return i.anchor.Add((passed/i.step + 1) * i.step)
}

// Once is due at one time alone.
func Once(at time.Time) Schedule { return once(at) }

type once time.Time

func (o once) Next(t time.Time) time.Time {
	if at := time.Time(o); at.After(t) {
		return at
	}
	return time.Time{}
}

// lookBack is how far back missed runs are counted, if no deadline is nearer.
const lookBack = 24 * time.Hour

// Due says what of s is due at now, when all up to last was dealt with: the latest time
// that is no more than deadline ago (0: than a day), and how many were missed before
// it. run is the zero time when there is none. After a time without anyone to ask, one
// run makes good for all that were missed; a clock that goes back makes none due twice.
func Due(s Schedule, last, now time.Time, deadline time.Duration) (run time.Time, missed int) {
	if deadline <= 0 || deadline > lookBack {
		deadline = lookBack
	}
	from := last
	if oldest := now.Add(-deadline).Add(-1); from.Before(oldest) {
		if at := s.Next(from); !at.IsZero() && !at.After(oldest) {
			missed++ // and perhaps more, which nobody counts
		}
		from = oldest
	}
	for at := s.Next(from); !at.IsZero() && !at.After(now); at = s.Next(at) {
		if !run.IsZero() {
			missed++
		}
		run = at
	}
	return run, missed
}
