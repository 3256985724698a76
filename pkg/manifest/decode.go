// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decode stores n in v, by the names of v's JSON tags. It reports everything
// that does not fit and stores the rest. A null is a value that is absent, as in
// Kubernetes.
func decode(n *node, v reflect.Value, path string, bad report) {
	if n.kind == null {
		return
	}
	wrong := func(message string) { bad(n.line, n.column, path, message) }

	switch target := v.Addr().Interface().(type) {
	case *metav1.Duration:
		if n.kind != str {
			wrong("expected a duration such as 500ms, 10s or 2m, found " + n.describe())
			return
		}
		d, err := time.ParseDuration(n.text)
		if err != nil {
			wrong("expected a duration such as 500ms, 10s or 2m, found " + quote(n.text))
			return
		}
		target.Duration = d
		return
	case *resource.Quantity:
		if n.kind != str && n.kind != integer && n.kind != float {
			wrong("expected a quantity such as 128Mi or 500m, found " + n.describe())
			return
		}
		q, err := resource.ParseQuantity(n.text)
		if err != nil {
			wrong("expected a quantity such as 128Mi or 500m, found " + quote(n.text))
			return
		}
		*target = q
		return
	case json.Unmarshaler:
		if err := target.UnmarshalJSON(n.json()); err != nil {
			wrong(err.Error())
		}
		return
	}

	switch v.Kind() {
	case reflect.Pointer:
		element := reflect.New(v.Type().Elem())
		decode(n, element.Elem(), path, bad)
		v.Set(element)
	case reflect.Struct:
		if n.kind != mapping {
			wrong("expected a mapping, found " + n.describe())
			return
		}
		fields := fieldsOf(v.Type())
		for _, f := range n.fields {
			i := slices.IndexFunc(fields, func(s structField) bool { return s.name == f.key })
			if i < 0 {
				bad(f.line, f.column, join(path, f.key), "unknown field"+suggest(f.key, fields))
				continue
			}
			decode(f.value, v.FieldByIndex(fields[i].index), join(path, f.key), bad)
		}
	case reflect.Map:
		if n.kind != mapping {
			wrong("expected a mapping, found " + n.describe())
			return
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.fields)))
		for _, f := range n.fields {
			element := reflect.New(v.Type().Elem()).Elem()
			decode(f.value, element, path+"["+f.key+"]", bad)
			v.SetMapIndex(reflect.ValueOf(f.key).Convert(v.Type().Key()), element)
		}
	case reflect.Slice:
		if n.kind != sequence {
			wrong("expected a list, found " + n.describe())
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			decode(item, v.Index(i), index(path, i), bad)
		}
	case reflect.String:
		switch {
		case n.kind == str && n.plain && oldBoolean(n.text):
			wrong(fmt.Sprintf("expected a string; put %s in quotes, Kubernetes takes it for a boolean", n.text))
		case n.kind == str:
			v.SetString(n.text)
		case n.kind == mapping || n.kind == sequence:
			wrong("expected a string, found " + n.describe())
		default:
			wrong(fmt.Sprintf("expected a string, found %s; write %q in quotes", n.describe(), n.text))
		}
	case reflect.Bool:
		if n.kind != boolean {
			wrong("expected true or false, found " + n.describe())
			return
		}
		v.SetBool(n.truth)
	case reflect.Int32, reflect.Int64:
		if n.kind != integer {
			wrong("expected a whole number, found " + n.describe())
			return
		}
		if v.OverflowInt(n.number) {
			wrong(fmt.Sprintf("the number %d is out of range", n.number))
			return
		}
		v.SetInt(n.number)
	default:
		panic("manifest: a field of type " + v.Type().String() + " cannot be read")
	}
}

// describe names what was found in place of what was expected.
func (n *node) describe() string {
	switch n.kind {
	case str:
		return "the string " + quote(n.text)
	case integer, float:
		return "the number " + n.text
	case boolean:
		return "the boolean " + n.text
	case mapping, sequence, null:
	}
	return n.kind.String()
}

type structField struct {
	name  string
	index []int
}

// fieldsOf returns the fields of a struct by their names in JSON; embedded
// structs without a name give theirs, as encoding/json has it.
func fieldsOf(t reflect.Type) []structField {
	var fields []structField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			for _, inner := range fieldsOf(f.Type) {
				fields = append(fields, structField{inner.name, append([]int{i}, inner.index...)})
			}
		case name != "" && name != "-":
			fields = append(fields, structField{name, []int{i}})
		}
	}
	return fields
}

// suggest returns the nearest name as a question, or nothing when none is near.
func suggest(key string, fields []structField) string {
	best, least := "", len(key)/3+1
	for _, f := range fields {
		if strings.EqualFold(f.name, key) {
			best = f.name
			break
		}
		if d := distance(key, f.name, least); d <= least && (best == "" || d < least) {
			best, least = f.name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of letters to insert, delete or replace to turn a into
// b, or more than most.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
