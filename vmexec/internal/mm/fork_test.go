// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// family is the oracle of several address spaces: they fork, change, and end, each with
// a model of its own, in which shared memory is shared.
type family struct {
	t       testing.TB
	ops     []byte
	live    []*oracle
	control uint64 // leaf table of the control area
}

const maxFamily = 6

func newFamily(t testing.TB, limit uint64, ops []byte) *family {
	first := newOracle(t, limit, nil)
	first.shares = true
	return &family{t: t, ops: ops, live: []*oracle{first}, control: first.m.s.control}
}

// step does one operation in one of the address spaces.
func (f *family) step() {
	n := int(f.ops[0]) % len(f.live)
	what := 0
	if f.ops = f.ops[1:]; len(f.ops) > 0 {
		what, f.ops = int(f.ops[0])%16, f.ops[1:]
	}
	o := f.live[n]
	switch {
	case what == 0 && len(f.live) < maxFamily:
		f.fork(o)
	case what == 1 && len(f.live) > 1:
		o.log("end")
		o.m.Release()
		f.live = append(f.live[:n:n], f.live[n+1:]...)
	default:
		o.ops = f.ops
		o.step()
		f.ops, o.ops = o.ops, nil
	}
}

func (f *family) fork(o *oracle) {
	o.log("fork")
	m, errno := o.m.Fork()
	if errno != 0 {
		return
	}
	c := *o
	c.m, c.model, c.trace, c.sources = m, map[uint64]*modelPage{}, append([]string{"forked"}, o.trace...), nil
	for va, p := range o.model {
		q := *p
		q.data = bytes.Clone(p.data)
		c.model[va] = &q
	}
	f.live = append(f.live, &c)
}

// check compares all address spaces with their models, and the pages' holders with the
// entries that hold them.
func (f *family) check() {
	held := map[Source]bool{}
	entries := map[uint64]uint32{} // of private pages
	borrowed := map[uint64]bool{}  // pages of shared memory
	tables := map[uint64]bool{f.control: true}
	s := f.live[0].m.s
	for _, o := range f.live {
		o.checkMappings(held)
		var walk func(gpa, va uint64, shift int)
		walk = func(gpa, va uint64, shift int) {
			if gpa == f.control {
				return
			}
			if tables[gpa] {
				o.errorf("table %#x is used twice", gpa)
			}
			tables[gpa] = true
			for i, e := range o.mem.Words(gpa) {
				at, page := va+uint64(i)<<shift, e&x86.PTEAddr
				if e == 0 {
					continue
				}
				if shift > 12 {
					walk(page, at, shift-9)
					continue
				}
				p := o.model[at]
				switch {
				case p == nil:
					o.errorf("entry %#x for %#x, where nothing is mapped", e, at)
				case p.obj != nil:
					borrowed[page] = true
					if e&^x86.PTEAddr != leafFlags(p.prot) || p.obj.o.pages[p.off/pageSize] != page {
						o.errorf("entry %#x for %#x, shared memory with page %#x", e, at, p.obj.o.pages[p.off/pageSize])
					}
				default:
					entries[page]++
					// A page that nobody shares any more is made writable when it is written.
					flags, want := e&^x86.PTEAddr, leafFlags(p.prot)
					if flags != want && flags != want&^x86.PTEWrite || s.held(page) && e&x86.PTEWrite != 0 {
						o.errorf("entry %#x for %#x, held by others %v", e, at, s.held(page))
					}
				}
			}
		}
		walk(o.m.root, 0, 39)
	}
	o := f.live[0]
	for page, n := range entries {
		others := uint32(0)
		if i := page / pageSize; i < uint64(len(s.holders)) {
			others = s.holders[i]
		}
		if n != others+1 || borrowed[page] || tables[page] {
			o.errorf("page %#x: %d entries, %d holders beyond the first, shared memory %v, table %v", page, n, others, borrowed[page], tables[page])
		}
	}
	for i, n := range s.holders {
		if n > 0 && entries[uint64(i)*pageSize] == 0 {
			o.errorf("page %#x: held by nobody, counted %d", i*pageSize, n)
		}
	}
	owned := map[uint64]bool{}
	for src := range held {
		if obj, ok := src.(*Object); ok {
			for _, page := range obj.pages {
				owned[page] = true
			}
		}
	}
	for page := range borrowed {
		if !owned[page] {
			o.errorf("page %#x belongs to shared memory that is gone", page)
		}
	}
	if used := uint64(len(entries) + len(owned) + len(tables) + o.control); o.mem.Used() != used {
		o.errorf("%d pages are counted, %d can be reached", o.mem.Used(), used)
	}
}

func (f *family) run() {
	for len(f.ops) > 0 {
		f.step()
		if err := f.live[0].m.Err(); err != nil {
			if !errors.Is(err, guestmem.ErrLimit) {
				f.t.Fatal(err)
			}
			return
		}
		f.check()
	}
	for _, o := range f.live {
		o.finish()
	}
	for len(f.live) > 1 {
		f.live[1].m.Release()
		f.live = append(f.live[:1], f.live[2:]...)
		f.check()
	}
}

func TestForkOracle(t *testing.T) {
	for _, c := range []struct {
		name  string
		pages uint64
	}{{"roomy", 1 << 14}, {"half", 1200}, {"tight", 300}} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprintf("%s/%d", c.name, seed), func(t *testing.T) {
				newFamily(t, c.pages*pageSize, randomOps(seed+100, 2500)).run()
			})
		}
	}
}

// FuzzFork looks for operations after which address spaces that come from each other
// differ from their models.
func FuzzFork(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomOps(seed, 200), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, ops []byte, tight bool) {
		limit := uint64(4096)
		if tight {
			limit = 300
		}
		newFamily(t, limit*pageSize, ops[:min(len(ops), 4000)]).run()
	})
}
