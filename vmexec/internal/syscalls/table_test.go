// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTable holds what the compatibility table promises of each call.
func TestTable(t *testing.T) {
	names := map[string]int{}
	for nr, e := range Entries() {
		if e.Nr != nr || e.Fn == nil || Table()[nr] == nil {
			t.Errorf("%s: entry %d has number %d, or no handler", e.Name, nr, e.Nr)
		}
		if other, twice := names[e.Name]; twice {
			t.Errorf("%s is the name of %d and %d", e.Name, nr, other)
		}
		names[e.Name] = nr
		if got := Name(uint64(nr)); got != e.Name {
			t.Errorf("Name(%d) = %s, want %s", nr, got, e.Name)
		}
		switch e.Support {
		case Full, Partial:
			if len(e.Guests) == 0 {
				t.Errorf("%s: no golden guest makes the call", e.Name)
			}
		case Stub, Refused:
		default:
			t.Errorf("%s: %v", e.Name, e.Support)
		}
		if e.Support != Full && e.Note == "" {
			t.Errorf("%s: %v without a note that says what is missing", e.Name, e.Support)
		}
	}
	for name := range exercisedBy {
		if _, ok := names[name]; !ok {
			t.Errorf("exercisedBy has %s, which is not in the table", name)
		}
	}
}

// TestGuestsExist holds that the guests that calls name are there.
func TestGuestsExist(t *testing.T) {
	const dir = "../../../test/guests"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the golden guests are not there: %v", err)
	}
	for name, guests := range exercisedBy {
		for _, g := range guests {
			pattern := filepath.Join(dir, "*", g+".c*")
			if rest, ok := strings.CutPrefix(g, "go_"); ok {
				pattern = filepath.Join(dir, "*", rest, "main.go")
			}
			if found, err := filepath.Glob(pattern); err != nil || len(found) == 0 {
				t.Errorf("%s: no guest %s (%v)", name, pattern, err)
			}
		}
		if !slices.IsSorted(guests) {
			t.Errorf("%s: %v are not in order", name, guests)
		}
	}
}

// TestNames holds that each entry has the kernel's name of its number: a number is
// written as unix.SYS_NAME, and its name stands behind it.
func TestNames(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) < 2 {
				return true
			}
			sel, ok := value(lit.Elts[0]).(*ast.SelectorExpr)
			if !ok || !strings.HasPrefix(sel.Sel.Name, "SYS_") {
				return true
			}
			seen++
			want := strings.ToLower(strings.TrimPrefix(sel.Sel.Name, "SYS_"))
			if s, ok := value(lit.Elts[1]).(*ast.BasicLit); !ok || s.Value != strconv.Quote(want) {
				t.Errorf("%s: %s does not have the name %q", name, sel.Sel.Name, want)
			}
			return true
		})
	}
	if seen != len(Entries()) {
		t.Errorf("%d numbers were found in the source, the table has %d", seen, len(Entries()))
	}
}

// value is the value of an element of a literal, keyed or not.
func value(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}
