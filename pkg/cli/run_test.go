// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec"
)

// testTimeout is more than any of these tests needs.
const testTimeout = 5 * time.Second

// callRun runs `kontain run` with a made-up virtual machine.
func callRun(t *testing.T, run runFunc, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := newRun(Streams{In: strings.NewReader("input"), Out: &out, Err: &errs}, run)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	status = report(&errs, cmd.ExecuteContext(testContext(t)))
	return status, out.String(), errs.String()
}

// specOf returns what `kontain run` would run.
func specOf(t *testing.T, args ...string) runSpec {
	t.Helper()
	var got runSpec
	status, _, stderr := callRun(t, func(_ context.Context, spec runSpec, _ vmexec.IO) (*vmexec.Result, error) {
		got = spec
		return &vmexec.Result{}, nil
	}, args...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	return got
}

func TestRunSpec(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program(t, filepath.Join(dir, "usr/bin/tool"))
	program(t, filepath.Join(dir, "opt/tool"))
	program(t, filepath.Join(dir, "hello"))
	if err := os.Symlink("/no/such/target", filepath.Join(dir, "usr/bin/link")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+"/opt")
	t.Setenv("KONTAIN_TEST_PASSED", "on")
	defaultEnv := []string{"PATH=" + guestPath, "HOME=/"}
	limits := vmexec.Limits{Memory: 128 << 20}

	tests := []struct {
		name string
		args []string
		want runSpec
	}{
		{
			"absolute",
			[]string{"--", dir + "/hello", "-a", "--stats"},
			runSpec{Platform: vmexec.Auto, Path: dir + "/hello", Args: []string{dir + "/hello", "-a", "--stats"}, Env: defaultEnv, Dir: "/", Limits: limits},
		},
		{
			"flags end at the program",
			[]string{dir + "/hello", "--memory", "x"},
			runSpec{Platform: vmexec.Auto, Path: dir + "/hello", Args: []string{dir + "/hello", "--memory", "x"}, Env: defaultEnv, Dir: "/", Limits: limits},
		},
		{
			"name from PATH",
			[]string{"--", "tool"},
			runSpec{Platform: vmexec.Auto, Path: dir + "/opt/tool", Args: []string{"tool"}, Env: defaultEnv, Dir: "/", Limits: limits},
		},
		{
			"all flags",
			[]string{"--platform", "kvm", "--memory", "64Mi", "--timeout", "1500ms", "--cwd", "/tmp", "-e", "A=1=2", "-e", "A=3", "-e", "KONTAIN_TEST_PASSED", "-e", "KONTAIN_TEST_UNSET", "-e", "PATH=/x", "--", dir + "/hello"},
			runSpec{
				Platform: vmexec.KVM, Path: dir + "/hello", Args: []string{dir + "/hello"}, Dir: "/tmp",
				Env:    []string{"PATH=/x", "HOME=/", "A=3", "KONTAIN_TEST_PASSED=on"},
				Limits: vmexec.Limits{Memory: 64 << 20, Wall: 1500 * time.Millisecond},
			},
		},
		{
			"root, name from the guest's PATH",
			[]string{"--root", dir, "--", "tool"},
			runSpec{Platform: vmexec.Auto, Root: dir, Path: "/usr/bin/tool", Args: []string{"tool"}, Env: defaultEnv, Dir: "/", Limits: limits},
		},
		{
			"root, link left to the machine",
			[]string{"--root", dir, "--", "link"},
			runSpec{Platform: vmexec.Auto, Root: dir, Path: "/usr/bin/link", Args: []string{"link"}, Env: defaultEnv, Dir: "/", Limits: limits},
		},
		{
			"root, relative path from cwd",
			[]string{"--root", dir, "--cwd", "/usr", "--", "bin/../bin/tool"},
			runSpec{Platform: vmexec.Auto, Root: dir, Path: "/usr/bin/tool", Args: []string{"bin/../bin/tool"}, Env: defaultEnv, Dir: "/usr", Limits: limits},
		},
		{
			"this machine's root keeps the current folder",
			[]string{"--root", "/", "--", "./x"},
			runSpec{Platform: vmexec.Auto, Root: "/", Path: filepath.Join(wd, "x"), Args: []string{"./x"}, Env: defaultEnv, Dir: wd, Limits: limits},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, specOf(t, test.args...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func program(t *testing.T, file string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestRunEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		result *vmexec.Result
		err    error
		status int
		stderr string // part of it; empty: nothing at all
	}{
		{"success", &vmexec.Result{}, nil, 0, ""},
		{"exit status", &vmexec.Result{Status: 7, Message: "exit status 7"}, nil, 7, ""},
		{
			"page fault",
			&vmexec.Result{Reason: vmexec.Signaled, Death: &vmexec.Death{Signal: int(syscall.SIGSEGV), Vector: 14, RIP: 0x401000, Addr: 0x10}},
			nil, 139, "killed by SIGSEGV at rip 0x401000, page fault at address 0x10",
		},
		{
			"abort",
			&vmexec.Result{Reason: vmexec.Signaled, Death: &vmexec.Death{Signal: int(syscall.SIGABRT), Vector: -1, RIP: 0x401000}},
			nil, 134, "killed by SIGABRT at rip 0x401000\n",
		},
		{"wall", &vmexec.Result{Reason: vmexec.WallLimit, Message: "ran longer than 2s"}, nil, 137, "ran longer than 2s"},
		{"memory", &vmexec.Result{Reason: vmexec.MemoryLimit}, nil, 137, "ended: memory limit"},
		{
			"no platform", nil,
			&vmexec.UnavailableError{Platform: vmexec.KVM, Reason: "no /dev/kvm"},
			ExitMonitor, "no /dev/kvm; `kontain doctor` says",
		},
		{"not ELF", nil, &vmexec.ProgramError{Path: "/x", Reason: "not an ELF file"}, ExitNotExec, "cannot run /x: not an ELF file"},
		{"gone", nil, &vmexec.ProgramError{Path: "/x", Reason: "open", Err: fs.ErrNotExist}, ExitNoProg, "file does not exist"},
		{"monitor", nil, errors.New("KVM_RUN: device on fire"), ExitMonitor, "run: KVM_RUN: device on fire"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := callRun(t, func(context.Context, runSpec, vmexec.IO) (*vmexec.Result, error) {
				return test.result, test.err
			}, "--", self)
			if status != test.status || stdout != "" {
				t.Errorf("status %d, stdout %q; want status %d and nothing", status, stdout, test.status)
			}
			if !strings.Contains(stderr, test.stderr) || (test.stderr == "") != (stderr == "") {
				t.Errorf("stderr %q, want %q in it", stderr, test.stderr)
			}
		})
	}
}

func TestRunProgramNotFound(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"in PATH", []string{"--", "no-such-program-anywhere"}, ExitNoProg, "no-such-program-anywhere: executable file not found in $PATH"},
		{"by path", []string{"--", dir + "/absent"}, ExitNoProg, "no such file"},
		{"no execute permission", []string{"--", dir + "/data"}, ExitNotExec, "permission denied"},
		{"folder", []string{"--", dir}, ExitNotExec, "is a directory"},
		{"in root", []string{"--root", dir, "--", "absent"}, ExitNoProg, "absent: not found in " + guestPath},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, _, stderr := callRun(t, nil, test.args...)
			if status != test.status || !strings.Contains(stderr, test.stderr) {
				t.Errorf("status %d, stderr %q; want %d, %q", status, stderr, test.status, test.stderr)
			}
		})
	}
}

