// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// ErrFormat says that bytes are no graph of the asked type.
var ErrFormat = errors.New("not a graph of this program")

// Graph is what Decode has read.
type Graph struct{ objects []readObject }

// readObject is n values of a type in a row.
type readObject struct {
	base unsafe.Pointer
	plan *plan
	n    uint64
}

// Each calls f with a pointer to each value of the struct type T that pointers or
// slices lead to, also where it is a field of another struct.
func Each[T any](g *Graph, f func(*T)) {
	places := map[*plan][]uintptr{}
	want := reflect.TypeFor[T]()
	for i := range g.objects {
		o := &g.objects[i]
		if o.plan.plain && o.plan.t != want {
			continue
		}
		in, known := places[o.plan]
		if !known {
			in = fieldsOf(o.plan, want, 0, nil)
			places[o.plan] = in
		}
		for j := uint64(0); j < o.n && len(in) > 0; j++ {
			for _, off := range in {
				f((*T)(unsafe.Add(o.base, uintptr(j)*o.plan.size+off)))
			}
		}
	}
}

// fieldsOf appends to out where in values of a plan those of type want are.
func fieldsOf(p *plan, want reflect.Type, at uintptr, out []uintptr) []uintptr {
	if p.t == want {
		return append(out, at)
	}
	for i := range p.fields {
		out = fieldsOf(p.fields[i].plan, want, at+p.fields[i].offset, out)
	}
	return out
}

// A value takes at most this many times the memory of the bytes it is written as:
// what claims more is no graph. The most is taken by empty slices and strings, and
// by what is not written at all.
const (
	expansion = 64
	headroom  = 1 << 20
)

type decoder struct {
	*layout
	in        []byte
	left      uint64 // bytes of memory that may still be used
	objects   []readObject
	maps      []reflect.Value
	counts    []uint64
	externals map[reflect.Type]reflect.Value
	depth     int
	err       error
}

// maxDepth bounds interfaces in values in interfaces, which the stack must hold.
const maxDepth = 100

// Decode reads a graph into what the pointer root leads to, which is a pointer of
// the type that was given to Encode. externals are what is put where values of
// external types were: pointers of that type, or values for that interface type.
// What is not given becomes nil. The memory it uses is bounded by the length of
// the data; the error is ErrFormat, wrapped, and then root is not set.
func (ts *Types) Decode(data []byte, root any, externals ...any) (*Graph, error) {
	v := reflect.ValueOf(root)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem().Kind() != reflect.Pointer {
		return nil, fmt.Errorf("graph: the root must be a pointer to a pointer, not %T", root)
	}
	d := &decoder{
		layout: ts.layout(v.Type().Elem()), in: data, left: expansion*uint64(len(data)) + headroom,
		externals: map[reflect.Type]reflect.Value{},
	}
	if err := errors.Join(d.errs...); err != nil {
		return nil, err
	}
	for _, x := range externals {
		for _, t := range ts.external {
			if reflect.TypeOf(x) == t || t.Kind() == reflect.Interface && reflect.TypeOf(x).Implements(t) {
				d.externals[t] = reflect.ValueOf(x)
			}
		}
	}
	r := reflect.New(v.Type().Elem())
	d.read(d.plans[v.Type().Elem()], r.UnsafePointer())
	if d.err == nil && len(d.in) > 0 {
		d.fail("%d bytes are left over", len(d.in))
	}
	if d.err == nil && r.Elem().IsNil() {
		d.fail("the root is nil")
	}
	if d.err != nil {
		return nil, d.err
	}
	v.Elem().Set(r.Elem())
	return &Graph{d.objects}, nil
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
		d.in = nil
	}
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.in)
	if n <= 0 {
		d.fail("a number is cut off or too long")
		return 0
	}
	d.in = d.in[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.in)) {
		d.fail("%d bytes are wanted of %d", n, len(d.in))
		return nil
	}
	b := d.in[:n:n]
	d.in = d.in[n:]
	return b
}

