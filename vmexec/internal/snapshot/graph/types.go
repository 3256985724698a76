// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package graph writes a graph of Go values as bytes and reads it back: structs
// with their unexported fields, pointers with their identity, also into the
// middle of other values, slices that share their array, maps, cycles, and
// interfaces whose types were registered. The bytes are for the same program
// only: they follow the layout of its types, which Fingerprint tells.
//
// What cannot be written (functions, channels, locks, handles of the host) must
// be in a field that says so:
//
//	stop func() `snapshot:"-"` // made anew by CloneFile
//
// Such a field is zero after Decode. A type that was made external is written as
// a mere mark, and Decode puts in its place what it is given.
package graph

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Types says what the interfaces of a graph may hold and what is external. Their
// order counts: the bytes of a graph have their numbers.
type Types struct {
	concrete []reflect.Type
	external []reflect.Type
	numbers  map[reflect.Type]int // of concrete
}

// Register adds types that interfaces may hold, each by a value of it.
func (ts *Types) Register(values ...any) {
	if ts.numbers == nil {
		ts.numbers = make(map[reflect.Type]int, 2*len(values))
	}
	for _, v := range values {
		t := reflect.TypeOf(v)
		if _, twice := ts.numbers[t]; !twice {
			ts.numbers[t] = len(ts.concrete)
			ts.concrete = append(ts.concrete, t)
		}
	}
}

// External adds pointer and interface types whose values are not written.
func (ts *Types) External(types ...reflect.Type) {
	for _, t := range types {
		if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
			panic("graph: external " + name(t) + " is neither a pointer nor an interface")
		}
		if !slices.Contains(ts.external, t) {
			ts.external = append(ts.external, t)
		}
	}
}

// Registered returns the names of the types that interfaces may hold.
func (ts *Types) Registered() []string {
	var out []string
	for _, t := range ts.concrete {
		out = append(out, name(t))
	}
	return out
}

// name is the full name of a type; of one without a name, its description.
func name(t reflect.Type) string {
	switch {
	case t.Name() != "" && t.PkgPath() != "":
		return t.PkgPath() + "." + t.Name()
	case t.Name() != "":
		return t.Name()
	case t.Kind() == reflect.Pointer:
		return "*" + name(t.Elem())
	case t.Kind() == reflect.Slice:
		return "[]" + name(t.Elem())
	case t.Kind() == reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), name(t.Elem()))
	case t.Kind() == reflect.Map:
		return "map[" + name(t.Key()) + "]" + name(t.Elem())
	case t.Kind() == reflect.Struct:
		var b strings.Builder
		for i := range t.NumField() {
			fmt.Fprintf(&b, "%s %s;", t.Field(i).Name, name(t.Field(i).Type))
		}
		return "struct{" + b.String() + "}"
	}
	return t.String()
}

// left reports whether a field is not written.
func left(f *reflect.StructField) bool {
	return f.Name == "_" || f.Tag != "" && f.Tag.Get("snapshot") == "-"
}

// layout is every type that a graph with a certain root may hold. Each process that
// reads a graph makes it anew, so that it must not cost much.
type layout struct {
	ts    *Types
	list  []*plan // in a fixed order
	plans map[reflect.Type]*plan
	path  []step // to what is being looked at
	errs  []error
}

// plan is how values of a type are made up.
type plan struct {
	t        reflect.Type
	kind     reflect.Kind
	size     uintptr
	number   int  // in layout.list
	plain    bool // they hold no pointer of any kind
	external bool
	elem     *plan       // of pointers, slices, arrays and maps
	key      *plan       // of maps
	n        int         // elements of arrays
	fields   []fieldPlan // of structs, those that are written
}

type fieldPlan struct {
	*plan
	index  int
	offset uintptr
}

// step is a part of the path to a type: words, or the name of a type.
type step struct {
	words string
	t     reflect.Type
}

func (ts *Types) layout(root reflect.Type) *layout {
	l := &layout{ts: ts, plans: make(map[reflect.Type]*plan, 8*len(ts.concrete))}
	for _, t := range ts.external {
		l.plans[t] = &plan{t: t, kind: t.Kind(), size: t.Size(), external: true}
	}
	l.from(root)
	for _, t := range ts.concrete {
		l.from(t)
	}
	return l
}

// from adds a type that is not part of another.
func (l *layout) from(t reflect.Type) {
	l.path = append(l.path[:0], step{t: t})
	l.walk(t)
}

// below is walk for what a type is made of.
func (l *layout) below(t reflect.Type, words string) *plan {
	l.path = append(l.path, step{words: words})
	p := l.walk(t)
	l.path = l.path[:len(l.path)-1]
	return p
}

// Check returns what of the types that a graph with this root may hold cannot be
// written, each with its path.
func (ts *Types) Check(root reflect.Type) error { return errors.Join(ts.layout(root).errs...) }

