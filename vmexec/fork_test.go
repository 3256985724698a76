// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// TestForkMany holds that processes leave nothing behind, in the machine and on the
// host, and that a program which makes too many of them is refused and goes on.
func TestForkMany(t *testing.T) {
	elf := buildGuest(t, "fork_many", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		many := "10000"
		if testing.Short() || h.Kind() == vmexec.Ptrace {
			many = "1200"
		}
		for _, c := range []struct {
			name   string
			args   []string
			limits vmexec.Limits
			want   string
		}{
			{"many", []string{"fork_many", many}, vmexec.Limits{Memory: 16 << 20}, "lost 0 pages\ndone\n"},
			{"bomb", []string{"fork_many", "0", "bomb"}, vmexec.Limits{Threads: 100}, "refused after some: 1\nlost 0 pages\ndone\n"},
			{"bomb of memory", []string{"fork_many", "0", "bomb"}, vmexec.Limits{Threads: 60, Memory: 8 << 20}, "refused after some: 1\nlost 0 pages\ndone\n"},
		} {
			t.Run(c.name, func(t *testing.T) {
				c.limits.Wall = 5 * time.Minute
				p := programOf(t, elf, c.args)
				before := measure(t)
				r := run(context.Background(), t, h, p, c.limits, vmexec.IO{})
				if r.Reason != vmexec.Exited || r.Status != 0 || string(r.Stdout) != c.want {
					t.Errorf("%v, status %d, %s: %q", r.Reason, r.Status, r.Message, r.Stdout)
				}
				if after := measure(t); after.descriptors > before.descriptors || after.threads > before.threads+2 {
					t.Errorf("before: %v\nafter:  %v", before, after)
				}
			})
		}
	})
}

// TestScript holds that a script is started by its interpreter, and says what is wrong
// with one that cannot be.
func TestScript(t *testing.T) {
	elf := buildGuest(t, "exec_scripts", build.Glibc)
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"interpreter": elf, "script": []byte("#!/interpreter with this\nrest\n"), "nested": []byte("#! /script\n"),
		"missing": []byte("#!/nothing\n"), "endless": []byte("#!/endless\n"), "empty": []byte("#!\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	root, err := vmexec.DirRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	for path, want := range map[string]string{
		"/missing": "cannot run /missing: it is a script for /nothing, but it could not be opened: no such file or directory",
		"/endless": "cannot run /endless: its interpreter is a script, whose interpreter is one, and so on",
		"/empty":   "cannot run /empty: not an ELF program",
	} {
		if p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: path}); err == nil {
			_ = p.Close()
			t.Errorf("%s: no error", path)
		} else if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		for path, want := range map[string]string{
			"/script": "  script, by /script: [/interpreter] [with this] [/script] [a] [b c]\n",
			"/nested": "  nested, by /nested: [/interpreter] [with this] [/script] [/nested] [a] [b c]\n",
		} {
			p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: path, Args: []string{"zero", "a", "b c"}, Env: []string{"SHOW=1"}})
			if err != nil {
				t.Fatal(err)
			}
			r := run(context.Background(), t, h, p, vmexec.Limits{}, vmexec.IO{})
			if got := strings.ReplaceAll(string(r.Stdout), "(self)", "/interpreter"); got != want {
				t.Errorf("%s: %q, want %q; %s", path, got, want, r.Message)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
