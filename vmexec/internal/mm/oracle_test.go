// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// The oracle does random operations on an address space and on a model of it,
// a map of pages, and compares the two.

// modelPage is what the model knows of a mapped page.
type modelPage struct {
	prot Prot
	src  *fakeSource
	obj  *modelObject // shared memory
	off  uint64       // of the page in src or obj
	data []byte       // nil: zeros, or the file
	used bool         // it was read or written: the host has memory for it
}

// modelObject is shared anonymous memory.
type modelObject struct {
	o     *Object
	pages map[uint64][]byte
}

// fakeSource is a file whose pages are full of a number.
type fakeSource struct {
	t       testing.TB
	id      byte
	size    int64
	more    int // address spaces beyond the first
	dropped bool
}

func (s *fakeSource) byteAt(off int64) byte { return s.id*16 + byte(off/pageSize) + 1 }

func (s *fakeSource) MapRead(off int64, dst []byte) (int, abi.Errno) {
	if s.dropped {
		s.t.Error("a source was read after it was dropped")
	}
	n := int(max(0, min(int64(len(dst)), s.size-off)))
	for i := range dst[:n] {
		dst[i] = s.byteAt(off + int64(i))
	}
	return n, 0
}

func (s *fakeSource) MapSize() int64 { return s.size }

func (s *fakeSource) MapShare() { s.more++ }

func (s *fakeSource) MapDrop() {
	if s.dropped {
		s.t.Error("a source was dropped twice")
	}
	s.more--
	s.dropped = s.more < 0
}

func (p *modelPage) content() []byte {
	if p.obj != nil {
		if p.obj.pages[p.off] == nil {
			p.obj.pages[p.off] = make([]byte, pageSize)
		}
		return p.obj.pages[p.off]
	}
	if p.data == nil {
		p.data = make([]byte, pageSize)
		if p.src != nil {
			_, _ = (&fakeSource{t: p.src.t, id: p.src.id, size: p.src.size}).MapRead(int64(p.off), p.data)
		}
	}
	p.used = true
	return p.data
}

// exists is false for a page wholly past the end of its file.
func (p *modelPage) exists() bool {
	return (p.src == nil || int64(p.off) < p.src.size) && (p.obj == nil || int64(p.off) < p.obj.o.size)
}

// source is the Src of the page's mapping.
func (p *modelPage) source() Source {
	switch {
	case p.src != nil:
		return p.src
	case p.obj != nil:
		return p.obj.o
	}
	return nil
}

// Where the operations take place: across a table of each level, and where
// mappings without an address go.
const (
	lowArea  = 1<<39 - 40*pageSize
	lowPages = 80
	topPages = 48
	topArea  = MmapTop - topPages*pageSize
	heap     = 0x5000_0000
)

type oracle struct {
	t       testing.TB
	ops     []byte
	m       *MM
	mem     *guestmem.Memory
	model   map[uint64]*modelPage
	sources []*fakeSource
	brk     uint64
	control int
	shares  bool // some mappings are shared memory
	trace   []string
}

