// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"fmt"
	"slices"

	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Cloner is a file that can be copied into another VM. The source is at rest and
// may be cloned by several goroutines at once: CloneFile only reads it, also not
// by way of methods that bring it up to date.
type Cloner interface {
	File
	// CloneFile returns a copy of the open file, position and status flags
	// included, that shares nothing that changes with the source; nil when the
	// file cannot be copied. A table asks each file once.
	CloneFile(c *CloneContext) File
}

// CloneContext is one copying of a VM's kernel objects: where the copies go, and
// which object became which. Its tables are those of all processes of the VM:
// they share descriptions. Use it once.
type CloneContext struct {
	// Clock and Timers are the new VM's. The monotonic clock goes on from the moment
	// at which the source was frozen, so that deadlines are still right. Both are
	// used while the copies are made.
	Clock  Clock
	Timers Timers
	// Memory is the new VM's. It counts already what the source's System had
	// charged: cloning charges nothing.
	Memory Accountant
	// Overflow is what copies of a CaptureOutput call at their limit.
	Overflow func()
	// Owner is for files of other packages to find what the copies belong to, for
	// instance their new file system.
	Owner any
	// System is the new VM's; the first CloneInto makes it.
	System *System

	first    []identity  // the first objects that were recorded
	more     map[any]any // those beyond maxFirst
	replaced []File      // the new ones of Replace

	// Of Description.
	messages bool // it was called
	failed   error

	// Not filled in yet: epoll sets of the source, and watched descriptions.
	sets    []*Epoll
	watched []*Description
}

// identity says what an object became.
type identity struct{ old, new any }

// maxFirst is how many objects are searched one by one, which for so few is faster
// than a map.
const maxFirst = 32

// Lookup returns what the object old became, or nil when nothing was recorded.
// Objects are pointers.
func (c *CloneContext) Lookup(old any) any {
	for i := range c.first {
		if c.first[i].old == old {
			return c.first[i].new
		}
	}
	return c.more[old]
}

// Record says that the object old became new, for objects that several others
// refer to. The files of this package that need it record themselves.
func (c *CloneContext) Record(old, new any) {
	switch {
	case len(c.first) < maxFirst:
		c.first = append(c.first, identity{old, new})
	case c.more == nil:
		c.more = map[any]any{old: new}
	default:
		c.more[old] = new
	}
}

// Replace makes the file new, which belongs to the new VM already, the copy of
// old: so standard streams of the host are given to a clone. It gets the status
// flags of old. Call it before CloneInto.
func (c *CloneContext) Replace(old, new File) {
	new.SetStatusFlags(old.StatusFlags())
	c.Record(old, new)
	c.replaced = append(c.replaced, new)
}

// File returns the copy of a standard stream that was replaced or is an
// EventInput or a CaptureOutput, and makes it when no descriptor led there: the
// program may have closed it. Call it after CloneInto. Nil when old is of
// another kind.
func (c *CloneContext) File(old File) File {
	if f, ok := c.Lookup(old).(File); ok {
		return f
	}
	switch old := old.(type) {
	case *EventInput:
		return old.CloneFile(c)
	case *CaptureOutput:
		return old.CloneFile(c)
	}
	return nil
}

// Description returns the copy of a description that a file holds, for instance one
// on its way from one process to another. The caller takes its own reference. When
// the file cannot be copied it is nil, and CloneInto fails.
func (c *CloneContext) Description(d *Description) *Description {
	if n, ok := c.Lookup(d).(*Description); ok {
		return n
	}
	c.messages = true
	var none []Description
	n, err := c.description(d, &none)
	if err != nil {
		c.failed = fmt.Errorf("clone a descriptor in a message: %w", err)
		return nil
	}
	if c.Lookup(d) == nil {
		c.Record(d, n)
	}
	return n
}

