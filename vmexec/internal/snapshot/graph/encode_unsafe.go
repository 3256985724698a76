// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unsafe"
)

// object is what pointers and slices lead to: n values of a type in a row.
type object struct {
	base  unsafe.Pointer
	typ   reflect.Type
	n     uint64
	first int // place in the order of discovery
	id    int
}

func (o *object) addr() uint64 { return uint64(uintptr(o.base)) }
func (o *object) end() uint64  { return o.addr() + o.n*uint64(o.typ.Size()) }

// values returns the object as a slice.
func (o *object) values() reflect.Value { return reflect.SliceAt(o.typ, o.base, int(o.n)) }

// field returns a field of an addressable struct, also an unexported one, so that
// it can be read and set.
func field(v reflect.Value, i int) reflect.Value {
	f := v.Field(i)
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}

// copyOf returns an addressable copy of a value that has no address.
func copyOf(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

type spanKey struct {
	base unsafe.Pointer
	typ  reflect.Type
	n    uint64
}

type encoder struct {
	*layout
	spans   map[spanKey]bool
	work    []*object
	found   []*object
	objects []*object // by address
	maps    map[unsafe.Pointer]int
	mapList []reflect.Value
	depth   int
	err     error
	out     bytes.Buffer
}

// Encode writes the graph that the pointer root leads to. The error says which
// value cannot be written.
func (ts *Types) Encode(root any) ([]byte, error) {
	v := reflect.ValueOf(root)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("graph: the root must be a pointer, not %T", root)
	}
	e := &encoder{layout: ts.layout(v.Type()), spans: map[spanKey]bool{}, maps: map[unsafe.Pointer]int{}}
	if err := errors.Join(e.errs...); err != nil {
		return nil, err
	}
	e.point(v.UnsafePointer(), v.Type().Elem(), 1)
	for len(e.work) > 0 && e.err == nil {
		o := e.work[len(e.work)-1]
		e.work = e.work[:len(e.work)-1]
		for i, v := 0, o.values(); i < v.Len(); i++ {
			e.discover(v.Index(i), name(o.typ))
		}
	}
	e.resolve()
	if e.err != nil {
		return nil, e.err
	}
	e.write(v)
	return e.out.Bytes(), e.err
}

func (e *encoder) fail(path, format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
}

// point takes note of n values that something leads to.
func (e *encoder) point(base unsafe.Pointer, t reflect.Type, n uint64) {
	k := spanKey{base, t, n}
	if t.Size() == 0 || e.spans[k] {
		return
	}
	e.spans[k] = true
	o := &object{base: base, typ: t, n: n, first: len(e.found)}
	e.found = append(e.found, o)
	if !e.plans[t].plain {
		e.work = append(e.work, o)
	}
}

// discover finds what a value leads to. It follows values into each other, and
// leaves pointers to the list of work: a guest can make chains of any length.
func (e *encoder) discover(v reflect.Value, path string) {
	t := v.Type()
	if p := e.plans[t]; p.plain || p.external || e.err != nil {
		return
	}
	switch t.Kind() { //nolint:exhaustive // The rest was refused by layout.
	case reflect.Pointer:
		if !v.IsNil() {
			e.point(v.UnsafePointer(), t.Elem(), 1)
		}
	case reflect.Slice:
		if v.Len() > 0 {
			e.point(v.UnsafePointer(), t.Elem(), uint64(v.Len()))
		}
	case reflect.Array:
		for i := range v.Len() {
			e.discover(v.Index(i), path+"[]")
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !left(&f) {
				e.discover(field(v, i), path+"."+f.Name)
			}
		}
	case reflect.Interface:
		if v.IsNil() || e.ts.isExternal(v.Elem().Type()) {
			return
		}
		if _, ok := e.ts.numbers[v.Elem().Type()]; !ok {
			e.fail(path, "it holds a %s, which is not registered", name(v.Elem().Type()))
			return
		}
		if e.depth++; e.depth > maxDepth {
			e.fail(path, "interfaces hold each other more than %d deep", maxDepth)
			return
		}
		e.discover(copyOf(v.Elem()), path+"("+name(v.Elem().Type())+")")
		e.depth--
	case reflect.Map:
		if _, known := e.maps[v.UnsafePointer()]; v.IsNil() || known {
			return
		}
		e.maps[v.UnsafePointer()] = len(e.mapList)
		e.mapList = append(e.mapList, v)
		for it := v.MapRange(); it.Next(); {
			e.discover(copyOf(it.Key()), path+"[key]")
			e.discover(copyOf(it.Value()), path+"[]")
		}
	}
}

