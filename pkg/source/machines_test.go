// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/contract/http"
	"kontain.dev/eventing/pkg/contract/stdio"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/source"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

var attributes = source.Attributes{ID: "run", Type: "t", Source: "/s", Time: time.Unix(0, 0)}

func tick(t *testing.T) *event.Event {
	t.Helper()
	e := ce.New()
	e.SetID("run")
	e.SetType(source.RunType)
	e.SetSource("/s")
	if err := e.SetData(ce.ApplicationJSON, map[string]string{"due": "now"}); err != nil {
		t.Fatal(err)
	}
	return &e
}

func spec(program string, tier lease.Tier, args ...string) lease.Spec {
	return lease.Spec{
		Scope: "ns", Program: program, Args: args, Tier: tier, Concurrency: 1, IdleTime: time.Minute,
		Limits: vmexec.Limits{Memory: 64 << 20, Wall: 50 * time.Second},
	}
}

// newStdio is contract stdio, whose programs get the event of the run.
func newStdio(t *testing.T) contract.Contract {
	t.Helper()
	c, err := stdio.New(contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shown returns what is worth to compare of events.
func shown(events []*event.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s %s %s", e.ID(), e.DataContentType(), e.Data()))
	}
	return all
}

// What a run leaves in its state file the next one finds there, on each tier, whether
// the program comes from a snapshot or not.
func TestState(t *testing.T) {
	guest := contracttest.BuildGo(t, "testdata/guest")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			for _, snapshot := range []bool{true, false} {
				s := spec(guest, tier, "count", "early")
				s.Snapshot, s.State = snapshot, 100
				m := &source.Machines{Source: p.Source(t, s), Contract: newStdio(t), Logger: slog.New(slog.DiscardHandler)}
				var state []byte
				for n := 1; n <= 4; n++ {
					o, err := m.Run(t.Context(), tick(t), attributes, state)
					if err != nil {
						t.Fatalf("%s, snapshot %v, run %d: %v", tier, snapshot, n, err)
					}
					if want := fmt.Sprintf("run text/plain; charset=utf-8 run %d\n", n); !slices.Equal(shown(o.Events), []string{want}) || string(o.State) != fmt.Sprint(n) {
						t.Fatalf("%s, snapshot %v, run %d: %q and %q", tier, snapshot, n, shown(o.Events), o.State)
					}
					state = o.State
				}
				// The machine, or its snapshot, has nothing of it.
				if o, err := m.Run(t.Context(), tick(t), attributes, nil); err != nil || string(o.State) != "1" {
					t.Errorf("%s, snapshot %v: %q, %v", tier, snapshot, o.State, err)
				}
				if got := m.Source.Stats().Snapshot; got != snapshot {
					t.Errorf("snapshot %v, want %v", got, snapshot)
				}
			}
		}
	})
}

func TestStateLeft(t *testing.T) {
	guest := contracttest.BuildGo(t, "testdata/guest")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for how, want := range map[string]struct{ state, err string }{
			"rename": {state: "8"},
			"leave":  {state: "7"},
			"full":   {state: strings.Repeat("1", 100)},
			"remove": {state: ""},
			"large":  {err: "the program's state file /state cannot be kept: it has 101 bytes, where 100 are the most"},
			"folder": {err: "it is not a regular file"},
			"fail":   {err: "exit status 3"},
		} {
			s := spec(guest, lease.TierVM, "count", how)
			s.Snapshot, s.State = true, 100
			m := &source.Machines{Source: p.Source(t, s), Contract: newStdio(t), Logger: slog.New(slog.DiscardHandler)}
			o, err := m.Run(t.Context(), tick(t), attributes, []byte("7"))
			switch {
			case want.err == "" && (err != nil || string(o.State) != want.state):
				t.Errorf("%s: %q, %v", how, o.State, err)
			case want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err) || o.Events != nil):
				t.Errorf("%s: %v, want %q", how, err, want.err)
			}
		}
	})
}

