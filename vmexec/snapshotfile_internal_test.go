// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	guestbuild "kontain.dev/eventing/test/guests/build"
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

// forge changes the header of a snapshot file and puts it right again, so that only
// what the header says is wrong.
func forge(t *testing.T, file string, change func(*SnapshotInfo)) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const prologue = 48
	n := int(binary.LittleEndian.Uint32(b[12:]))
	var i SnapshotInfo
	if err := json.Unmarshal(b[prologue:prologue+n], &i); err != nil {
		t.Fatal(err)
	}
	parts := b[prologue+n : prologue+n+int(i.Pages.Bytes+i.State.Bytes)]
	memory := b[len(b)-int(i.Memory.Bytes):]
	change(&i)
	header, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(header)
	out := append([]byte(nil), b[:12]...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(header)))
	out = append(append(append(out, sum[:]...), header...), parts...)
	out = append(append(out, make([]byte, (4096-len(out)%4096)%4096)...), memory...)
	name := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func hostAndProgram(t *testing.T) (*Host, *Program, *Snapshot) {
	t.Helper()
	src, err := filepath.Abs("../test/guests")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := guestbuild.Dir(src)
	if err != nil {
		t.Fatal(err)
	}
	g := guestbuild.Guest{Source: "event_mix", Flavour: guestbuild.Glibc}
	built, err := guestbuild.All(t.Context(), src, dir, []guestbuild.Guest{g})
	if err == nil {
		err = built[g].Err
	}
	var missing *guestbuild.MissingToolError
	if errors.As(err, &missing) && os.Getenv("KONTAIN_REQUIRE_TOOLS") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(Ptrace)
	var u *UnavailableError
	if errors.As(err, &u) && os.Getenv("VMEXEC_REQUIRE_PTRACE") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	root, err := ProgramRoot(built[g].Path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewProgram(ProgramSpec{Root: root, Path: built[g].Path})
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.NewSnapshot(t.Context(), p, Limits{Wall: time.Minute}, Wait{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), p.Close(), root.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
	return h, p, s
}

// A file of another build, processor, clock or with impossible lengths is refused,
// and says what differs.
func TestSnapshotForeign(t *testing.T) {
	h, p, s := hostAndProgram(t)
	file := filepath.Join(t.TempDir(), "snapshot")
	if err := s.Save(file, ""); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		detail string
		want   SnapshotReason
		change func(*SnapshotInfo)
	}{
		{"", "", func(*SnapshotInfo) {}},
		{"", "", func(i *SnapshotInfo) { i.Clock.Tick += i.Clock.Tick / 2000 }}, // it is measured
		{"commit abc", SnapshotBuild, func(i *SnapshotInfo) { i.Monitor.Build = "commit abc" }},
		{"objects", SnapshotBuild, func(i *SnapshotInfo) { i.Monitor.Types = "0" }},
		{"CPUID:0", SnapshotProcessor, func(i *SnapshotInfo) { i.CPU.CPUID = "0" }},
		{"platform kvm", SnapshotProcessor, func(i *SnapshotInfo) { i.Platform, i.CPU.XCR0 = "kvm", "0x3" }},
		{"tick", SnapshotClock, func(i *SnapshotInfo) { i.Clock.Tick *= 2 }},
		{"clocks", SnapshotClock, func(i *SnapshotInfo) { i.Clock.Guest = !i.Clock.Guest }},
		{"root", SnapshotProgram, func(i *SnapshotInfo) { i.Root.Path = "/elsewhere" }},
		{"bytes", SnapshotDamaged, func(i *SnapshotInfo) { i.Memory.Bytes += 4096 }},
		{"impossible", SnapshotDamaged, func(i *SnapshotInfo) { i.Memory.Bytes = 0 }},
		{"impossible", SnapshotDamaged, func(i *SnapshotInfo) { i.Memory.Bytes = 1 << 63 }},
		{"impossible", SnapshotDamaged, func(i *SnapshotInfo) { i.State.Bytes = 1 << 40 }},
		{"impossible", SnapshotDamaged, func(i *SnapshotInfo) { i.Pages.Bytes = 1<<64 - 1 }},
		{"no sense", SnapshotDamaged, func(i *SnapshotInfo) { i.Used = 1 << 50 }},
		{"memory was changed", SnapshotDamaged, func(i *SnapshotInfo) { i.Memory.SHA256 = i.State.SHA256 }},
		{"state was changed", SnapshotDamaged, func(i *SnapshotInfo) { i.State.SHA256 = i.Memory.SHA256 }},
	} {
		loaded, err := h.LoadSnapshot(p, Limits{}, forge(t, file, tt.change))
		if err == nil {
			_ = loaded.Close()
		}
		var e *SnapshotError
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("a file that is right: %v", err)
		case tt.want != "" && (!errors.As(err, &e) || e.Reason != tt.want || !strings.Contains(err.Error(), tt.detail)):
			t.Errorf("%s, %q: %v", tt.want, tt.detail, err)
		}
	}
}

// A state that makes no sense, in a file whose checksums are right, is refused, or
// gives clones that cannot be made; the monitor goes on.
func TestSnapshotAbsurd(t *testing.T) {
	h, p, s := hostAndProgram(t)
	state, err := stateTypes().Encode(&savedState{Snapshot: s})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	refusedStates, failed, cloned := 0, 0, 0
	for range 600 {
		bad := slices.Clone(state)
		for range 1 + random.IntN(3) {
			bad[random.IntN(len(bad))] = byte(random.Uint32())
		}
		loaded, err := restored(p, s.image, bad, h.p.Features())
		if err != nil {
			refusedStates++
			continue
		}
		loaded.fromDisk = true
		vm, err := h.Clone(loaded, Limits{Wall: time.Second})
		if err != nil {
			failed++
			continue
		}
		cloned++
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d states were refused, %d could not be cloned, %d could", refusedStates, failed, cloned)
	if refusedStates == 0 || cloned == 0 {
		t.Error("this shows nothing")
	}
}
