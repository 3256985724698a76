// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
)

// MaxEvents is the most events of one run.
const MaxEvents = 10_000

// Attributes are those of the event that output becomes which is not an event itself.
type Attributes struct {
	ID     string
	Type   string
	Source string
	Time   time.Time
	// ContentType is that of the data; empty: it is found out.
	ContentType string
}

// An OutputError says why what a program wrote is not taken. Nothing of it is sent.
type OutputError struct {
	Line int // from 1; 0: it is the whole
	Err  error
}

func (e *OutputError) Error() string {
	if e.Line == 0 {
		return "the program's output: " + e.Err.Error()
	}
	return fmt.Sprintf("line %d of the program's output: %v", e.Line, e.Err)
}

func (e *OutputError) Unwrap() error { return e.Err }

// Output returns the events in what a program wrote to its standard output:
//
//   - nothing, but perhaps white space: none
//   - a CloudEvent in the JSON format: that one
//   - a JSON array of them: those
//   - lines that are one or the other: those. The first line decides; if it is one, all
//     that are not empty must be
//   - anything else: one event with it as its data, and the attributes of a
//
// Each error is an *OutputError.
func Output(b []byte, a Attributes) ([]*event.Event, error) {
	whole := bytes.TrimSpace(b)
	if len(whole) == 0 {
		return nil, nil
	}
	if events, ok, err := decode(whole, MaxEvents); ok {
		if err != nil {
			return nil, &OutputError{Err: err}
		}
		return events, nil
	}
	var events []*event.Event
	number := 0
	for line := range bytes.Lines(b) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		more, ok, err := decode(line, MaxEvents-len(events))
		switch {
		case err != nil:
			return nil, &OutputError{number, err}
		case ok:
			events = append(events, more...)
		case events == nil:
			return data(b, a)
		default:
			return nil, &OutputError{number, fmt.Errorf("is neither a CloudEvent in the JSON format nor an array of them, as the lines before it are: %q", clip(line))}
		}
	}
	return events, nil
}

// decode reads one event, or an array of them. ok says whether b means to be that.
func decode(b []byte, most int) (events []*event.Event, ok bool, err error) {
	switch {
	case event.IsEventJSON(b):
		if most < 1 {
			return nil, true, tooMany()
		}
		e, err := event.DecodeJSON(b)
		return []*event.Event{e}, true, err
	case isArrayOfEvents(b):
		events, err := event.DecodeBatch(b, most)
		return events, true, err
	case isCut(b):
		return nil, true, errCut
	}
	return nil, false, nil
}

var errCut = errors.New("is a part of a CloudEvent: its JSON has no end, or is not valid")

// isCut says whether b begins as an event does, or an array of them, and is no valid JSON.
func isCut(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	var open []json.Delim // what is not closed yet
	key, found := false, false
	for {
		token, err := d.Token()
		if err != nil {
			return found
		}
		delim, is := token.(json.Delim)
		switch {
		case is && (delim == '{' || delim == '['):
			open = append(open, delim)
			key = delim == '{'
			continue
		case is:
			open = open[:len(open)-1]
		case key && token == "specversion" && (len(open) == 1 || len(open) == 2 && open[0] == '['):
			found = true
		}
		if len(open) == 0 {
			return false // whatever comes behind
		}
		// A name and its value take turns.
		key = open[len(open)-1] == '{' && (is || !key)
	}
}

func tooMany() error {
	return fmt.Errorf("has more than %d events; a run may have so many", MaxEvents)
}

// isArrayOfEvents says whether b is a JSON array whose first element is an event, or
// that has none.
func isArrayOfEvents(b []byte) bool {
	if b[0] != '[' || !json.Valid(b) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil || !d.More() {
		return err == nil
	}
	var first json.RawMessage
	return d.Decode(&first) == nil && event.IsEventJSON(first)
}

// data makes an event of output.
func data(b []byte, a Attributes) ([]*event.Event, error) {
	e := ce.New()
	e.SetID(a.ID)
	e.SetType(a.Type)
	e.SetSource(a.Source)
	e.SetTime(a.Time)
	contract.SetData(&e, a.ContentType, b)
	if err := e.Validate(); err != nil {
		return nil, &OutputError{Err: err}
	}
	return []*event.Event{&e}, nil
}

// clip keeps what a program wrote short enough for a message.
func clip(b []byte) []byte {
	const most = 80
	return b[:min(len(b), most)]
}