// description returns the copy of d, which has no references yet when it is new.
func (c *CloneContext) description(d *Description, spare *[]Description) (*Description, error) {
	shared := d.refs > 1 || d.items != nil
	if shared {
		if n, ok := c.Lookup(d).(*Description); ok {
			return n, nil
		}
	}
	f, replaced := c.Lookup(d.File).(File)
	if !replaced {
		if cl, ok := d.File.(Cloner); ok {
			f = cl.CloneFile(c)
		}
		if f == nil {
			return nil, fmt.Errorf("an open file of type %T cannot be copied", d.File)
		}
		if c.messages { // a file may hold, by way of others, its own description
			if n, ok := c.Lookup(d).(*Description); ok {
				return n, nil
			}
		}
	}
	var n *Description
	if len(*spare) > 0 {
		n, *spare = &(*spare)[0], (*spare)[1:]
	} else {
		n = &Description{}
	}
	n.File = f
	if shared {
		c.Record(d, n)
	}
	if d.items != nil {
		c.watched = append(c.watched, d)
	}
	return n, nil
}

// CloneInto returns a copy of the table for the VM of c: descriptions that were
// shared are shared, and nothing that changes is shared with t. It only reads t.
// It fails when a file cannot be copied: one that is no Cloner and was not
// replaced; then nothing of c may be used.
func (t *Table) CloneInto(c *CloneContext) (*Table, error) {
	if c.System == nil {
		s := *t.sys
		s.Memory = c.Memory
		c.System = &s
	}
	n := &Table{sys: c.System, num: t.num, slots: make([]slot, len(t.slots)), limit: t.limit, free: t.free}
	open := 0
	for i := range t.slots {
		if t.slots[i].desc != nil {
			open++
		}
	}
	c.first = slices.Grow(c.first, min(open, maxFirst-len(c.first)))
	spare := make([]Description, open)
	for i, s := range t.slots {
		if s.desc == nil {
			continue
		}
		d, err := c.description(s.desc, &spare)
		if err != nil {
			return nil, fmt.Errorf("clone descriptor %d: %w", i, err)
		}
		d.refs++
		n.slots[i] = slot{desc: d, cloexec: s.cloexec}
	}
	if err := c.watch(); err != nil {
		return nil, err
	}
	return n, nil
}

// watch fills in the epoll sets that were copied. Every item has the same place in
// its set, in the queue of its file and in the ready list as its source, so that
// the copy reports the same events in the same order, edges included.
func (c *CloneContext) watch() error {
	// A set may watch what only a table that comes later has open, and the other
	// way round: both lists grow meanwhile.
	var none []Description
	for i, j := 0, 0; i < len(c.sets) || j < len(c.watched); {
		if i < len(c.sets) {
			for _, it := range c.sets[i].items {
				if _, err := c.description(it.key.desc, &none); err != nil {
					return fmt.Errorf("clone an epoll set: %w", err)
				}
			}
			i++
			continue
		}
		for it := c.watched[j].items; it != nil; it = it.descNext {
			if c.Lookup(it.ep) == nil {
				it.ep.CloneFile(c)
			}
		}
		j++
	}
	for _, d := range c.watched {
		if err := c.attach(d); err != nil {
			return err
		}
	}
	for _, e := range c.sets {
		n := c.Lookup(e).(*Epoll)
		for it := e.ready.next; it != &e.ready; it = it.next {
			n.items[it.at].link()
		}
	}
	if len(c.replaced) > 0 {
		c.recheck()
	}
	c.sets, c.watched = nil, nil
	return c.failed
}

// attach puts the copies of the items that watch d on the queue of its copy.
func (c *CloneContext) attach(d *Description) error {
	n := c.Lookup(d).(*Description)
	q := n.Queue()
	if q == nil {
		return fmt.Errorf("a file of type %T replaces one of type %T that is in an epoll set, which it cannot be", n.File, d.File)
	}
	d.Queue().Each(func(w waitq.Waiter) {
		it, ok := w.(*epollItem)
		if !ok || it.key.desc != d {
			return
		}
		e := c.Lookup(it.ep).(*Epoll)
		m := e.items[it.at]
		m.key = epollKey{n, it.key.fd}
		m.join(n)
		q.Insert(&m.entry, m)
	})
	if inner, ok := n.File.(*Epoll); ok {
		inner.desc = n
	}
	return nil
}

// recheck looks at the items whose file was replaced: what is ready now is news.
func (c *CloneContext) recheck() {
	for _, e := range c.sets {
		for _, it := range c.Lookup(e).(*Epoll).items {
			if slices.Contains(c.replaced, it.key.desc.File) {
				it.check()
			}
		}
	}
}
