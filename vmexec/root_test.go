// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is no program is refused at once; above all a named pipe, which nobody
// may ever open at its other end.
func TestProgramRootRefuses(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		make func(path string) error
		says string
	}{
		{"missing", func(string) error { return nil }, "no such file"},
		{"folder", func(p string) error { return os.Mkdir(p, 0o755) }, "a directory"},
		{"pipe", func(p string) error { return unix.Mkfifo(p, 0o755) }, "a named pipe"},
		{"not executable", func(p string) error { return os.WriteFile(p, nil, 0o644) }, "chmod +x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := ProgramRoot(path)
			var pe *ProgramError
			if !errors.As(err, &pe) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want a *ProgramError that says %q", err, tt.says)
			}
		})
	}
}
