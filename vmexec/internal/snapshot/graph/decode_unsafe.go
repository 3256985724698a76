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
type Graph struct{ objects []object }

// Each calls f with a pointer to each value of the struct type T that pointers or
// slices lead to, also where it is a field of another struct.
func Each[T any](g *Graph, f func(*T)) {
	places := map[reflect.Type][]uintptr{}
	for i := range g.objects {
		o := &g.objects[i]
		in, known := places[o.typ]
		if !known {
			in = fieldsOf(o.typ, reflect.TypeFor[T](), 0, nil)
			places[o.typ] = in
		}
		for j := uint64(0); j < o.n && len(in) > 0; j++ {
			for _, off := range in {
				f((*T)(unsafe.Add(o.base, uintptr(j)*o.typ.Size()+off)))
			}
		}
	}
}

// fieldsOf appends to out where in a t values of type want are.
func fieldsOf(t, want reflect.Type, at uintptr, out []uintptr) []uintptr {
	if t == want {
		return append(out, at)
	}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			out = fieldsOf(t.Field(i).Type, want, at+t.Field(i).Offset, out)
		}
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
	objects   []object
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
	r := reflect.New(v.Type().Elem()).Elem()
	d.read(r)
	if d.err == nil && len(d.in) > 0 {
		d.fail("%d bytes are left over", len(d.in))
	}
	if d.err == nil && r.IsNil() {
		d.fail("the root is nil")
	}
	if d.err != nil {
		return nil, d.err
	}
	v.Elem().Set(r)
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
func (d *decoder) kind() reflect.Type {
	i := d.number()
	if i >= uint64(len(d.list)) {
		d.fail("there is no type %d", i)
		return d.list[0]
	}
	return d.list[i]
}

// read makes everything there is, so that pointers can be set in any order, and
// then fills it.
func (d *decoder) read(root reflect.Value) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		t, count := d.kind(), d.number()
		if t.Size() == 0 || count == 0 {
			d.fail("an object of no size")
		}
		if d.err == nil && d.charge(1, uint64(unsafe.Sizeof(object{}))) && d.charge(count, uint64(t.Size())) {
			s := reflect.MakeSlice(reflect.SliceOf(t), int(count), int(count))
			d.objects = append(d.objects, object{base: s.UnsafePointer(), typ: t, n: count})
		}
	}
	const perEntry, perMap = 32, 64 // what Go adds, and more
	for n := d.number(); n > 0 && d.err == nil; n-- {
		t, count := d.kind(), d.number()
		if t.Kind() != reflect.Map {
			d.fail("%s is no map", name(t))
		}
		if d.err == nil && d.charge(1, perMap) && d.charge(count, perEntry+2*uint64(t.Key().Size()+t.Elem().Size())) {
			d.maps, d.counts = append(d.maps, reflect.MakeMapWithSize(t, int(count))), append(d.counts, count)
		}
	}
	d.value(root)
	for i := range d.objects {
		if d.err != nil {
			return
		}
		d.elements(d.objects[i].values())
	}
	for i, m := range d.maps {
		key, elem := reflect.New(m.Type().Key()).Elem(), reflect.New(m.Type().Elem()).Elem()
		for n := d.counts[i]; n > 0 && d.err == nil; n-- {
			key.SetZero()
			elem.SetZero()
			d.value(key)
			d.value(elem)
			if d.err == nil {
				m.SetMapIndex(key, elem)
			}
		}
		if d.err == nil && uint64(m.Len()) != d.counts[i] {
			d.fail("a map has a key twice")
		}
	}
}

// value reads into v.
func (d *decoder) value(v reflect.Value) {
	t := v.Type()
	if d.err != nil {
		return
	}
	if d.ts.isExternal(t) {
		if x, ok := d.externals[t]; d.number() != 0 && ok {
			v.Set(x)
		}
		return
	}
	switch t.Kind() { //nolint:exhaustive // The rest was refused by layout.
	case reflect.Bool:
		v.SetBool(d.number() != 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, n := binary.Varint(d.in)
		if n <= 0 || v.OverflowInt(i) {
			d.fail("a number is cut off or too large")
			return
		}
		d.in = d.in[n:]
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u := d.number()
		if v.OverflowUint(u) {
			d.fail("a number is too large")
			return
		}
		v.SetUint(u)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(math.Float64frombits(d.number()))
	case reflect.String:
		v.SetString(string(d.bytes(d.number())))
	case reflect.Pointer:
		switch code := d.number(); {
		case code == isNil:
			v.SetZero()
		case t.Elem().Size() == 0 && code == isEmpty:
			v.Set(reflect.New(t.Elem()))
		default:
			if p := d.pointer(code, t.Elem(), func() uint64 { return 1 }); p != nil {
				v.Set(reflect.NewAt(t.Elem(), p))
			}
		}
	case reflect.Slice:
		d.slice(v)
	case reflect.Array:
		d.elements(v)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !left(&f) {
				d.value(field(v, i))
			}
		}
	case reflect.Map:
		switch i := d.number(); {
		case i == 0:
			v.SetZero()
		case i > uint64(len(d.maps)) || d.maps[i-1].Type() != t:
			d.fail("%s leads to another type", name(t))
		default:
			v.Set(d.maps[i-1])
		}
	case reflect.Interface:
		d.inside(v)
	}
}

// elements reads what an array or slice holds.
func (d *decoder) elements(v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		copy(v.Bytes(), d.bytes(uint64(v.Len())))
		return
	}
	for i := 0; i < v.Len() && d.err == nil; i++ {
		d.value(v.Index(i))
	}
}

func (d *decoder) slice(v reflect.Value) {
	t := v.Type()
	switch code := d.number(); code {
	case isNil:
		v.SetZero()
	case isEmpty:
		v.Set(reflect.MakeSlice(t, 0, 0))
	default:
		n := uint64(0)
		if p := d.pointer(code, t.Elem(), func() uint64 { n = d.number(); return n }); p != nil {
			v.Set(reflect.SliceAt(t.Elem(), p, int(n)).Convert(t))
		}
	}
}

// pointer reads where a pointer to values of type t leads; nil after an error.
func (d *decoder) pointer(code uint64, t reflect.Type, count func() uint64) unsafe.Pointer {
	off, n := d.number(), count()
	if d.err != nil {
		return nil
	}
	if code < firstCode || code-firstCode >= uint64(len(d.objects)) {
		d.fail("there is no object %d", code)
		return nil
	}
	o := &d.objects[code-firstCode]
	if n == 0 || !at(o.typ, o.n, off, t, n) {
		d.fail("a pointer to %d of %s leads to %d of %s, byte %d", n, name(t), o.n, name(o.typ), off)
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
		v.SetZero()
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
	x := reflect.New(t).Elem()
	d.value(x)
	d.depth--
	if d.err == nil {
		v.Set(x)
	}
}