func TestRunStreams(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := callRun(t, func(_ context.Context, _ runSpec, std vmexec.IO) (*vmexec.Result, error) {
		b := make([]byte, 100)
		n, err := std.Stdin.Read(b)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(std.Stdout, "read %s", b[:n])
		fmt.Fprint(std.Stderr, "log")
		return &vmexec.Result{}, nil
	}, "--", self)
	if status != 0 || stdout != "read input" || stderr != "log" {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// TestRunSignal sends the test itself a SIGTERM, which `kontain run` turns into
// the end of its program.
func TestRunSignal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr := callRun(t, func(ctx context.Context, _ runSpec, _ vmexec.IO) (*vmexec.Result, error) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return &vmexec.Result{Reason: vmexec.Canceled}, nil
	}, "--", self)
	if status != 128+int(syscall.SIGTERM) || !strings.Contains(stderr, "ended: canceled") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestRunStats(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(context.Context, runSpec, vmexec.IO) (*vmexec.Result, error) {
		return &vmexec.Result{
			Reason: vmexec.Signaled, Message: "killed",
			Death: &vmexec.Death{Signal: 11, Vector: 14, ErrorCode: 6, RIP: 0x1000, Addr: 0x2000},
			Stats: vmexec.Stats{
				Exits:       12,
				Syscalls:    map[string]uint64{"write": 1, "brk": 4, "exit_group": 1},
				Unsupported: map[string]uint64{"io_uring_setup": 2},
				Exceptions:  map[string]uint64{"#PF": 3},
				PageFaults:  3, PeakPages: 24, Threads: 1,
				Create: 300 * time.Microsecond, Load: 40 * time.Microsecond, Run: 2 * time.Millisecond,
			},
		}, nil
	}
	status, _, stderr := callRun(t, run, "--stats", "--", self)
	want := `
ended                            signaled, status 139
create VM                        300µs
load program                     40µs
run                              2ms
peak memory                      24 pages (96 KiB)
threads                          1 at most, 0 switches
signals delivered                0
exits                            12
  kicks                          0
  page faults served             3
  exception #PF                  3
  call brk                       4
  call exit_group                1
  call write                     1
unsupported call io_uring_setup  2
`
	if status != 139 {
		t.Errorf("status %d, want 139", status)
	}
	if diff := cmp.Diff("kontain: "+self+": killed\n"+want, stderr); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	_, _, stderr = callRun(t, run, "--stats", "--output", "json", "--", self)
	_, text, _ := strings.Cut(stderr, "\n") // the line for a person
	var got runReport
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if got.Status != 139 || got.Death == nil || got.Death.Addr != "0x2000" || got.Stats.Syscalls["brk"] != 4 {
		t.Errorf("got %+v", got)
	}
}
