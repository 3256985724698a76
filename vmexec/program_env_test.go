// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgramWithEnv(t *testing.T) {
	p := &Program{spec: ProgramSpec{Path: "/p", Env: []string{"A=1", "B=2"}}, exe: executable{owned: true}, interp: &executable{owned: true}}
	q, err := p.WithEnv([]string{"B=3", "C=4=5"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"A=1", "B=3", "C=4=5"}, q.spec.Env); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"A=1", "B=2"}, p.spec.Env); d != "" {
		t.Errorf("the program itself changed (-want +got):\n%s", d)
	}
	if err := q.Close(); err != nil {
		t.Errorf("Close of a program that owns nothing: %v", err)
	}
	if !p.exe.owned || !p.interp.owned {
		t.Error("the program no longer owns its files")
	}
	for _, bad := range []string{"", "A", "=x", "A=\x00"} {
		var pe *ProgramError
		if _, err := p.WithEnv([]string{bad}); !errors.As(err, &pe) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