// Fingerprint tells layouts apart: two programs with the same one write and read
// the same bytes.
func (ts *Types) Fingerprint(root reflect.Type) [sha256.Size]byte {
	l := ts.layout(root)
	h := sha256.New()
	for _, t := range ts.external {
		fmt.Fprintf(h, "external %s\n", name(t))
	}
	for _, t := range ts.concrete {
		fmt.Fprintf(h, "concrete %s\n", name(t))
	}
	for _, p := range l.list {
		t := p.t
		fmt.Fprintf(h, "%s %s %d\n", name(t), t.Kind(), t.Size())
		if t.Kind() == reflect.Struct {
			for i := range t.NumField() {
				f := t.Field(i)
				fmt.Fprintf(h, " %s %s %d %v\n", f.Name, name(f.Type), f.Offset, left(&f))
			}
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (l *layout) fail(why string) {
	var path strings.Builder
	for _, s := range l.path {
		if s.t != nil {
			path.WriteString(name(s.t))
		}
		path.WriteString(s.words)
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %s", path.String(), why))
}

// isExternal reports whether values of the type are not written.
func (ts *Types) isExternal(t reflect.Type) bool { return slices.Contains(ts.external, t) }

// walk adds a type and those it is made of. It returns nil for one that cannot be
// written.
func (l *layout) walk(t reflect.Type) *plan {
	if p, known := l.plans[t]; known {
		return p
	}
	p := &plan{t: t, kind: t.Kind(), size: t.Size(), number: len(l.list)}
	switch p.kind { //nolint:exhaustive // The rest is of no interest here.
	case reflect.Uintptr, reflect.Complex64, reflect.Complex128, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		l.fail("a value of type " + name(t) + " cannot be written; tag the field `snapshot:\"-\"` and make it anew, or make the type external")
		return nil
	}
	l.plans[t] = p
	l.list = append(l.list, p)
	switch p.kind {
	case reflect.String, reflect.Interface:
	case reflect.Pointer, reflect.Slice:
		p.elem = l.below(t.Elem(), "[]")
	case reflect.Array:
		p.elem, p.n = l.below(t.Elem(), "[]"), t.Len()
		p.plain = p.elem != nil && p.elem.plain
	case reflect.Map:
		p.key = l.below(t.Key(), "[key]")
		p.elem = l.below(t.Elem(), "[]")
		if dynamic(t.Key()) {
			l.fail("what an interface holds cannot be the key of a map")
		}
	case reflect.Struct:
		if !l.walkStruct(p) {
			return nil
		}
	default: // the basic types
		p.plain = true
	}
	return p
}

// dynamic reports whether a type of map keys holds interfaces: what they hold need
// not be comparable.
func dynamic(t reflect.Type) bool {
	switch t.Kind() { //nolint:exhaustive // The rest is of no interest here.
	case reflect.Interface:
		return true
	case reflect.Array:
		return dynamic(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if dynamic(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

func (l *layout) walkStruct(p *plan) bool {
	p.plain = true
	// The inside of another module's type is not ours to write, unless all of it is
	// open.
	ours := p.t.PkgPath() == "" || strings.HasPrefix(p.t.PkgPath(), modulePath)
	for i := range p.t.NumField() {
		f := p.t.Field(i)
		if left(&f) {
			continue
		}
		if !ours && !f.IsExported() {
			l.fail("the inside of " + name(p.t) + " is not ours to write; tag the field `snapshot:\"-\"` and make it anew")
			delete(l.plans, p.t) // to be found in each place where it is
			l.list = slices.DeleteFunc(l.list, func(x *plan) bool { return x == p })
			return false
		}
		l.path = append(l.path, step{words: "."})
		e := l.below(f.Type, f.Name)
		l.path = l.path[:len(l.path)-1]
		if e == nil {
			p.plain = false
			continue
		}
		p.plain = p.plain && e.plain
		p.fields = append(p.fields, fieldPlan{plan: e, index: i, offset: f.Offset})
	}
	return true
}

const modulePath = "kontain.dev/eventing/"

// at reports whether, off bytes into an array of n values of type t, count values
// of the type want lie in a row.
func at(t reflect.Type, n uint64, off uint64, want reflect.Type, count uint64) bool {
	size := uint64(t.Size())
	if size == 0 || off/size >= n {
		return false
	}
	i, rest := off/size, off%size
	if t == want && rest == 0 {
		return count <= n-i
	}
	return within(t, rest, want, count)
}

// within is at inside one value.
func within(t reflect.Type, off uint64, want reflect.Type, count uint64) bool {
	switch t.Kind() { //nolint:exhaustive // The rest is of no interest here.
	case reflect.Array:
		return at(t.Elem(), uint64(t.Len()), off, want, count)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			start := uint64(f.Offset)
			if off < start || off-start >= uint64(f.Type.Size()) {
				continue
			}
			if f.Type == want && off == start {
				return count == 1
			}
			return within(f.Type, off-start, want, count)
		}
	}
	return false
}
