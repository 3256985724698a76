// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestSnapshotTypes holds that all of what a frozen program may consist of can be
// written to disk. When it fails after a change: a field that is no state (a
// function, a channel, a lock, a handle of the host, what a call is waiting with)
// gets the tag `snapshot:"-"` and is made anew by CloneFile, Clone or Restore.
func TestSnapshotTypes(t *testing.T) {
	if err := stateTypes().Check(reflect.TypeFor[*savedState]()); err != nil {
		t.Errorf("what a frozen program may hold cannot all be written to disk:\n%v", err)
	}
}

// stateMethods are those that only what belongs to a frozen program has: a type
// with one of them goes into an interface, which the file on disk must know of.
var stateMethods = map[string]string{
	"CloneFile": "an open file",
	"MapDrop":   "the source of a mapping",
	"Progress":  "the progress of a call",
	"Wake":      "what waits on a queue",
}

// notInSnapshots are types with one of stateMethods that no frozen program holds,
// and why.
var notInSnapshots = map[string]string{}

// TestSnapshotRegistered finds types that somebody forgot to list in the
// SnapshotTypes of their package.
func TestSnapshotRegistered(t *testing.T) {
	registered := map[string]bool{}
	for _, name := range stateTypes().Registered() {
		registered[strings.TrimPrefix(strings.TrimPrefix(name, "*"), "kontain.dev/eventing/vmexec/internal/")] = true
	}
	found := 0
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || stateMethods[f.Name.Name] == "" {
				continue
			}
			recv := f.Recv.List[0].Type
			if p, ok := recv.(*ast.StarExpr); ok {
				recv = p.X
			}
			id, ok := recv.(*ast.Ident)
			if !ok {
				continue
			}
			found++
			name := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "internal/") + "." + id.Name
			if !registered[name] && notInSnapshots[name] == "" {
				t.Errorf("%s has the method %s, so it is %s: add it to SnapshotTypes of its package", name, f.Name.Name, stateMethods[f.Name.Name])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("only %d types were found", found)
	}
}
