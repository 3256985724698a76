// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/test/guests/build"
)

// mayDiffer are the fields in which a machine that was reset may differ from a new
// clone, and why. All others are compared, whatever they are.
var mayDiffer = map[string]string{
	"VM.machine":    "what is in the processor is loaded before the next run; TestLeakState looks at it",
	"VM.generation": "another number each time, on purpose",
	"VM.create":     "a measurement",
	"VM.reset":      "a measurement",
	"VM.dirty":      "a measurement",

	"task.Kernel.Clock":   "from when the copy was made",
	"task.Kernel.procs":   "by number; the first process leads to the others",
	"task.Kernel.machine": "as VM.machine",
	"task.Process.PID":    "another number each time, on purpose",
	"task.Process.PGID":   "as PID",
	"task.Process.SID":    "as PID",

	"guestmem.Memory.host":  "the memory itself; Verify looks at it",
	"guestmem.Memory.slots": "memory that the machine was told of stays so; Verify looks at what is mapped",
	"guestmem.shared.fd":    "a descriptor of the host",
	"guestmem.Memory.used":  "page tables that an event made are kept, empty, for the next; testKernelState looks at it",
	"guestmem.Memory.peak":  "as used",
	"guestmem.clone.usedAt": "as used",
	"guestmem.clone.table":  "as used",
	"guestmem.clone.dirty":  "what the last reset copied back",
	"vfs.lowerCache.slots":  "open files of the read-only root, kept for the next event",
	"vfs.lowerCache.clock":  "as slots",
	"mm.MM.tables":          "as guestmem.Memory.used",
	"mm.MM.fresh":           "scratch, emptied before each use",
	"mm.MM.touched":         "is never looked at",
}

// comparison walks two object graphs in step.
type comparison struct {
	seen    map[[2]uintptr]bool
	differ  []string
	objects int
	skipped map[string]bool   // of mayDiffer
	also    map[string]string // fields that may differ too, and why
}

func (c *comparison) report(path, format string, args ...any) {
	if len(c.differ) < 20 {
		c.differ = append(c.differ, path+": "+fmt.Sprintf(format, args...))
	}
}