// resolve makes one object of what lies inside another or overlaps it.
func (e *encoder) resolve() {
	slices.SortFunc(e.found, func(a, b *object) int {
		return cmp.Or(cmp.Compare(a.addr(), b.addr()), cmp.Compare(b.end(), a.end()), cmp.Compare(a.first, b.first))
	})
	var cur *object
	for _, o := range e.found {
		switch {
		case cur == nil || o.addr() >= cur.end():
			cur = o
			e.objects = append(e.objects, o)
			continue
		case at(cur.typ, cur.n, o.addr()-cur.addr(), o.typ, o.n):
		case o.addr() == cur.addr() && o.end() == cur.end() && at(o.typ, o.n, 0, cur.typ, cur.n):
			cur.typ, cur.n = o.typ, o.n // it is the outer one of the two
		case o.typ == cur.typ && (o.addr()-cur.addr())%uint64(cur.typ.Size()) == 0:
			cur.n += (o.end() - cur.end()) / uint64(cur.typ.Size())
		default:
			e.fail(name(o.typ), "it overlaps a value of type %s in a way that cannot be written", name(cur.typ))
			return
		}
		cur.first = min(cur.first, o.first)
	}
}

// find returns the object that holds an address.
func (e *encoder) find(p unsafe.Pointer) (*object, uint64) {
	a := uint64(uintptr(p))
	i, _ := slices.BinarySearchFunc(e.objects, a, func(o *object, a uint64) int {
		switch {
		case o.end() <= a:
			return -1
		case o.addr() > a:
			return 1
		}
		return 0
	})
	o := e.objects[i]
	return o, a - o.addr()
}

func (e *encoder) number(v uint64) {
	e.out.Write(binary.AppendUvarint(e.out.AvailableBuffer(), v))
}

func (e *encoder) write(root reflect.Value) {
	ordered := slices.Clone(e.objects)
	slices.SortFunc(ordered, func(a, b *object) int { return cmp.Compare(a.first, b.first) })
	e.number(uint64(len(ordered)))
	for i, o := range ordered {
		o.id = i
		e.number(uint64(e.plans[o.typ].number))
		e.number(o.n)
	}
	e.number(uint64(len(e.mapList)))
	for _, m := range e.mapList {
		e.number(uint64(e.plans[m.Type()].number))
		e.number(uint64(m.Len()))
	}
	e.value(root)
	for _, o := range ordered {
		e.elements(o.values())
	}
	for _, m := range e.mapList {
		e.entries(m)
	}
}

// entries writes a map, in the order of what its keys are written as.
func (e *encoder) entries(m reflect.Value) {
	type entry struct {
		key   []byte
		value reflect.Value
	}
	list := make([]entry, 0, m.Len())
	mark := e.out.Len()
	for it := m.MapRange(); it.Next(); {
		e.value(copyOf(it.Key()))
		list = append(list, entry{bytes.Clone(e.out.Bytes()[mark:]), it.Value()})
		e.out.Truncate(mark)
	}
	slices.SortFunc(list, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	for _, x := range list {
		e.out.Write(x.key)
		e.value(copyOf(x.value))
	}
}

// Codes of a pointer or slice; larger ones are an object's number and this base.
const (
	isNil     = 0
	isEmpty   = 1 // a slice without elements, or a pointer to something of no size
	firstCode = 2
)

// value writes a value.
func (e *encoder) value(v reflect.Value) {
	t := v.Type()
	if e.ts.isExternal(t) {
		e.bool(!v.IsNil())
		return
	}
	switch t.Kind() { //nolint:exhaustive // The rest was refused by layout.
	case reflect.Bool:
		e.bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out.Write(binary.AppendVarint(e.out.AvailableBuffer(), v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		e.number(math.Float64bits(v.Float()))
	case reflect.String:
		e.number(uint64(v.Len()))
		e.out.WriteString(v.String())
	case reflect.Pointer:
		switch {
		case v.IsNil():
			e.number(isNil)
		case t.Elem().Size() == 0:
			e.number(isEmpty)
		default:
			e.pointer(v.UnsafePointer())
		}
	case reflect.Slice:
		switch {
		case v.IsNil():
			e.number(isNil)
		case v.Len() == 0 || t.Elem().Size() == 0:
			e.number(isEmpty)
		default:
			e.pointer(v.UnsafePointer())
			e.number(uint64(v.Len()))
		}
	case reflect.Array:
		e.elements(v)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !left(&f) {
				e.value(field(v, i))
			}
		}
	case reflect.Map:
		if v.IsNil() {
			e.number(0)
			return
		}
		e.number(uint64(e.maps[v.UnsafePointer()]) + 1)
	case reflect.Interface:
		e.inside(v)
	}
}

// elements writes what an array or slice holds.
func (e *encoder) elements(v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.out.Write(v.Bytes())
		return
	}
	for i := range v.Len() {
		e.value(v.Index(i))
	}
}

// inside writes what an interface holds: 0 for nothing, then the externals, then
// the registered types.
func (e *encoder) inside(v reflect.Value) {
	if v.IsNil() {
		e.number(0)
		return
	}
	t := v.Elem().Type()
	if i := slices.Index(e.ts.external, t); i >= 0 {
		e.number(uint64(i) + 1)
		return
	}
	i := e.ts.numbers[t] // discover has found it
	e.number(uint64(i+len(e.ts.external)) + 1)
	e.value(copyOf(v.Elem()))
}

func (e *encoder) pointer(p unsafe.Pointer) {
	o, off := e.find(p)
	e.number(uint64(o.id) + firstCode)
	e.number(off)
}

func (e *encoder) bool(b bool) {
	if b {
		e.out.WriteByte(1)
	} else {
		e.out.WriteByte(0)
	}
}
