// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"context"
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
	"MapShare":  "the source of a mapping",
	"Progress":  "the progress of a call",
	"Wake":      "what waits on a queue",
}

// notInSnapshots are types with one of stateMethods that no frozen program holds,
// and why.
var notInSnapshots = map[string]string{
	"net.hostWaiter": "a call of the host on a connection to a running program, which no snapshot has",
}

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

// mayDifferOnDisk are the fields in which a clone of a snapshot that came from disk
// may differ from one of the snapshot in memory, and why. All others are compared.
var mayDifferOnDisk = map[string]string{
	"VM.snapshot":        "what it was made of: what a clone does not take over is not on disk",
	"guestmem.clone.img": "the memory itself; Verify looks at it",
}

// testOnDisk writes a snapshot, reads it back, and compares everything that the
// monitor holds of clones of the two, what the programs print, and their memory.
func testOnDisk(t *testing.T, h *Host, s *Snapshot, p *Program, l Limits) {
	path := filepath.Join(t.TempDir(), "snapshot")
	if err := s.Save(path, ""); err != nil {
		t.Fatal(err)
	}
	loaded, err := h.LoadSnapshot(p, l, path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := loaded.Close(); err != nil {
			t.Error(err)
		}
	}()
	var vms [2]*VM
	for i, from := range []*Snapshot{s, loaded} {
		vm, err := h.Clone(from, l)
		if err != nil {
			t.Fatal(err)
		}
		defer vm.Close()
		if err := vm.Verify(); err != nil {
			t.Error(err)
		}
		vms[i] = vm
	}
	c := &comparison{seen: map[[2]uintptr]bool{}, skipped: map[string]bool{}, also: mayDifferOnDisk}
	c.compare("vm", reflect.ValueOf(vms[0]), reflect.ValueOf(vms[1]))
	if len(c.differ) > 0 || c.objects < 20 {
		t.Errorf("clones of the snapshot and of its copy on disk, %d objects:\n%s", c.objects, strings.Join(c.differ, "\n"))
	}
	var out [2]Result
	for i, vm := range vms {
		r, err := vm.Run(context.Background(), IO{Event: []byte("\nan event\n")})
		if err != nil {
			t.Fatal(err)
		}
		out[i] = Result{Reason: r.Reason, Status: r.Status, Stdout: r.Stdout}
	}
	if !reflect.DeepEqual(out[0], out[1]) {
		t.Errorf("clones of the snapshot and of its copy on disk:\n%+v\n%+v", out[0], out[1])
	}
	if vms[1].again {
		if err := vms[1].Reset(); err != nil {
			t.Error(err)
		} else if err := vms[1].Verify(); err != nil {
			t.Error(err)
		}
	}
}
