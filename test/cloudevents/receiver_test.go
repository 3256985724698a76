// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package cloudevents holds the receiver to the CloudEvents specification from
// outside, over HTTP: with the conformance tool of the CloudEvents project, and with
// cases of our own that the tool lacks.
package cloudevents

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/receiver"
	"kontain.dev/eventing/pkg/reply"
)

// sinks stands for the sinks of the receiver under test: it notes every event that
// is dispatched, and answers by the name of the sink.
type sinks struct {
	mu       sync.Mutex
	received []*event.Event
	replies  map[string]string // sink to the reply as JSON; "" for no reply
}

// The sink that answers with the event it was given.
const echo = "echo"

func (s *sinks) Has(namespace, name string) bool {
	_, ok := s.replies[name]
	return namespace == "ns" && (ok || name == echo)
}

func (s *sinks) Dispatch(_ context.Context, _, name string, events []*event.Event) ([]*event.Event, *reply.Failure) {
	s.mu.Lock()
	s.received = append(s.received, events...)
	s.mu.Unlock()
	if name == echo {
		return events, nil
	}
	text := s.replies[name]
	if text == "" {
		return nil, nil
	}
	var replies []*event.Event
	for range events {
		e, err := event.DecodeJSON([]byte(text))
		if err != nil {
			return nil, reply.Failf(http.StatusBadGateway, reply.BadReply, "%v", err)
		}
		replies = append(replies, e)
	}
	return replies, nil
}

// take returns the events that were dispatched since it was last called.
func (s *sinks) take() []*event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.received
	s.received = nil
	return slices.Clip(taken)
}

// start serves the sinks until the test ends, and returns the URL.
func start(t *testing.T, s *sinks) string {
	t.Helper()
	server := httptest.NewServer(receiver.New(s, receiver.Options{}))
	t.Cleanup(server.Close)
	return server.URL
}
