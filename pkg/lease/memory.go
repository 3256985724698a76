// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory bounds what all machines of a receiver may use together. Each machine
// reserves its limit before it is made: where one process is killed for want of
// memory, as in a container, all of them are.
type Memory struct {
	limit uint64 // bytes

	mu    sync.Mutex
	used  uint64
	pools []*pool // those that may hold idle machines
	short []short
}

// short is one who found no room.
type short struct {
	who  any
	wake func()
}

// NewMemory makes a Memory of limit bytes.
func NewMemory(limit uint64) *Memory { return &Memory{limit: limit} }

// MemoryStats describes a Memory.
type MemoryStats struct {
	Limit    uint64 `json:"limitBytes"`
	Reserved uint64 `json:"reservedBytes"`
}

// Stats returns what is reserved.
func (m *Memory) Stats() MemoryStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return MemoryStats{Limit: m.limit, Reserved: m.used}
}

// fits returns an error when n bytes are more than there are at all.
func (m *Memory) fits(n uint64) error {
	if n <= m.limit {
		return nil
	}
	return fmt.Errorf("its memory limit of %d MiB is more than the %d MiB that all machines may use together; lower it, or raise --memory", n>>20, m.limit>>20)
}

func (m *Memory) join(p *pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = append(m.pools, p)
}

func (m *Memory) leave(p *pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = slices.DeleteFunc(m.pools, func(x *pool) bool { return x == p })
	m.forget(p)
}

// forget ends the wait of who. m.mu is held.
func (m *Memory) forget(who any) {
	m.short = slices.DeleteFunc(m.short, func(s short) bool { return s.who == who })
}

// reserve takes n bytes. When there is no room it says false, and calls wake once
// there may be.
func (m *Memory) reserve(n uint64, who any, wake func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(who)
	if n > m.limit-m.used {
		m.short = append(m.short, short{who, wake})
		return false
	}
	m.used += n
	return true
}

// release gives n bytes back.
func (m *Memory) release(n uint64) {
	m.mu.Lock()
	m.used -= n
	waiting := m.short
	m.short = nil
	m.mu.Unlock()
	for _, s := range waiting {
		s.wake()
	}
}

// reserveUrgent is reserve for an event that waits: idle machines of other sinks
// are closed for it, first those of the sink whose last event is the longest ago.
func (m *Memory) reserveUrgent(n uint64, who any, wake func()) bool {
	for !m.reserve(n, who, wake) {
		m.mu.Lock()
		pools := slices.Clone(m.pools)
		m.mu.Unlock()
		slices.SortFunc(pools, func(a, b *pool) int { return a.lastEvent().Compare(b.lastEvent()) })
		if !slices.ContainsFunc(pools, func(p *pool) bool { return p != who && p.giveUp() }) {
			return false
		}
	}
	return true
}

// await is reserveUrgent that waits until there is room, ctx is done or the time
// has come; no time, when that is zero. The error is ErrTimeout or that of ctx.
func (m *Memory) await(ctx context.Context, n uint64, deadline time.Time) error {
	room := make(chan struct{}, 1)
	wake := func() {
		select {
		case room <- struct{}{}:
		default:
		}
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	for !m.reserveUrgent(n, room, wake) {
		var err error
		select {
		case <-room:
			continue
		case <-expired:
			err = ErrTimeout
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		m.mu.Lock()
		m.forget(room)
		m.mu.Unlock()
		return err
	}
	return nil
}
