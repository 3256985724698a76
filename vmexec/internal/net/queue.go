// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import "kontain.dev/eventing/vmexec/internal/fd"

const (
	pageSize = 4096
	// recordCost is what a message takes of a buffer besides its bytes, as on Linux
	// (struct sk_buff and its tail); it bounds the number of empty messages.
	recordCost = 768
	// recordMemory is what the host holds for a record, at the most.
	recordMemory = 256
	// socketMemory is what the host holds for a socket, at the most.
	socketMemory = 1536
)

// record is one message of a socket that keeps them apart, or what one call sent
// on a unix stream: rights and credentials are bound to their bytes.
type record struct {
	n      int // bytes that are left
	from   Addr
	to     IP // datagrams: the address it was sent to
	header header
	cred   Cred
	rights []*fd.Description // each with a reference of its own
	sender *Socket           // whose send buffer it counts in; nil: nobody's
	cost   int               // there
}

// queue is a socket's received data: bytes in a ring that grows as needed, and for
// all but TCP the records that they make up.
type queue struct {
	stack   *Stack
	buf     []byte
	start   int // oldest byte
	n       int // bytes held
	charged int // bytes charged for buf, which may be smaller in a clone
	records []record
	cost    int // sum of n and recordCost of the records
}

// grow makes the ring hold n bytes. It reports false when the VM has no memory left.
func (q *queue) grow(n int) bool {
	if n <= len(q.buf) {
		return true
	}
	size := max(len(q.buf), pageSize)
	for size < n {
		size *= 2
	}
	if more := size - q.charged; more > 0 {
		if !q.stack.charge(more) {
			return false
		}
		q.charged += more
	}
	buf := make([]byte, size)
	q.peek(0, q.n).CopyTo(buf)
	q.buf, q.start = buf, 0
	return true
}

// peek returns up to n bytes from the off-th oldest on.
func (q *queue) peek(off, n int) fd.Buffers {
	n = min(n, q.n-off)
	if n <= 0 {
		return nil
	}
	at := (q.start + off) % len(q.buf)
	end := at + n
	if end <= len(q.buf) {
		return fd.Buffers{q.buf[at:end]}
	}
	return fd.Buffers{q.buf[at:], q.buf[:end-len(q.buf)]}
}

// copyTo copies n bytes from the off-th oldest on to dst, which has room.
func (q *queue) copyTo(dst fd.Buffers, off, n int) {
	done := 0
	for _, s := range q.peek(off, n) {
		done += dst.Skip(done).CopyFrom(s)
	}
}

// put appends src, for which grow has made room.
func (q *queue) put(src fd.Buffers) {
	for _, s := range src {
		for len(s) > 0 {
			at := (q.start + q.n) % len(q.buf)
			end := len(q.buf)
			if at < q.start {
				end = q.start
			}
			k := copy(q.buf[at:end], s)
			s = s[k:]
			q.n += k
		}
	}
}

// discard drops the n oldest bytes. The memory of a long ring that is empty goes
// back: few sockets of a program are busy.
func (q *queue) discard(n int) {
	if n == 0 {
		return
	}
	q.n -= n
	q.start = (q.start + n) % len(q.buf)
	if q.n > 0 {
		return
	}
	q.start = 0
	if len(q.buf) > pageSize {
		q.buf = nil
		q.stack.uncharge(q.charged)
		q.charged = 0
	}
}

// add appends a record, whose bytes follow by put.
func (q *queue) add(r record) bool {
	if !q.stack.charge(recordMemory) {
		return false
	}
	q.records = append(q.records, r)
	q.cost += r.n + recordCost
	if r.sender != nil {
		r.sender.sent += r.cost
	}
	return true
}

// took counts n bytes of the first record as read, and drops it when done says so.
// The bytes themselves are discard's.
func (q *queue) took(n int, done bool) {
	r := &q.records[0]
	r.n -= n
	q.cost -= n
	if !done {
		return
	}
	q.cost -= recordCost + r.n
	r.credit()
	q.stack.uncharge(recordMemory)
	q.records[0] = record{}
	if q.records = q.records[1:]; len(q.records) == 0 {
		q.records = nil
	}
}

// credit gives the sender its room back.
func (r *record) credit() {
	if s := r.sender; s != nil {
		full := !s.sendable()
		s.sent -= r.cost
		if full && s.sendable() {
			s.wake(fd.Out)
		}
	}
}

// free drops everything, and returns the descriptions that were on their way: the
// caller drops them when the queue's socket is in order.
func (q *queue) free() []*fd.Description {
	var rights []*fd.Description
	for i := range q.records {
		r := &q.records[i]
		rights = append(rights, r.rights...)
		r.credit()
		q.stack.uncharge(recordMemory)
	}
	q.stack.uncharge(q.charged)
	*q = queue{stack: q.stack}
	return rights
}
