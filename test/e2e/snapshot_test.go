// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What `kontain serve` logs.
const (
	logLoaded  = "the snapshot was loaded from disk, so the program was not started"
	logSaved   = "the snapshot was saved"
	logNotUsed = "the snapshot on disk is not used"
)

// After a restart no program is started: the snapshot comes from disk, until the
// program, or the file, is no longer what it was.
func TestSnapshotOnDisk(t *testing.T) {
	for _, platform := range []string{"auto", "ptrace"} {
		t.Run(platform, func(t *testing.T) {
			if platform == "auto" {
				needKVM(t)
			}
			dir, store := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
			program := filepath.Join(dir, "uppercase")
			copyProgram(t, uppercase, program, false)
			sink(t, dir, "upper", program, nil, "isolation: VM")
			start := func() *server {
				return serve(t, dir, "--platform", platform, "--snapshot-dir", store)
			}
			ask := func(s *server, want string) {
				t.Helper()
				a, err := do(newClient(t), newEvent(t.Context(), s.sink("upper"), "1", `{"text":"hello"}`))
				if err != nil || a.status != 200 || !strings.Contains(a.body, want) {
					t.Fatalf("%+v %v", a, err)
				}
			}
			saved := func(s *server) {
				t.Helper()
				eventually(t, "the snapshot to be saved", func() bool { return strings.Contains(s.stderr.String(), logSaved) })
			}
			files := func() []string {
				t.Helper()
				list, err := filepath.Glob(filepath.Join(store, "*.snapshot"))
				if err != nil {
					t.Fatal(err)
				}
				return list
			}

			s := start()
			ask(s, "HELLO")
			saved(s)
			s.stop()
			if log := s.stderr.String(); strings.Contains(log, logLoaded) || len(files()) != 1 {
				t.Fatalf("the first start: %v in the store; %s", files(), log)
			}

			s = start()
			ask(s, "HELLO")
			s.stop()
			if log := s.stderr.String(); !strings.Contains(log, logLoaded) || strings.Contains(log, logSaved) || len(files()) != 1 {
				t.Fatalf("the second start: %v in the store; %s", files(), log)
			}

			// A file that was changed is not used, and replaced.
			file := files()[0]
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s = start()
			ask(s, "HELLO")
			saved(s)
			s.stop()
			if log := s.stderr.String(); !strings.Contains(log, logNotUsed) || !strings.Contains(log, "was changed") || strings.Contains(log, logLoaded) {
				t.Fatalf("with a damaged file: %s", log)
			}

			// Nor is that of a program that was built anew.
			copyProgram(t, guest, program, true)
			sink(t, dir, "upper", program, []string{"cat"}, "isolation: VM")
			s = start()
			saved(s)
			s.stop()
			if log := s.stderr.String(); strings.Contains(log, logLoaded) || len(files()) != 2 {
				t.Errorf("with another program: %v in the store; %s", files(), log)
			}
		})
	}
}

// What is to be in memory is nowhere else, and a folder that cannot be used does not
// keep sinks from being served.
func TestSnapshotInMemory(t *testing.T) {
	needKVM(t)
	dir, store := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	sink(t, dir, "upper", uppercase, nil, onClones)
	s := serve(t, dir, "--snapshot-dir", store)
	a, err := do(newClient(t), newEvent(t.Context(), s.sink("upper"), "1", `{"text":"hello"}`))
	if err != nil || a.status != 200 {
		t.Fatalf("%+v %v", a, err)
	}
	s.stop()
	if files, err := os.ReadDir(store); err != nil || len(files) > 0 || strings.Contains(s.stderr.String(), logSaved) {
		t.Errorf("%v %v", files, err)
	}

	sink(t, dir, "upper", uppercase, nil, "isolation: VM")
	if err := os.Chmod(store, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KONTAIN_SNAPSHOT_DIR", store)
	s = serve(t, dir)
	if a, err = do(newClient(t), newEvent(t.Context(), s.sink("upper"), "1", `{"text":"hello"}`)); err != nil || a.status != 200 {
		t.Fatalf("%+v %v", a, err)
	}
	s.stop()
	if log := s.stderr.String(); !strings.Contains(log, "others may use it") {
		t.Errorf("a folder that others may use: %s", log)
	}
}

// Events that warm up run before others, and a failing one is told of.
func TestWarmup(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	event := `{specversion: "1.0", id: warm, source: /e2e, type: t, data: {text: warm}}`
	sink(t, dir, "upper", uppercase, nil, "isolation: VM", "snapshot: {storage: Memory, warmup: ["+event+"]}")
	sink(t, dir, "refused", uppercase, nil, "isolation: Reset", "snapshot: {storage: Memory, warmup: [{specversion: \"1.0\", id: warm, source: /e2e, type: t, data: 5}]}")
	s := serve(t, dir)
	a, err := do(newClient(t), newEvent(t.Context(), s.sink("upper"), "1", `{"text":"hello"}`))
	if err != nil || a.status != 200 || !strings.Contains(a.body, "HELLO") || strings.Contains(a.body, "WARM") {
		t.Fatalf("%+v %v", a, err)
	}
	s.stop()
	const failed = "an event that warms up failed"
	if log := s.stderr.String(); strings.Count(log, failed) != 1 || !strings.Contains(log, "exit status 65") {
		t.Errorf("%s", log)
	}
}

// The commands make a snapshot, show it, run it, and remove it.
func TestSnapshotCommands(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KONTAIN_SNAPSHOT_DIR", filepath.Join(dir, "store"))
	sink(t, dir, "upper", uppercase, nil, "isolation: VM")
	file := filepath.Join(dir, "upper.snapshot")
	event := `{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"text":"hello"}}`
	for _, c := range []struct {
		args   string
		stdin  string
		status int
		want   string // in stdout or stderr
	}{
		{args: "snapshot create", status: 2, want: "nothing to make a snapshot of"},
		{args: "snapshot create -o " + file + " -- " + uppercase, want: file},
		{args: "snapshot inspect " + file, want: "(this one)"},
		{args: "snapshot inspect --output json " + file, want: `"sha256"`},
		{args: "snapshot run " + file, stdin: event, want: "HELLO"},
		{args: "snapshot run " + file, stdin: "no event", status: 65},
		{args: "snapshot run " + uppercase, status: 125, want: "snapshot " + uppercase},
		{args: "snapshot run nothing", status: 125, want: "there is no file nothing"},
		{args: "snapshot create -f " + filepath.Join(dir, "upper.yaml"), want: filepath.Join(dir, "store")},
		{args: "snapshot ls", want: uppercase},
		{args: "snapshot gc", want: "in 1 files kept"},
		{args: "snapshot rm", status: 2, want: "give the keys"},
		{args: "snapshot rm --all", want: "in 0 files kept"},
	} {
		cmd := exec.Command(kontain, strings.Fields(c.args)...)
		cmd.Stdin = strings.NewReader(c.stdin)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, want status %d and %q:\n%s", c.args, err, c.status, c.want, out)
		}
	}
}
