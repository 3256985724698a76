// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/vmexec"
)

// standInOfKM takes the command line of km and runs the program as a process.
const standInOfKM = "#!/bin/sh\nwhile [ \"$1\" = --putenv ]; do export \"$2\"; shift 2; done\nexec \"$@\"\n"

func kmSpec(t *testing.T) (monitor string, spec Spec) {
	t.Helper()
	dir := t.TempDir()
	monitor = filepath.Join(dir, "km")
	program := filepath.Join(dir, "program")
	for path, text := range map[string]string{monitor: standInOfKM, program: "#!/bin/sh\necho \"$1 $A $B $CE_ID\"; exec /bin/cat\n"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return monitor, Spec{
		Program: program, Args: []string{"first"}, Env: []string{"A=a", "B=sink"}, Tier: TierProcess,
		Limits: vmexec.Limits{Memory: 64 << 20, Wall: 20 * time.Second},
	}
}

func TestKM(t *testing.T) {
	monitor, spec := kmSpec(t)
	memory := NewMemory(100 << 20)
	s, err := NewKM(monitor, memory, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	vm, err := s.Lease(t.Context(), Request{Env: []string{"B=event", "CE_ID=1"}})
	if err != nil {
		t.Fatal(err)
	}
	// There is memory for one.
	if _, err := s.Lease(t.Context(), Request{Deadline: time.Now().Add(10 * time.Millisecond)}); !errors.Is(err, ErrTimeout) {
		t.Errorf("a second one: %v, want ErrTimeout", err)
	}
	if st := s.Stats(); st.Tier != TierProcess || st.Snapshot || st.Alive != 1 || st.Made != 1 {
		t.Errorf("%+v", st)
	}
	r, err := vm.Run(t.Context(), vmexec.IO{Event: []byte("the event")})
	if err != nil || r.Reason != vmexec.Exited || r.Status != 0 || string(r.Stdout) != "first a event 1\nthe event" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := vm.Run(t.Context(), vmexec.IO{}); err == nil {
		t.Error("it ran twice")
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if vm, err = s.Lease(t.Context(), Request{Deadline: time.Now().Add(20 * time.Second)}); err != nil {
		t.Fatalf("the memory was not given back: %v", err)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Alive != 0 || st.Made != 2 {
		t.Errorf("%+v", st)
	}
}

func TestKMRefuses(t *testing.T) {
	monitor, good := kmSpec(t)
	for _, tt := range []struct {
		name, says string
		change     func(*Spec)
	}{
		{"snapshot", "no snapshot", func(s *Spec) { s.Snapshot = true }},
		{"tier", "a process for each event", func(s *Spec) { s.Tier = TierVM }},
		{"root", "its files", func(s *Spec) { s.Root = "/" }},
		{"folder", "not a regular file", func(s *Spec) { s.Program = filepath.Dir(s.Program) }},
		{"missing", "could not be opened", func(s *Spec) { s.Program += "-missing" }},
		{"memory", "", func(s *Spec) { s.Limits.Memory = 1 << 40 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := good
			tt.change(&spec)
			if s, err := NewKM(monitor, NewMemory(100<<20), spec); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, %v; want %q", s, err, tt.says)
			}
		})
	}
	if err := os.Chmod(good.Program, 0o644); err != nil {
		t.Fatal(err)
	}
	var pe *vmexec.ProgramError
	if _, err := NewKM(monitor, NewMemory(100<<20), good); !errors.As(err, &pe) || !strings.Contains(err.Error(), "chmod +x") {
		t.Errorf("not executable: %v", err)
	}
}

func TestInPlace(t *testing.T) {
	env := []string{"A=1", "B=2", "AB=3"}
	if got, want := inPlace(env, []string{"A=4", "C=5"}), []string{"B=2", "AB=3", "A=4", "C=5"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if !slices.Equal(env, []string{"A=1", "B=2", "AB=3"}) {
		t.Errorf("%q was changed", env)
	}
}
