// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kontain.dev/eventing/vmexec"
)

func TestNewFreshRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		spec Spec
		says string
	}{
		{"missing", Spec{Program: filepath.Join(dir, "missing")}, "missing"},
		{"not ELF", Spec{Program: text}, "ELF"},
		{"outside of root", Spec{Program: text, Root: filepath.Join(dir, "root")}, "not inside the root"},
		{"beside root", Spec{Program: dir + "x/text", Root: dir}, "not inside the root"},
		{"not ELF in root", Spec{Program: text, Root: dir}, "ELF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewFresh(nil, NewMemory(1<<40), tt.spec)
			var pe *vmexec.ProgramError
			if !errors.As(err, &pe) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v (%T), want a *vmexec.ProgramError with %q", err, err, tt.says)
			}
		})
	}
}

func TestLeaseOfDoneContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&fresh{memory: NewMemory(0)}).Lease(ctx, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
