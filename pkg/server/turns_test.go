// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kontain.dev/eventing/pkg/image"
)

// waiter asks for a turn and tells, on got, when it has one.
type waiter struct {
	name   string
	cancel context.CancelFunc
	give   func()
}

// queueUp has somebody wait, and returns when that one is in the line.
func queueUp(t *testing.T, u *turns, got chan<- *waiter, name, scope string) *waiter {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &waiter{name: name, cancel: cancel}
	u.mu.Lock()
	before := queued(u)
	u.mu.Unlock()
	go func() {
		give, err := u.take(ctx, scope)
		if err != nil {
			return
		}
		w.give = give
		got <- w
	}()
	await(t, name+" waits", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return queued(u) > before
	})
	return w
}

// queued counts who waits or runs. u.mu is held.
func queued(u *turns) int {
	n := u.running
	for _, l := range u.lines {
		n += len(l.waiting)
	}
	return n
}

// TestTurnsAreFair holds that scopes get turns one after the other, whatever one of them
// asks for, and that no scope has more than its part.
func TestTurnsAreFair(t *testing.T) {
	u := newTurns(2, 1)
	got := make(chan *waiter)
	queueUp(t, u, got, "a1", "a")
	running := map[string]*waiter{"a1": <-got}
	for _, name := range []string{"a2", "a3", "a4"} {
		queueUp(t, u, got, name, "a")
	}
	// There is room, but a has its part; b comes in at once.
	queueUp(t, u, got, "b1", "b")
	running["b1"] = <-got
	queueUp(t, u, got, "b2", "b")
	queueUp(t, u, got, "c1", "c")
	var order []string
	next := func(done string) {
		running[done].give()
		delete(running, done)
		w := <-got
		running[w.name] = w
		order = append(order, w.name)
	}
	next("a1") // a waits longest
	next("b1")
	next("b2")
	next("a2")
	if want := []string{"a2", "b2", "c1", "a3"}; !slices.Equal(order, want) {
		t.Errorf("turns %v, want %v", order, want)
	}
}

// TestTurnsGivenUp holds that who goes away leaves nothing behind.
func TestTurnsGivenUp(t *testing.T) {
	u := newTurns(1, 1)
	got := make(chan *waiter)
	queueUp(t, u, got, "first", "a")
	first := <-got
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.take(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("a turn for who does not wait: %v", err)
	}
	first.give()
	if u.running != 0 || len(u.lines) != 0 || len(u.next) != 0 {
		t.Errorf("left: %+v", u)
	}
}

// TestTurnsMany holds the bounds while many come and go.
func TestTurnsMany(t *testing.T) {
	const most, each = 4, 2
	u := newTurns(most, each)
	var mu sync.Mutex
	now, of := 0, map[string]int{}
	var all sync.WaitGroup
	for i := range 400 {
		scope := string(rune('a' + i%7))
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if rand.IntN(4) == 0 {
				go cancel()
			}
			give, err := u.take(ctx, scope)
			if err != nil {
				return
			}
			mu.Lock()
			now++
			of[scope]++
			if now > most || of[scope] > each {
				t.Errorf("%d at once, %d of %s", now, of[scope], scope)
			}
			mu.Unlock()
			mu.Lock()
			now--
			of[scope]--
			mu.Unlock()
			give()
		})
	}
	all.Wait()
	if u.running != 0 || len(u.lines) != 0 || len(u.next) != 0 {
		t.Errorf("left: %+v", u)
	}
}

// TestSteady holds that what differs from one attempt to the next is not told.
func TestSteady(t *testing.T) {
	for in, want := range map[string]string{
		"Get \"https://r/v2/\": dial tcp 10.0.0.1:443: connect: connection refused":      "Get \"https://r/v2/\": dial tcp 10.0.0.1:443: connect: connection refused",
		"read tcp 10.88.0.5:41234->10.0.0.1:443: read: connection reset by peer":         "read tcp 10.0.0.1:443: read: connection reset by peer",
		"lookup r on 10.96.0.10:53: read udp [fd00::5]:40000->[fd00::a]:53: i/o timeout": "lookup r on 10.96.0.10:53: read udp [fd00::a]:53: i/o timeout",
		"a -> b": "a -> b",
	} {
		if got := steady(errors.New(in)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPullsInTurn holds that images that must be pulled wait for one another, and that
// one that is there waits for none.
func TestPullsInTurn(t *testing.T) {
	const sinks = 3 * eachPulls
	var pulling, most atomic.Int32
	release := make(chan struct{})
	store := &fakeImages{get: func(r image.Request) (*image.Image, error) {
		if strings.Contains(r.Ref, "cached") {
			return testImage(t, "sha256:cached"), nil
		}
		if r.Policy == image.Never {
			return nil, image.ErrNotCached
		}
		n := pulling.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		pulling.Add(-1)
		return testImage(t, "sha256:"+r.Ref), nil
	}}
	dir := t.TempDir()
	for i := range sinks {
		write(t, filepath.Join(dir, fmt.Sprintf("s%d.yaml", i)), imageYAML(fmt.Sprintf("s%d", i), fmt.Sprintf("example.com/app:%d", i), ""))
	}
	write(t, filepath.Join(dir, "z.yaml"), imageYAML("cached", "example.com/cached:1", ""))
	r := start(t, Config{Paths: []string{dir}, Images: store, Source: answerSpec})
	defer r.end()
	await(t, "pulls", func() bool { return pulling.Load() == eachPulls })
	await(t, "the image that is there", func() bool { status, _ := r.post("/ns/cached"); return status == 200 })
	close(release)
	for i := range sinks {
		await(t, "an image", func() bool { status, _ := r.post(fmt.Sprintf("/ns/s%d", i)); return status == 200 })
	}
	if n := most.Load(); n != eachPulls {
		t.Errorf("%d pulls of one namespace at once, want %d", n, eachPulls)
	}
}
