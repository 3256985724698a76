// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"encoding/binary"
	"math"
	"testing"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func le64(v uint64) string { return string(binary.LittleEndian.AppendUint64(nil, v)) }

func TestEventFD(t *testing.T) {
	e := NewEventFD(&System{}, 0, false, 0)
	wantReady(t, e, Out)
	wantRead(t, e, 8, "", abi.EAGAIN)
	wantRead(t, e, 7, "", abi.EINVAL)
	var w wakes
	e.Queue().Add(&w)
	wantWrite(t, e, le64(3), 8, abi.OK)
	wantWrite(t, e, le64(4)+"more", 8, abi.OK)
	wantWrite(t, e, "short", 0, abi.EINVAL)
	wantReady(t, e, In|Out)
	if n, errno := e.Read(bufs("123", "45678"), CurrentOffset); n != 8 || errno != abi.OK {
		t.Errorf("Read into two buffers = %d, %v", n, errno)
	}
	wantReady(t, e, Out)
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	wantWrite(t, e, le64(math.MaxUint64), 0, abi.EINVAL)
	wantWrite(t, e, le64(eventMax), 8, abi.OK)
	wantReady(t, e, In)
	wantWrite(t, e, le64(1), 0, abi.EAGAIN)
	wantWrite(t, e, le64(0), 8, abi.OK)
	wantRead(t, e, 8, le64(eventMax), abi.OK)
}

func TestEventFDSemaphore(t *testing.T) {
	e := NewEventFD(&System{}, 2, true, 0)
	wantRead(t, e, 8, le64(1), abi.OK)
	wantRead(t, e, 20, le64(1), abi.OK)
	wantRead(t, e, 8, "", abi.EAGAIN)
}

// manual is a clock and its timers, moved by the test.
type manual struct {
	mono, real int64
	timers     map[int]func()
	at         map[int]int64
	n          int
}

func newManual() *manual {
	return &manual{mono: 1000, real: 5_000_000, timers: map[int]func(){}, at: map[int]int64{}}
}

func (m *manual) Monotonic() int64 { return m.mono }
func (m *manual) Realtime() int64  { return m.real }

func (m *manual) After(deadline int64, f func()) func() {
	m.n++
	id := m.n
	m.timers[id], m.at[id] = f, deadline
	return func() { delete(m.timers, id) }
}

// pass moves both clocks and fires what is due.
func (m *manual) pass(d int64) {
	m.mono += d
	m.real += d
	for id, f := range m.timers {
		if m.at[id] <= m.mono {
			delete(m.timers, id)
			f()
		}
	}
}

func TestTimerFD(t *testing.T) {
	m := newManual()
	f := NewTimerFD(&System{}, m, m, false, 0)
	if got := f.Get(); got != (Setting{}) {
		t.Errorf("Get of a new timer = %+v", got)
	}
	wantRead(t, f, 8, "", abi.EAGAIN)
	wantRead(t, f, 7, "", abi.EINVAL)
	f.Set(Setting{Value: 100, Interval: 10}, false)
	var w wakes
	f.Queue().Add(&w)
	m.pass(40)
	if got := f.Get(); got != (Setting{60, 10}) {
		t.Errorf("Get = %+v", got)
	}
	wantReady(t, f, 0)
	m.pass(60)
	wantReady(t, f, In)
	if w != 1 || len(m.timers) != 0 {
		t.Errorf("woken %d times, %d timers armed although nobody reads", w, len(m.timers))
	}
	m.pass(25)
	wantRead(t, f, 8, le64(3), abi.OK)
	if got := f.Get(); got != (Setting{5, 10}) {
		t.Errorf("Get = %+v", got)
	}
	f.Queue().Add(&w)
	m.pass(5)
	if w != 2 {
		t.Errorf("woken %d times", w)
	}
	if old := f.Set(Setting{}, false); old != (Setting{10, 10}) {
		t.Errorf("Set returned %+v", old)
	}
	m.pass(1000)
	wantRead(t, f, 8, "", abi.EAGAIN)
	f.Set(Setting{Value: 7}, false)
	m.pass(6)
	wantReady(t, f, 0)
	m.pass(1)
	m.pass(100)
	wantRead(t, f, 8, le64(1), abi.OK)
	f.Set(Setting{Value: 5}, false)
	f.Release()
	if len(m.timers) != 0 {
		t.Error("a released timer is armed")
	}
}

func TestTimerFDAbsolute(t *testing.T) {
	m := newManual()
	f := NewTimerFD(&System{}, m, m, true, 0)
	f.Set(Setting{Value: m.real + 50}, true)
	m.mono += 50 // the clocks disagree: the timer of the loop comes early
	m.pass(0)
	wantReady(t, f, 0)
	m.pass(50)
	wantReady(t, f, In)
	var w wakes
	f.Queue().Add(&w)
	f.Set(Setting{Value: 1, Interval: 1_000_000}, true) // long past
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	wantRead(t, f, 8, le64(uint64(m.real/1_000_000+1)), abi.OK)
	for _, s := range []Setting{{math.MaxInt64, math.MaxInt64}, {1, math.MaxInt64}} {
		f.Set(s, false)
		m.pass(10)
		f.Get()
		f.Set(s, true)
		f.Get()
	}
	f.Release()
}