// charge counts n pieces of memory before they are taken.
func (d *decoder) charge(n, size uint64) bool {
	if size > 0 && n > d.left/size {
		d.fail("it would take more than %d bytes", expansion*len(d.in)+headroom)
		return false
	}
	d.left -= n * size
	return true
}

// kind reads the number of a type.
func (d *decoder) kind() *plan {
	i := d.number()
	if i >= uint64(len(d.list)) {
		d.fail("there is no type %d", i)
		return d.list[0]
	}
	return d.list[i]
}

// read makes everything there is, so that pointers can be set in any order, and
// then fills it. The root is at an address.
func (d *decoder) read(root *plan, at unsafe.Pointer) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		p, count := d.kind(), d.number()
		if p.size == 0 || count == 0 {
			d.fail("an object of no size")
		}
		if d.err == nil && d.charge(1, uint64(unsafe.Sizeof(readObject{}))) && d.charge(count, uint64(p.size)) {
			d.objects = append(d.objects, readObject{d.room(p.t, count), p, count})
		}
	}
	const perEntry, perMap = 32, 64 // what Go adds, and more
	for n := d.number(); n > 0 && d.err == nil; n-- {
		p, count := d.kind(), d.number()
		if p.kind != reflect.Map {
			d.fail("%s is no map", name(p.t))
		}
		if d.err == nil && d.charge(1, perMap) && d.charge(count, perEntry+2*uint64(p.key.size+p.elem.size)) {
			d.maps, d.counts = append(d.maps, reflect.MakeMapWithSize(p.t, int(count))), append(d.counts, count)
		}
	}
	d.value(root, at)
	for i := range d.objects {
		o := &d.objects[i]
		d.elements(o.plan, o.base, o.n)
	}
	for i, m := range d.maps {
		p := d.plans[m.Type()]
		key, elem := reflect.New(p.key.t), reflect.New(p.elem.t)
		for n := d.counts[i]; n > 0 && d.err == nil; n-- {
			key.Elem().SetZero()
			elem.Elem().SetZero()
			d.value(p.key, key.UnsafePointer())
			d.value(p.elem, elem.UnsafePointer())
			if d.err == nil {
				m.SetMapIndex(key.Elem(), elem.Elem())
			}
		}
		if d.err == nil && uint64(m.Len()) != d.counts[i] {
			d.fail("a map has a key twice")
		}
	}
}

// room returns memory for n values of a type.
func (d *decoder) room(t reflect.Type, n uint64) unsafe.Pointer {
	if n == 1 {
		return reflect.New(t).UnsafePointer()
	}
	return reflect.MakeSlice(reflect.SliceOf(t), int(n), int(n)).UnsafePointer()
}

// value reads a value into the memory at an address, which is zero.
func (d *decoder) value(p *plan, at unsafe.Pointer) {
	if d.err != nil {
		return
	}
	if p.external {
		if x, ok := d.externals[p.t]; d.number() != 0 && ok {
			reflect.NewAt(p.t, at).Elem().Set(x)
		}
		return
	}
	switch p.kind { //nolint:exhaustive // The rest was refused by layout.
	case reflect.Bool:
		*(*bool)(at) = d.number() != 0
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, n := binary.Varint(d.in)
		unused := 64 - 8*p.size
		if n <= 0 || i<<unused>>unused != i {
			d.fail("a number is cut off or too large")
			return
		}
		d.in = d.in[n:]
		store(at, p.size, uint64(i))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u := d.number()
		unused := 64 - 8*p.size
		if u<<unused>>unused != u {
			d.fail("a number is too large")
			return
		}
		store(at, p.size, u)
	case reflect.Float32:
		*(*float32)(at) = float32(math.Float64frombits(d.number()))
	case reflect.Float64:
		*(*float64)(at) = math.Float64frombits(d.number())
	case reflect.String:
		*(*string)(at) = string(d.bytes(d.number()))
	case reflect.Pointer:
		d.pointer(p, at)
	case reflect.Slice:
		d.slice(p, at)
	case reflect.Array:
		d.elements(p.elem, at, uint64(p.n))
	case reflect.Struct:
		for i := range p.fields {
			f := &p.fields[i]
			d.value(f.plan, unsafe.Add(at, f.offset))
		}
	case reflect.Map:
		switch i := d.number(); {
		case i == 0:
		case i > uint64(len(d.maps)) || d.maps[i-1].Type() != p.t:
			d.fail("%s leads to another type", name(p.t))
		default:
			reflect.NewAt(p.t, at).Elem().Set(d.maps[i-1])
		}
	case reflect.Interface:
		d.inside(reflect.NewAt(p.t, at).Elem())
	}
}

