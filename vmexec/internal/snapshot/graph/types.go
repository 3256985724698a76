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
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Types says what the interfaces of a graph may hold and what is external.
type Types struct {
	concrete []reflect.Type
	external []reflect.Type
}

// Register adds types that interfaces may hold, each by a value of it.
func (ts *Types) Register(values ...any) {
	for _, v := range values {
		if t := reflect.TypeOf(v); !slices.Contains(ts.concrete, t) {
			ts.concrete = append(ts.concrete, t)
		}
	}
	slices.SortFunc(ts.concrete, byName)
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
	slices.SortFunc(ts.external, byName)
}

// Registered returns the names of the types that interfaces may hold.
func (ts *Types) Registered() []string {
	var out []string
	for _, t := range ts.concrete {
		out = append(out, name(t))
	}
	return out
}

func byName(a, b reflect.Type) int { return cmp.Compare(name(a), name(b)) }

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
func left(f *reflect.StructField) bool { return f.Tag.Get("snapshot") == "-" || f.Name == "_" }

// layout is every type that a graph with a certain root may hold.
type layout struct {
	ts    *Types
	list  []reflect.Type // in a fixed order
	index map[reflect.Type]int
	plain map[reflect.Type]bool // hold no pointer of any kind
	errs  []error
}

func (ts *Types) layout(root reflect.Type) *layout {
	l := &layout{ts: ts, index: map[reflect.Type]int{}, plain: map[reflect.Type]bool{}}
	l.walk(root, name(root))
	for _, t := range ts.concrete {
		l.walk(t, name(t))
	}
	return l
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
	for _, t := range l.list {
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

func (l *layout) fail(path, why string) {
	l.errs = append(l.errs, fmt.Errorf("%s: %s", path, why))
}

// isExternal reports whether values of the type are not written.
func (ts *Types) isExternal(t reflect.Type) bool { return slices.Contains(ts.external, t) }

// walk adds a type and those it is made of, and reports whether it holds no
// pointers.
func (l *layout) walk(t reflect.Type, path string) (plain bool) {
	if l.ts.isExternal(t) {
		return false
	}
	if _, known := l.index[t]; known {
		return l.plain[t]
	}
	switch t.Kind() { //nolint:exhaustive // The rest is of no interest here.
	case reflect.Uintptr, reflect.Complex64, reflect.Complex128, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		l.fail(path, "a value of type "+name(t)+" cannot be written; tag the field `snapshot:\"-\"` and make it anew, or make the type external")
		return false
	}
	l.index[t] = len(l.list)
	l.list = append(l.list, t)
	switch t.Kind() {
	case reflect.String, reflect.Interface:
	case reflect.Pointer, reflect.Slice:
		l.walk(t.Elem(), path+"[]")
	case reflect.Array:
		plain = l.walk(t.Elem(), path+"[]")
	case reflect.Map:
		l.walk(t.Key(), path+"[key]")
		l.walk(t.Elem(), path+"[]")
		if dynamic(t.Key()) {
			l.fail(path, "what an interface holds cannot be the key of a map")
		}
	case reflect.Struct:
		plain = l.walkStruct(t, path)
	default: // the basic types
		plain = true
	}
	l.plain[t] = plain
	return plain
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

func (l *layout) walkStruct(t reflect.Type, path string) (plain bool) {
	plain = true
	// The inside of another module's type is not ours to write, unless all of it is
	// open.
	ours := t.PkgPath() == "" || strings.HasPrefix(t.PkgPath(), modulePath)
	for i := range t.NumField() {
		f := t.Field(i)
		if left(&f) {
			continue
		}
		if !ours && !f.IsExported() {
			l.fail(path, "the inside of "+name(t)+" is not ours to write; tag the field `snapshot:\"-\"` and make it anew")
			delete(l.index, t) // to be found in each place where it is
			l.list = slices.DeleteFunc(l.list, func(x reflect.Type) bool { return x == t })
			return false
		}
		if !l.walk(f.Type, path+"."+f.Name) {
			plain = false
		}
	}
	return plain
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