func (c *comparison) compare(path string, a, b reflect.Value) {
	if a.IsValid() != b.IsValid() {
		c.report(path, "one is there, the other is not")
		return
	}
	if !a.IsValid() {
		return
	}
	if a.Type() != b.Type() {
		c.report(path, "types %s and %s", a.Type(), b.Type())
		return
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() || a.Pointer() == b.Pointer() {
			if a.IsNil() != b.IsNil() {
				c.report(path, "nil or not: %v, %v", a.IsNil(), b.IsNil())
			}
			return
		}
		key := [2]uintptr{a.Pointer(), b.Pointer()}
		if c.seen[key] {
			return
		}
		c.seen[key] = true
		c.objects++
		c.compare(path, a.Elem(), b.Elem())
	case reflect.Interface:
		c.compare(path, a.Elem(), b.Elem())
	case reflect.Struct:
		t := a.Type()
		for i := range t.NumField() {
			f := strings.TrimPrefix(t.String(), "vmexec.") + "." + t.Field(i).Name
			if _, ok := mayDiffer[f]; ok {
				c.skipped[f] = true
				continue
			}
			if _, ok := c.also[f]; ok {
				continue
			}
			c.compare(path+"."+t.Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			c.report(path, "lengths %d and %d", a.Len(), b.Len())
			return
		}
		if a.Kind() == reflect.Slice && a.Pointer() == b.Pointer() {
			return
		}
		for i := range a.Len() {
			c.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			c.report(path, "%d and %d entries", a.Len(), b.Len())
			return
		}
		if a.Type().Key().Kind() == reflect.Pointer && len(c.also) > 0 {
			return // of two snapshots; what the keys are is seen elsewhere
		}
		for it := a.MapRange(); it.Next(); {
			v := b.MapIndex(it.Key())
			if !v.IsValid() {
				c.report(path, "only one has the key %v", it.Key())
				continue
			}
			c.compare(fmt.Sprintf("%s[%v]", path, it.Key()), it.Value(), v)
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		if a.IsNil() != b.IsNil() {
			c.report(path, "nil or not: %v, %v", a.IsNil(), b.IsNil())
		}
	default:
		if !a.Equal(b) {
			c.report(path, "%v and %v", a, b)
		}
	}
}

func compareVMs(a, b *VM, skipped map[string]bool) *comparison {
	c := &comparison{seen: map[[2]uintptr]bool{}, skipped: skipped}
	c.compare("vm", reflect.ValueOf(a), reflect.ValueOf(b))
	return c
}

// TestKernelState compares everything that the monitor holds of a machine which ran
// an event and was reset with that of a clone that never ran, for each golden guest;
// and its memory with the snapshot.
func TestKernelState(t *testing.T) {
	src, err := filepath.Abs("../test/guests")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := build.Dir(src)
	if err != nil {
		t.Fatal(err)
	}
	list, err := build.Sources(src)
	if err != nil || len(list) == 0 {
		t.Fatalf("no guests in %s: %v", src, err)
	}
	built, err := build.All(t.Context(), src, dir, list)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []Kind{KVM, Ptrace} {
		t.Run(string(kind), func(t *testing.T) {
			h, err := Open(kind)
			var u *UnavailableError
			if errors.As(err, &u) && os.Getenv("VMEXEC_REQUIRE_"+strings.ToUpper(string(kind))) == "" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}()
			skipped := map[string]bool{}
			for _, g := range list {
				t.Run(string(g.Flavour)+"/"+g.Source, func(t *testing.T) {
					b := built[g]
					var missing *build.MissingToolError
					if errors.As(b.Err, &missing) && os.Getenv("KONTAIN_REQUIRE_TOOLS") != "1" {
						t.Skip(b.Err)
					}
					if b.Err != nil {
						t.Fatal(b.Err)
					}
					testKernelState(t, h, b.Path, skipped)
				})
			}
			for f := range mayDiffer {
				if kind == Ptrace && len(skipped) > 0 && !skipped[f] {
					t.Errorf("there is no field %s: take it out of the list", f)
				}
			}
		})
	}
}

func testKernelState(t *testing.T, h *Host, program string, skipped map[string]bool) {
	root, err := ProgramRoot(program)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p, err := NewProgram(ProgramSpec{Root: root, Path: program, Env: []string{"GUEST_WAIT=1", "HOME=/tmp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l := Limits{Wall: 20 * time.Second, Memory: 256 << 20, Output: 8 << 20}
	s, err := h.NewSnapshot(t.Context(), p, l, Wait{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	clone := func() *VM {
		vm, err := h.Clone(s, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { vm.Close() })
		return vm
	}
	// What is written and compared is above the platform.
	if h.Kind() == KVM || len(program)%4 == 0 {
		testOnDisk(t, h, s, p, l)
	}
	reset := clone()
	for range 2 {
		r, err := reset.Run(context.Background(), IO{Event: []byte("\nan event\n")})
		if err != nil {
			t.Fatal(err)
		}
		if r.Reason != Exited {
			t.Skipf("it ends by %s, so its machine is not reset: %s", r.Reason, r.Message)
		}
		if c := compareVMs(clone(), reset, skipped); len(c.differ) == 0 {
			t.Error("the comparison does not see what a run leaves")
		}
		if err := reset.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := reset.Verify(); err != nil {
			t.Error(err)
		}
		fresh := clone()
		c := compareVMs(fresh, reset, skipped)
		if len(c.differ) > 0 {
			t.Errorf("a new clone and one that was reset:\n%s", strings.Join(c.differ, "\n"))
		}
		tables := func(vm *VM) int { return reflect.ValueOf(vm.kernel.Init.MM).Elem().FieldByName("tables").Len() }
		if a, b := fresh.mem.Used()-uint64(tables(fresh)), reset.mem.Used()-uint64(tables(reset)); a != b {
			t.Errorf("pages in use besides page tables: %d and %d", a, b)
		}
		if c.objects < 20 {
			t.Errorf("only %d objects were compared", c.objects)
		}
		for i, a := range fresh.kernel.Init.Threads {
			b := reset.kernel.Init.Threads[i]
			if a.Ctx.Regs != b.Ctx.Regs || a.Ctx.FSBase != b.Ctx.FSBase || !bytes.Equal(a.Ctx.FP[:], b.Ctx.FP[:]) {
				t.Errorf("registers of thread %d: %+v and %+v", a.TID, a.Ctx, b.Ctx)
			}
		}
	}
}
