// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package dispatcher

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"sync"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/pkg/reply"
)

// generation is one version of a sink. It is freed with its last reference: the
// sink holds one while the generation is current, and each event holds one.
type generation struct {
	spec     Sink
	contract contract.Contract
	source   lease.Source
	closed   func() // called once, when refs reaches 0

	mu   sync.Mutex
	refs int
}

func (g *generation) ref() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refs++
}

func (g *generation) release() {
	g.mu.Lock()
	g.refs--
	last := g.refs == 0
	g.mu.Unlock()
	if last {
		g.closed()
	}
}

// sink is what stays while generations come and go: the queue, so that a new
// generation does not double what runs at once, and the counters.
type sink struct {
	key   string
	queue *queue.Queue

	mu       sync.Mutex
	current  *generation // nil until one could be made
	number   uint64      // of current
	err      error       // why the newest generation does not serve
	active   int         // events and machines that may still need current
	removed  bool
	accepted uint64
	replied  uint64
	failed   map[reply.Reason]uint64
	cost     Cost
}

// serves says whether the sink already is what spec asks for.
func (s *sink) serves(spec Sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || !reflect.DeepEqual(s.current.spec, spec) {
		return false
	}
	s.err = nil
	return true
}

// awake says whether what serves holds machines, or what they are made from: there
// were events lately.
func (s *sink) awake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil && !s.current.source.Stats().Asleep
}

// fail notes why a new generation could not be made and says whether another
// one serves.
func (s *sink) fail(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	return s.current != nil
}

// swap makes g current and returns its number.
func (s *sink) swap(g *generation) uint64 {
	s.mu.Lock()
	old := s.current
	s.current, s.err = g, nil
	s.number++
	number := s.number
	s.mu.Unlock()
	s.queue.Configure(g.spec.Queue)
	if old != nil {
		old.release()
	}
	return number
}

func (s *sink) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active++
}

func (s *sink) leave() {
	s.mu.Lock()
	s.active--
	g := s.drained()
	s.mu.Unlock()
	if g != nil {
		g.release()
	}
}

// remove frees the sink as soon as nothing needs it. No event may enter
// afterwards.
func (s *sink) remove() {
	s.mu.Lock()
	s.removed = true
	g := s.drained()
	s.mu.Unlock()
	if g != nil {
		g.release()
	}
}

// drained takes the current generation from a sink that is removed and idle.
// s.mu is held.
func (s *sink) drained() *generation {
	if !s.removed || s.active > 0 {
		return nil
	}
	g := s.current
	s.current = nil
	return g
}

// notReady returns a failure while nothing serves.
func (s *sink) notReady() *reply.Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.current != nil:
		return nil
	case s.err != nil:
		return reply.Failf(http.StatusServiceUnavailable, reply.NotReady, "sink %s is not ready: %v", s.key, s.err)
	}
	return reply.Failf(http.StatusServiceUnavailable, reply.NotReady, "sink %s is not ready yet", s.key)
}

// acquire returns the current generation, which an active event can rely on to
// exist. The caller releases it.
func (s *sink) acquire() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.ref()
	return s.current
}

func (s *sink) concurrency() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return 1
	}
	return max(1, s.current.spec.Queue.Concurrency)
}

func (s *sink) queueFailure(ctx context.Context, err error) *reply.Failure {
	var full *queue.FullError
	switch {
	case errors.As(err, &full):
		f := reply.Failf(http.StatusTooManyRequests, reply.QueueFull, "sink %s: %v", s.key, full)
		f.RetryAfter = full.RetryAfter
		return f
	case errors.Is(err, queue.ErrTimeout), errors.Is(err, lease.ErrTimeout):
		// Not 429: the event had its place; it is the machines that did not
		// keep up.
		f := reply.Failf(http.StatusServiceUnavailable, reply.QueueTimeout, "sink %s: %v", s.key, err)
		f.RetryAfter = s.queue.RetryAfter()
		return f
	}
	return gone(ctx)
}

func (s *sink) count(o reply.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Failure != nil {
		s.failed[o.Failure.Reason]++
		return
	}
	s.accepted++
	if o.Event != nil {
		s.replied++
	}
}

func (s *sink) stats() Stats {
	q := s.queue.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Sink:     s.key,
		Accepted: s.accepted,
		Replied:  s.replied,
		Failed:   maps.Clone(s.failed),
		Queue:    q,
		Cost:     s.cost.clone(),
	}
	if s.current != nil {
		st.Generation = s.number
		m := s.current.source.Stats()
		st.Machines = &m
		st.Image, st.Digest = s.current.spec.Image, s.current.spec.ImageDigest
	}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	return st
}
