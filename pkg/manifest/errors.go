// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNoSinks says that a file or folder holds no KontainSink at all.
var ErrNoSinks = errors.New("no KontainSink found")

// ErrNoSources says that a file or folder holds no KontainSource at all.
var ErrNoSources = errors.New("no KontainSource found")

// Error is one thing that is wrong with a manifest.
type Error struct {
	// File is the file's path, as the reader was given it.
	File string `json:"file"`
	// Line and Column count from 1; 0 means that the whole file is meant.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Field is the path of the field, such as spec.env[0].name; empty when no
	// field is meant.
	Field string `json:"field,omitempty"`
	// Message says what is wrong and, where it helps, what to write instead.
	Message string `json:"message"`
}

// Error returns FILE:LINE:COLUMN: FIELD: MESSAGE, without the parts that are
// not known.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors is everything that is wrong, in the order of the files and lines.
type Errors []Error

// Error returns one line for each error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As each error.
func (es Errors) Unwrap() []error {
	list := make([]error, len(es))
	for i, e := range es {
		list[i] = e
	}
	return list
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