func newOracle(t testing.TB, limit uint64, ops []byte) *oracle {
	mem, err := guestmem.New(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	m, err := New(mem)
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{t: t, ops: ops, m: m, mem: mem, model: map[uint64]*modelPage{}, brk: heap, control: int(x86.ControlSize() / pageSize)}
	m.SetBrkStart(heap)
	return o
}

func (o *oracle) next() int {
	if len(o.ops) == 0 {
		return 0
	}
	b := o.ops[0]
	o.ops = o.ops[1:]
	return int(b)
}

// address picks a page; length some pages.
func (o *oracle) address() uint64 {
	n := uint64(o.next())
	if n < 160 {
		return lowArea + n%lowPages*pageSize
	}
	return topArea + n%topPages*pageSize
}

func (o *oracle) length() uint64 {
	n := uint64(o.next())
	if n >= 250 {
		return (500 + n) * pageSize
	}
	return (n%24 + 1) * pageSize
}

func (o *oracle) prot() Prot {
	p := Prot(o.next() & 7)
	if p&Write != 0 {
		p |= Read // as mmap makes it
	}
	return p
}

func (o *oracle) pages(a, b uint64, f func(va uint64, p *modelPage)) {
	for va := a; va < b; va += pageSize {
		if p := o.model[va]; p != nil {
			f(va, p)
		}
	}
}

// step does one operation.
func (o *oracle) step() {
	a := o.address()
	op := o.next() % 16
	n := o.length()
	switch op {
	case 0, 1, 2:
		o.mmap(a, n)
	case 3:
		o.log("munmap %#x %#x", a, n)
		o.m.Unmap(a, a+n)
		o.pages(a, a+n, func(va uint64, _ *modelPage) { delete(o.model, va) })
	case 4, 5:
		o.protect(a, n, o.prot())
	case 6, 7:
		o.remap(a, n)
	case 8:
		o.discard(a, n)
	case 9:
		o.setBrk(uint64(o.next()) * 1000)
	case 10, 11, 12:
		o.write(a+uint64(o.next())*16, n/3)
	case 13:
		o.read(a+uint64(o.next())*16, n/3)
	case 14:
		o.buffers(a+uint64(o.next())*16, n/3)
	case 15:
		o.fault(a+uint64(o.next())*16, o.next())
	}
}

func (o *oracle) log(format string, args ...any) {
	o.trace = append(o.trace, fmt.Sprintf(format, args...))
}

func (o *oracle) errorf(format string, args ...any) {
	o.t.Helper()
	o.t.Fatalf("%s\nafter %d operations, the last:\n%s", fmt.Sprintf(format, args...), len(o.trace), bytes.Join(toBytes(o.trace[max(0, len(o.trace)-12):]), []byte("\n")))
}

func toBytes(ss []string) (out [][]byte) {
	for _, s := range ss {
		out = append(out, []byte(s))
	}
	return out
}

func (o *oracle) mmap(a, n uint64) {
	v := VMA{Start: a, Prot: o.prot()}
	kind := o.next()
	if kind%4 == 0 {
		v.Start = o.m.FindHole(a, n)
		if v.Start == 0 {
			o.errorf("no hole of %#x bytes", n)
		}
		if o.m.Overlaps(v.Start, v.Start+n) {
			o.errorf("the hole at %#x is taken", v.Start)
		}
	}
	v.End = v.Start + n
	var src *fakeSource
	off := uint64(kind) * 64 & 7 * pageSize
	if kind%3 == 0 {
		src = &fakeSource{t: o.t, id: byte(len(o.sources)), size: int64(kind%16)*pageSize + int64(kind)}
		o.sources = append(o.sources, src)
		v.Src, v.Off, v.Name = src, off, "file"
	}
	var obj *modelObject
	if o.shares && kind%3 == 1 {
		obj = &modelObject{o.m.Spaces().NewObject(n), map[uint64][]byte{}}
		v.Src, off = obj.o, 0
	}
	o.log("mmap %#x-%#x %d file %v off %#x", v.Start, v.End, v.Prot, src != nil, off)
	if errno := o.m.Map(v); errno != 0 {
		o.errorf("mmap: %v", errno)
	}
	for va := v.Start; va < v.End; va += pageSize {
		o.model[va] = &modelPage{prot: v.Prot, src: src, obj: obj, off: off + va - v.Start}
	}
}

func (o *oracle) protect(a, n uint64, p Prot) {
	o.log("mprotect %#x %#x %d", a, n, p)
	want := abi.OK
	for va := a; va < a+n; va += pageSize {
		page := o.model[va]
		if page == nil {
			want = abi.ENOMEM
			break
		}
		page.prot = p
	}
	if errno := o.m.Protect(a, a+n, p); errno != want {
		o.errorf("mprotect: %v, want %v", errno, want)
	}
}

func (o *oracle) discard(a, n uint64) {
	o.log("madvise %#x %#x", a, n)
	want := abi.OK
	for va := a; va < a+n; va += pageSize {
		page := o.model[va]
		if page == nil {
			want = abi.ENOMEM
			continue
		}
		page.data, page.used = nil, false
	}
	if errno := o.m.Discard(a, a+n); errno != want {
		o.errorf("madvise: %v, want %v", errno, want)
	}
}

func (o *oracle) remap(old, oldLen uint64) {
	newLen, dst := o.length(), uint64(0)
	mayMove := o.next()%4 != 0
	if o.next()%2 == 0 {
		dst, mayMove = o.address(), true
		if dst < old+oldLen && old < dst+newLen {
			return // refused before
		}
	}
	// One mapping must hold all of it. What is one mapping is checked elsewhere.
	v := o.m.find(old)
	inOne := v != nil && v.End >= old+oldLen
	o.log("mremap %#x %#x to %#x at %#x, may move %v", old, oldLen, newLen, dst, mayMove)
	got, errno := o.m.Remap(old, oldLen, newLen, dst, mayMove)
	if !inOne {
		if errno != abi.EFAULT {
			o.errorf("mremap of no mapping: %v", errno)
		}
		return
	}
	if errno == abi.ENOMEM && !mayMove && newLen > oldLen {
		for va := old + oldLen; va < old+newLen; va += pageSize {
			if o.model[va] != nil {
				return
			}
		}
		// The mapping goes on beyond what was named.
		if v.End > old+oldLen {
			return
		}
	}
	if errno != 0 {
		o.errorf("mremap: %v", errno)
	}
	if dst != 0 && got != dst {
		o.errorf("mremap to %#x instead of %#x", got, dst)
	}
	first := *o.model[old]
	moved := map[uint64]*modelPage{}
	for at := uint64(0); at < newLen; at += pageSize {
		if at < oldLen {
			moved[got+at] = o.model[old+at]
			continue
		}
		moved[got+at] = &modelPage{prot: first.prot, src: first.src, obj: first.obj, off: first.off + at}
	}
	o.pages(old, old+oldLen, func(va uint64, _ *modelPage) { delete(o.model, va) })
	for at := uint64(0); at < newLen; at += pageSize {
		if dst == 0 && o.model[got+at] != nil {
			o.errorf("mremap moved onto %#x", got+at)
		}
		o.model[got+at] = moved[got+at]
	}
}

func (o *oracle) setBrk(size uint64) {
	end := heap + size
	o.log("brk %#x", end)
	if got := o.m.Brk(end); got != end {
		o.errorf("brk: %#x, want %#x", got, end)
	}
	for va := roundUp(o.brk); va < roundUp(end); va += pageSize {
		o.model[va] = &modelPage{prot: Read | Write}
	}
	for va := roundUp(end); va < roundUp(o.brk); va += pageSize {
		delete(o.model, va)
	}
	o.brk = end
}

// accessible returns how many of n bytes from va user code can access.
func (o *oracle) accessible(va, n uint64, write bool) uint64 {
	got := uint64(0)
	for got < n {
		p := o.model[(va+got)&^(pageSize-1)]
		if p == nil || p.prot == 0 || write && p.prot&Write == 0 || !p.exists() {
			break
		}
		got += pageSize - (va+got)%pageSize
	}
	return min(got, n)
}

// modelBytes calls f with the model's bytes of an accessible range.
func (o *oracle) modelBytes(va, n uint64, f func(at uint64, b []byte)) {
	for at := uint64(0); at < n; {
		b := o.model[(va+at)&^(pageSize-1)].content()[(va+at)%pageSize:]
		b = b[:min(uint64(len(b)), n-at)]
		f(at, b)
		at += uint64(len(b))
	}
}

func (o *oracle) write(va, n uint64) {
	o.log("write %#x %#x", va, n)
	data := bytes.Repeat([]byte{byte(len(o.trace)) | 1}, int(n))
	ok := o.accessible(va, n, true)
	errno := o.m.CopyOut(va, data)
	if o.m.Err() != nil {
		return
	}
	if (errno == 0) != (ok == n) {
		o.errorf("write: %v, %#x bytes are accessible", errno, ok)
	}
	o.modelBytes(va, ok, func(at uint64, b []byte) { copy(b, data[at:]) })
}

func (o *oracle) read(va, n uint64) {
	o.log("read %#x %#x", va, n)
	data := make([]byte, n)
	ok := o.accessible(va, n, false)
	errno := o.m.CopyIn(va, data)
	if o.m.Err() != nil {
		return
	}
	if (errno == 0) != (ok == n) {
		o.errorf("read: %v, %#x bytes are accessible", errno, ok)
	}
	o.modelBytes(va, ok, func(at uint64, b []byte) {
		if !bytes.Equal(b, data[at:at+uint64(len(b))]) {
			o.errorf("read at %#x: %d..., want %d...", va+at, data[at], b[0])
		}
	})
}

func (o *oracle) buffers(va, n uint64) {
	write := o.next()%2 == 0
	o.log("buffers %#x %#x write %v", va, n, write)
	ok := o.accessible(va, n, write)
	bufs, errno := o.m.Buffers(va, n, write)
	if o.m.Err() != nil {
		return
	}
	if (errno == abi.EFAULT) != (ok == 0 && n > 0) {
		o.errorf("buffers: %v, %#x bytes are accessible", errno, ok)
	}
	got := bytes.Join(bufs, nil)
	if uint64(len(got)) != ok {
		o.errorf("buffers: %#x bytes, want %#x", len(got), ok)
	}
	o.modelBytes(va, ok, func(at uint64, b []byte) {
		if !bytes.Equal(b, got[at:at+uint64(len(b))]) {
			o.errorf("buffers at %#x: %d..., want %d...", va+at, got[at], b[0])
		}
	})
}

func (o *oracle) fault(va uint64, how int) {
	write, exec := how&1 != 0, how&3 == 2
	o.log("fault %#x write %v exec %v", va, write, exec)
	p := o.model[va&^(pageSize-1)]
	want := FaultServed
	switch {
	case p == nil:
		want = FaultUnmapped
	case p.prot == 0, write && p.prot&Write == 0, exec && p.prot&Exec == 0:
		want = FaultAccess
	case !p.exists():
		want = FaultBus
	}
	if got := o.m.Fault(va, write, exec); got != want && o.m.Err() == nil {
		o.errorf("fault: %d, want %d", got, want)
	}
	if want == FaultServed {
		p.used = true
	}
}

// checkMappings compares the list of mappings with the model, and notes the sources
// in use.
func (o *oracle) checkMappings(held map[Source]bool) {
	mapped := uint64(0)
	for i := range o.m.vmas {
		v := &o.m.vmas[i]
		if v.Start >= v.End || v.Start%pageSize != 0 || v.End%pageSize != 0 || v.Start < MinVA || v.End > x86.UserEnd {
			o.errorf("mapping %#x-%#x", v.Start, v.End)
		}
		if i > 0 && (o.m.vmas[i-1].End > v.Start || v.follows(&o.m.vmas[i-1])) {
			o.errorf("mappings %+v and %+v: not in order, or not joined", o.m.vmas[i-1], *v)
		}
		if v.Src != nil {
			held[v.Src] = true
		}
		for va := v.Start; va < v.End; va += pageSize {
			mapped++
			p := o.model[va]
			if p == nil || p.prot != v.Prot || p.source() != v.Src || v.Src != nil && v.Off+va-v.Start != p.off {
				o.errorf("page %#x of mapping %+v: the model has %+v", va, *v, p)
			}
		}
	}
	if mapped != uint64(len(o.model)) {
		o.errorf("%d pages are mapped, want %d", mapped, len(o.model))
	}
}

// check compares the address space with the model and itself.
func (o *oracle) check() {
	held := map[Source]bool{}
	o.checkMappings(held)
	for _, s := range o.sources {
		if s.dropped == held[s] {
			o.errorf("source %d: dropped %v, mapped %v", s.id, s.dropped, held[s])
		}
	}
	// The tables.
	owner := map[uint64]uint64{}
	own := func(gpa, va uint64) {
		if gpa < uint64(o.control)*pageSize {
			o.errorf("%#x maps the control area's page %#x", va, gpa)
		}
		if other, twice := owner[gpa]; twice {
			o.errorf("page %#x belongs to %#x and %#x", gpa, other, va)
		}
		owner[gpa] = va
	}
	var walk func(gpa, va uint64, shift int)
	walk = func(gpa, va uint64, shift int) {
		own(gpa, va)
		for i, e := range o.mem.Words(gpa) {
			at := va + uint64(i)<<shift
			switch {
			case e == 0:
			case shift > 12:
				if e&^x86.PTEAddr != x86.PTETable {
					o.errorf("table entry %#x for %#x", e, at)
				}
				walk(e&x86.PTEAddr, at, shift-9)
			case at >= x86.ControlVA:
				if e&x86.PTEOwned != 0 || e&x86.PTEAddr >= uint64(o.control)*pageSize {
					o.errorf("entry %#x in the control area at %#x", e, at)
				}
			default:
				p := o.model[at]
				if p == nil || e&^x86.PTEAddr != leafFlags(p.prot) {
					o.errorf("entry %#x for %#x, which is %+v", e, at, p)
				}
				own(e&x86.PTEAddr, at)
			}
		}
	}
	walk(o.m.root, 0, 39)
	if used := uint64(len(owner) + o.control); o.mem.Used() != used {
		o.errorf("%d pages are counted, %d can be reached", o.mem.Used(), used)
	}
}

// finish reads all that can be read.
func (o *oracle) finish() {
	for va, p := range o.model {
		if p.prot != 0 && p.exists() && o.m.Err() == nil {
			o.read(va, pageSize)
		}
	}
}

// run does all operations. It ends early when memory is used up, which must not
// be before it is needed.
func (o *oracle) run() {
	for len(o.ops) > 0 {
		o.step()
		if err := o.m.Err(); err != nil {
			if !errors.Is(err, guestmem.ErrLimit) {
				o.errorf("%v", err)
			}
			if n := o.untouched(); n > 0 || o.mem.Limit()-o.mem.Used() > 1 {
				o.errorf("memory is used up with %d of %d pages in use, %d of them untouched", o.mem.Used(), o.mem.Limit(), n)
			}
			break
		}
		o.check()
	}
	o.finish()
}

// untouched counts the anonymous pages that reclaim could have taken.
func (o *oracle) untouched() (n int) {
	for i := range o.m.vmas {
		v := &o.m.vmas[i]
		o.m.each(v.Start, v.End, func(_ uint64, e *uint64) {
			gpa := *e & x86.PTEAddr
			res, err := o.mem.Resident(guestmem.Run{Start: gpa, End: gpa + pageSize})
			if err != nil {
				o.t.Fatal(err)
			}
			if v.Src == nil && !res[0] {
				n++
			}
		})
	}
	return n
}

func randomOps(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestOracle(t *testing.T) {
	for _, c := range []struct {
		name  string
		pages uint64
	}{{"roomy", 1 << 14}, {"half", 700}, {"tight", 90}} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("%s/%d", c.name, seed), func(t *testing.T) {
				newOracle(t, c.pages*pageSize, randomOps(seed, 3000)).run()
			})
		}
	}
}

// FuzzMM looks for operations after which the address space and the model of it
// differ, with the tables, the list of mappings and the pages in agreement.
func FuzzMM(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomOps(seed, 200), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, ops []byte, tight bool) {
		limit := uint64(4096)
		if tight {
			limit = 90
		}
		newOracle(t, limit*pageSize, ops[:min(len(ops), 4000)]).run()
	})
}
