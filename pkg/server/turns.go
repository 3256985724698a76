// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"slices"
	"sync"
)

// turns lets a bounded number of pulls run at once. Who asks (a namespace, with its
// credentials) has at most a part of them, and those who wait get their turn one after
// the other: a namespace with a thousand sinks holds up nobody else's one.
type turns struct {
	most int // at once
	each int // of these, for one scope

	mu      sync.Mutex
	running int
	lines   map[string]*line
	next    []string // scopes somebody waits in, in the order of their turns
}

// line is one scope.
type line struct {
	running int
	waiting []chan struct{} // closed when it is their turn
}

func newTurns(most, each int) *turns {
	return &turns{most: most, each: each, lines: map[string]*line{}}
}

// take waits for a turn, which lasts until the returned function is called.
func (t *turns) take(ctx context.Context, scope string) (func(), error) {
	mine := make(chan struct{})
	t.mu.Lock()
	l := t.lines[scope]
	if l == nil {
		l = &line{}
		t.lines[scope] = l
	}
	if len(l.waiting) == 0 {
		t.next = append(t.next, scope)
	}
	l.waiting = append(l.waiting, mine)
	t.grant()
	t.mu.Unlock()
	select {
	case <-mine:
		return func() { t.give(scope) }, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(l.waiting, mine)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		t.forget(scope, l)
	}
	t.mu.Unlock()
	if i < 0 {
		t.give(scope) // it came in this moment
	}
	return nil, ctx.Err()
}

func (t *turns) give(scope string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[scope]
	l.running--
	t.running--
	t.forget(scope, l)
	t.grant()
}

// grant gives the turns that there are. t.mu is held.
func (t *turns) grant() {
	for i := 0; i < len(t.next) && t.running < t.most; {
		scope := t.next[i]
		l := t.lines[scope]
		if l.running >= t.each {
			i++
			continue
		}
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		l.running++
		t.running++
		t.next = slices.Delete(t.next, i, i+1)
		if len(l.waiting) > 0 {
			t.next = append(t.next, scope)
		}
	}
}

// forget drops a scope that nobody waits in, or nobody at all is in. t.mu is held.
func (t *turns) forget(scope string, l *line) {
	if len(l.waiting) > 0 {
		return
	}
	if i := slices.Index(t.next, scope); i >= 0 {
		t.next = slices.Delete(t.next, i, i+1)
	}
	if l.running == 0 {
		delete(t.lines, scope)
	}
}