// A program of contract http is asked with GET.
func TestPoll(t *testing.T) {
	guest := contracttest.BuildGo(t, "testdata/guest")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		h := v1alpha1.HTTPContract{Path: "/events", Port: new(int32(8080))}
		c, err := http.New(contract.Config{Spec: v1alpha1.Contract{Type: v1alpha1.ContractHTTP, HTTP: &h}, Name: "n", Namespace: "ns", MaxReply: vmexec.DefaultOutput})
		if err != nil {
			t.Fatal(err)
		}
		for _, snapshot := range []bool{true, false} {
			s := spec(guest, lease.TierVM, "http")
			s.Snapshot, s.State, s.Env = snapshot, 100, append(c.Env(), c.(contract.Teller).Told()...)
			s.Ready = c.(contract.Talker).Ready
			m := &source.Machines{Source: p.Source(t, s), Contract: c, Logger: slog.New(slog.DiscardHandler)}
			var state []byte
			for n, want := range []struct {
				events []string
				err    string
			}{
				{events: []string{"run/binary text/plain data"}},
				{},
				{events: []string{"run/1  ", "run/2  "}},
				{events: []string{"run/json  "}},
				{events: []string{"run image/png picture"}},
				{err: `the program answered status 418: "no events here"`},
				{err: "exit status 7"},
			} {
				o, err := m.Run(t.Context(), tick(t), attributes, state)
				switch {
				case want.err == "" && (err != nil || !slices.Equal(shown(o.Events), want.events) || string(o.State) != fmt.Sprint(n+1)):
					t.Fatalf("answer %d: %q, state %q, %v", n, shown(o.Events), o.State, err)
				case want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)):
					t.Errorf("answer %d: %v, want %q", n, err, want.err)
				}
				state = fmt.Append(nil, n+1)
			}
		}
	})
}

// newStreams returns a program that runs on.
func newStreams(t *testing.T, p *contracttest.Place, guest, what string) *source.Streams {
	t.Helper()
	s := spec(guest, lease.TierVM, what)
	s.Streams, s.Limits.Wall = source.StreamDescriptors(), 0
	s.Ready = func(context.Context, *talk.Side) error { return nil }
	return &source.Streams{Source: p.Source(t, s), Contract: newStdio(t), Logger: slog.New(slog.DiscardHandler)}
}

// All lines of a program that runs on come, in their order, also those that it had
// written when it ended.
func TestStream(t *testing.T) {
	guest := contracttest.BuildGo(t, "testdata/guest")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		n := 0
		err := newStreams(t, p, guest, "lines").Run(t.Context(), tick(t), func(line []byte) error {
			if want := fmt.Sprintf("%d x", n); n < 3000 && !strings.HasPrefix(string(line), want) || n == 3000 && string(line) != "the last" {
				return fmt.Errorf("line %d: %.20s", n, line)
			}
			n++
			return nil
		})
		if err != nil || n != 3001 {
			t.Errorf("%d lines, %v", n, err)
		}
	})
}

func TestStreamEnds(t *testing.T) {
	guest := contracttest.BuildGo(t, "testdata/guest")
	errTake := errors.New("nobody takes it")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for what, want := range map[string]struct {
			lines []string
			err   string
		}{
			"long":   {[]string{"short"}, "line 2 of the program's output: has more than the 1048576 bytes"},
			"half":   {[]string{"whole"}, "exit status 1; last line of stderr: guest: unexpected EOF"},
			"closes": {[]string{"only"}, "the program was stopped"},
			"asked":  {[]string{"ready", "bye"}, ""},
			"deaf":   {[]string{"ready"}, "the program was stopped"},
			"flood":  {[]string{"0", "1", "2"}, "nobody takes it"},
		} {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var lines []string
				m := newStreams(t, p, guest, what)
				if what != "asked" {
					m.LastWords = 100 * time.Millisecond // nothing is to come
				}
				err := m.Run(ctx, tick(t), func(line []byte) error {
					lines = append(lines, string(line))
					switch {
					case lines[0] == "ready":
						cancel() // the program is asked to end
					case len(lines) == 3:
						return errTake
					}
					return nil
				})
				if !slices.Equal(lines, want.lines) {
					t.Errorf("lines %.99q, want %q", lines, want.lines)
				}
				if want.err == "" && err != nil || want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)) {
					t.Errorf("%v, want %q", err, want.err)
				}
			})
		}
	})
}