// store writes a number of size bytes.
func store(at unsafe.Pointer, size uintptr, v uint64) {
	switch size {
	case 1:
		*(*uint8)(at) = uint8(v)
	case 2:
		*(*uint16)(at) = uint16(v)
	case 4:
		*(*uint32)(at) = uint32(v)
	default:
		*(*uint64)(at) = v
	}
}

// elements reads n values in a row.
func (d *decoder) elements(p *plan, at unsafe.Pointer, n uint64) {
	if p.kind == reflect.Uint8 {
		copy(unsafe.Slice((*byte)(at), n), d.bytes(n))
		return
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		d.value(p, unsafe.Add(at, uintptr(i)*p.size))
	}
}

func (d *decoder) pointer(p *plan, at unsafe.Pointer) {
	switch code := d.number(); {
	case code == isNil:
	case p.elem.size == 0 && code == isEmpty:
		*(*unsafe.Pointer)(at) = reflect.New(p.elem.t).UnsafePointer()
	default:
		*(*unsafe.Pointer)(at) = d.target(code, d.number(), p.elem.t, 1)
	}
}

func (d *decoder) slice(p *plan, at unsafe.Pointer) {
	switch code := d.number(); code {
	case isNil:
	case isEmpty:
		reflect.NewAt(p.t, at).Elem().Set(reflect.MakeSlice(p.t, 0, 0))
	default:
		off, n := d.number(), d.number()
		if to := d.target(code, off, p.elem.t, n); to != nil {
			// All slices are a pointer, a length and a capacity, in elements.
			*(*[]byte)(at) = unsafe.Slice((*byte)(to), int(n))
		}
	}
}

// target returns where a pointer to n values of type t leads; nil after an error.
func (d *decoder) target(code, off uint64, t reflect.Type, n uint64) unsafe.Pointer {
	if d.err != nil {
		return nil
	}
	if code < firstCode || code-firstCode >= uint64(len(d.objects)) {
		d.fail("there is no object %d", code)
		return nil
	}
	o := &d.objects[code-firstCode]
	if n == 0 || !at(o.plan.t, o.n, off, t, n) {
		d.fail("a pointer to %d of %s leads to %d of %s, byte %d", n, name(t), o.n, name(o.plan.t), off)
		return nil
	}
	return unsafe.Add(o.base, off)
}

// inside reads what an interface holds.
func (d *decoder) inside(v reflect.Value) {
	code := d.number()
	ext := uint64(len(d.ts.external))
	switch {
	case code == 0:
		return
	case code <= ext:
		if x, ok := d.externals[d.ts.external[code-1]]; ok && x.Type().AssignableTo(v.Type()) {
			v.Set(x)
		}
		return
	case code-ext > uint64(len(d.ts.concrete)):
		d.fail("there is no type %d for an interface", code)
		return
	}
	t := d.ts.concrete[code-ext-1]
	if !t.AssignableTo(v.Type()) {
		d.fail("a %s is no %s", name(t), name(v.Type()))
		return
	}
	if !d.charge(1, uint64(t.Size())) {
		return
	}
	if d.depth++; d.depth > maxDepth {
		d.fail("interfaces hold each other more than %d deep", maxDepth)
		return
	}
	x := reflect.New(t)
	d.value(d.plans[t], x.UnsafePointer())
	d.depth--
	if d.err == nil {
		v.Set(x.Elem())
	}
}
