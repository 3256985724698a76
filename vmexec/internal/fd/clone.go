// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import "fmt"

// Cloner is a file that can be copied into another VM. The source is at rest and
// may be cloned by several goroutines at once: CloneFile only reads it, also not
// by way of methods that bring it up to date.
type Cloner interface {
	File
	// CloneFile returns a copy of the open file, position and status flags
	// included, that shares nothing that changes with the source; nil when the
	// file cannot be copied. The same file is never asked twice with one context.
	CloneFile(c *CloneContext) File
}

// CloneContext is one copying of a VM's kernel objects: where the copies go, and
// which object became which. Its tables are those of all processes of the VM:
// they share descriptions. Use it once.
type CloneContext struct {
	// Clock and Timers are the new VM's. The monotonic clock goes on from the moment
	// at which the source was frozen, so that deadlines are still right.
	Clock  Clock
	Timers Timers
	// Memory is the new VM's. It counts already what the source's System had
	// charged: cloning charges nothing.
	Memory Accountant
	// Overflow replaces what CaptureOutput calls at its limit.
	Overflow func()
	// Owner is for files of other packages to find what the copies belong to, for
	// instance their new file system.
	Owner any
	// System is the new VM's; the first CloneInto makes it.
	System *System

	small [8]identity // the first objects that were recorded
	n     int         // used of small
	more  map[any]any // the others
	err   error
}

// identity says what an object became.
type identity struct{ old, new any }

// Lookup returns what the object old became, or nil when nothing was recorded.
// Objects are pointers.
func (c *CloneContext) Lookup(old any) any {
	for i := range c.small[:c.n] {
		if c.small[i].old == old {
			return c.small[i].new
		}
	}
	return c.more[old]
}

// Record says that the object old became new, for objects that several others
// refer to.
func (c *CloneContext) Record(old, new any) {
	switch {
	case c.n < len(c.small):
		c.small[c.n] = identity{old, new}
		c.n++
	case c.more == nil:
		c.more = map[any]any{old: new}
	default:
		c.more[old] = new
	}
}

// Replace makes the file new, which is of the new VM already, the copy of old: for
// standard streams of the host. It gets the status flags of old. Call it before
// CloneInto.
func (c *CloneContext) Replace(old, new File) {
	new.SetStatusFlags(old.StatusFlags())
	c.Record(old, new)
}

// File returns the copy of a file; it makes one when no descriptor led to it, as
// for a standard stream that the program has closed. Nil when it cannot be copied.
func (c *CloneContext) File(old File) File {
	if f, ok := c.Lookup(old).(File); ok {
		return f
	}
	cl, ok := old.(Cloner)
	if !ok {
		return nil
	}
	f := cl.CloneFile(c)
	if f != nil {
		c.Record(old, f)
	}
	return f
}

// description returns the copy of d, which has no references yet when it is new.
func (c *CloneContext) description(d *Description) *Description {
	if n, ok := c.Lookup(d).(*Description); ok {
		return n
	}
	f := c.File(d.File)
	if f == nil {
		if c.err == nil {
			c.err = fmt.Errorf("an open file of type %T cannot be copied", d.File)
		}
		return nil
	}
	n := &Description{File: f}
	c.Record(d, n)
	return n
}

// CloneInto returns a copy of the table for the VM of c: descriptions that were
// shared are shared, and nothing that changes is shared with t. It only reads t.
// It fails when a file cannot be copied: one that is neither a Cloner nor was
// replaced; then no table of c may be used.
func (t *Table) CloneInto(c *CloneContext) (*Table, error) {
	if c.System == nil {
		s := *t.sys
		s.Memory = c.Memory
		c.System = &s
	}
	n := &Table{sys: c.System, slots: make([]slot, len(t.slots)), limit: t.limit, free: t.free}
	for i, s := range t.slots {
		if s.desc == nil {
			continue
		}
		d := c.description(s.desc)
		if d == nil {
			return nil, fmt.Errorf("clone descriptor %d: %w", i, c.err)
		}
		d.refs++
		n.slots[i] = slot{desc: d, cloexec: s.cloexec}
	}
	return n, nil
}
