// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package km

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// No test here runs a Kontain monitor: the newest one does not work with the kernels
// that this project is tested on. A stand-in takes its command line, as km's parser
// does, and runs the program as a process. What is tested is how a monitor is found,
// started, limited and stopped.

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "km":
		standIn()
	case "guest":
		guest()
	default:
		goleak.VerifyTestMain(m)
	}
}

// standIn is the monitor of these tests.
func standIn() {
	args, env := os.Args[1:], []string(nil)
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "--putenv" && len(args) > 1 && strings.Contains(args[1], "="):
			env = append(env, args[1])
			args = args[2:]
		case args[0] == "--version":
			fmt.Fprintln(os.Stderr, "Kontain Monitor version 0.0-stand-in\nBranch: none")
			os.Exit(0)
		default:
			fmt.Fprintln(os.Stderr, "stand-in of km: unknown option", args[0])
			os.Exit(1)
		}
	}
	if env == nil { // as km does without --putenv
		env = os.Environ()
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "stand-in of km: no program")
		os.Exit(1)
	}
	err := syscall.Exec(args[0], args, env)
	fmt.Fprintln(os.Stderr, "stand-in of km:", err)
	os.Exit(1)
}

// guest is the program of these tests.
func guest() {
	n := func() int {
		n, err := strconv.Atoi(os.Args[2])
		if err != nil {
			panic(err)
		}
		return n
	}
	switch os.Args[1] {
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "show":
		fmt.Printf("%q %q", os.Args[1:], os.Environ())
	case "exit":
		fmt.Fprintln(os.Stderr, "the reason why")
		os.Exit(n())
	case "die":
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		time.Sleep(time.Minute)
	case "print":
		fmt.Print(strings.Repeat("x", n()))
	case "flood":
		for line := strings.Repeat("x", 4096); ; {
			if _, err := os.Stdout.WriteString(line); err != nil {
				os.Exit(1)
			}
		}
	case "stderr":
		for i := range 100_000 {
			fmt.Fprintln(os.Stderr, i)
		}
	case "sleep":
		time.Sleep(time.Minute)
	case "stubborn": // to SIGTERM
		signal.Ignore(unix.SIGTERM)
		fmt.Print("stubborn")
		time.Sleep(time.Minute)
	case "polite":
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGTERM)
		fmt.Print("waits ")
		<-c
		fmt.Print("goodbye")
	case "memory", "children":
		if os.Args[1] == "children" {
			child(os.Args[0], "memory", os.Args[2])
			time.Sleep(time.Minute)
		}
		b := make([]byte, n()<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		time.Sleep(time.Minute)
		_ = b[0]
	case "leave": // a process behind, which has its stdout
		fmt.Print(child(os.Args[0], "sleep"))
	case "escape": // from the process group
		cmd := exec.Command(os.Args[0], "sleep")
		cmd.Stdout, cmd.SysProcAttr = os.Stdout, &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Print(cmd.Process.Pid)
	}
	os.Exit(0)
}

// child starts the guest as another process, and returns its number.
func child(args ...string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout = os.Stdout
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd.Process.Pid
}

// setup returns how to run the guest under the stand-in.
func setup(t *testing.T, args ...string) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"km", "guest"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return Config{
		Monitor: filepath.Join(dir, "km"), Program: filepath.Join(dir, "guest"), Args: args, Env: []string{"A=1"},
		Limits: vmexec.Limits{Wall: 20 * time.Second, Memory: 1 << 30},
	}
}

func TestRun(t *testing.T) {
	large := strings.Repeat("event ", 100_000)
	for _, tt := range []struct {
		name   string
		args   []string
		event  string
		limits vmexec.Limits
		want   vmexec.Result // Message and Stderr: what is in them
	}{
		{name: "answers", args: []string{"cat"}, event: "an event", want: vmexec.Result{Stdout: []byte("an event")}},
		{name: "answers much", args: []string{"cat"}, event: large, want: vmexec.Result{Stdout: []byte(large)}},
		{name: "does not read", args: []string{"print", "2"}, event: large, want: vmexec.Result{Stdout: []byte("xx")}},
		{name: "arguments and environment", args: []string{"show", "--putenv", "-x", ""}, want: vmexec.Result{Stdout: []byte(`["show" "--putenv" "-x" ""] ["A=1"]`)}},
		{name: "exits", args: []string{"exit", "65"}, want: vmexec.Result{Status: 65, Message: "exit status 65", Stderr: []byte("the reason why")}},
		{name: "dies", args: []string{"die"}, want: vmexec.Result{Reason: vmexec.Signaled, Death: &vmexec.Death{Signal: 9, Vector: -1}, Message: "SIGKILL"}},
		{name: "is no program", args: nil, want: vmexec.Result{Status: 1, Message: "exit status 1", Stderr: []byte("stand-in of km")}},
		{
			name: "writes as much as it may", args: []string{"print", "1000"}, limits: vmexec.Limits{Output: 1000},
			want: vmexec.Result{Stdout: []byte(strings.Repeat("x", 1000))},
		},
		{
			name: "writes a byte too much and ends", args: []string{"print", "1001"}, limits: vmexec.Limits{Output: 1000},
			want: vmexec.Result{Reason: vmexec.OutputLimit, Message: "more than the 1000 bytes", Stdout: []byte(strings.Repeat("x", 1000))},
		},
		{
			name: "writes without end", args: []string{"flood"}, limits: vmexec.Limits{Output: 1000},
			want: vmexec.Result{Reason: vmexec.OutputLimit, Message: "more than the 1000 bytes", Stdout: []byte(strings.Repeat("x", 1000))},
		},
		{name: "ends of stderr", args: []string{"stderr"}, limits: vmexec.Limits{Output: 6}, want: vmexec.Result{Stderr: []byte("99999\n")}},
		{name: "takes too long", args: []string{"sleep"}, limits: vmexec.Limits{Wall: 50 * time.Millisecond}, want: vmexec.Result{Reason: vmexec.WallLimit, Message: "time limit of 50ms"}},
		{
			name: "does not listen to SIGTERM", args: []string{"stubborn"}, limits: vmexec.Limits{Wall: time.Second},
			want: vmexec.Result{Reason: vmexec.WallLimit, Message: "time limit", Stdout: []byte("stubborn")},
		},
		{
			name: "says goodbye", args: []string{"polite"}, limits: vmexec.Limits{Wall: time.Second},
			want: vmexec.Result{Reason: vmexec.WallLimit, Message: "time limit", Stdout: []byte("waits goodbye")},
		},
		{
			name: "needs too much memory", args: []string{"memory", "200"}, limits: vmexec.Limits{Memory: 64 << 20},
			want: vmexec.Result{Reason: vmexec.MemoryLimit, Message: "memory limit of 64 MiB"},
		},
		{
			name: "has a child that needs too much memory", args: []string{"children", "200"}, limits: vmexec.Limits{Memory: 64 << 20},
			want: vmexec.Result{Reason: vmexec.MemoryLimit, Message: "memory limit of 64 MiB"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := setup(t, tt.args...)
			if tt.args == nil {
				c.Program += "-missing"
			}
			if tt.limits.Wall > 0 {
				c.Limits.Wall = tt.limits.Wall
			}
			if tt.limits.Memory > 0 {
				c.Limits.Memory = tt.limits.Memory
			}
			c.Limits.Output = tt.limits.Output
			got, err := Run(t.Context(), c, []byte(tt.event))
			if err != nil {
				t.Fatal(err)
			}
			if (tt.want.Message == "") != (got.Message == "") || !strings.Contains(got.Message, tt.want.Message) {
				t.Errorf("message %q, want %q", got.Message, tt.want.Message)
			}
			if !strings.Contains(string(got.Stderr), string(tt.want.Stderr)) {
				t.Errorf("stderr %q, want %q", got.Stderr, tt.want.Stderr)
			}
			if got.Stats.Run <= 0 {
				t.Error("it took no time")
			}
			if string(got.Stdout) != string(tt.want.Stdout) {
				t.Errorf("stdout %.100q of %d bytes, want %.100q of %d", got.Stdout, len(got.Stdout), tt.want.Stdout, len(tt.want.Stdout))
			}
			got.Stdout, got.Stderr, got.Message, got.Stats = tt.want.Stdout, tt.want.Stderr, tt.want.Message, tt.want.Stats
			if d := cmp.Diff(&tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestRunCanceled(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(after, cancel)
		if after == 0 {
			cancel()
		}
		r, err := Run(ctx, setup(t, "sleep"), nil)
		if err != nil || r.Reason != vmexec.Canceled || r.Message == "" {
			t.Errorf("canceled after %v: %+v %v", after, r, err)
		}
		cancel()
	}
}

func TestRunNoMonitor(t *testing.T) {
	c := setup(t, "cat")
	c.Monitor += "-missing"
	if r, err := Run(t.Context(), c, nil); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), c.Monitor) {
		t.Errorf("%+v %v", r, err)
	}
}

// running reports whether a process is there and no zombie.
func running(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// What a program leaves behind in its process group ends with it.
func TestRunLeavesNothing(t *testing.T) {
	r, err := Run(t.Context(), setup(t, "leave"), nil)
	if err != nil || r.Reason != vmexec.Exited || r.Status != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	pid, err := strconv.Atoi(string(r.Stdout))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); running(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// A process that has left the group, and keeps the output open, does not hold the
// answer up for ever.
func TestRunEscape(t *testing.T) {
	r, err := Run(t.Context(), setup(t, "escape"), nil)
	if err != nil || r.Reason != vmexec.Exited || r.Status != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	pid, err := strconv.Atoi(string(r.Stdout))
	if err != nil {
		t.Fatal(err)
	}
	if !running(pid) {
		t.Error("it did not escape: the test shows nothing")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	if _, err := os.Stat(installed); err == nil {
		t.Skipf("%s is installed", installed)
	}
	c := setup(t)
	t.Setenv("PATH", filepath.Dir(c.Monitor))
	if path, err := Find(); err != nil || path != c.Monitor {
		t.Errorf("%s %v", path, err)
	}
	if v, err := Version(t.Context(), c.Monitor); err != nil || v != "Kontain Monitor version 0.0-stand-in" {
		t.Errorf("%q %v", v, err)
	}
	if v, err := Version(t.Context(), c.Program); err == nil {
		t.Errorf("the version of something else: %q", v)
	}
	t.Setenv("PATH", t.TempDir())
	var missing *MissingError
	if path, err := Find(); !errors.As(err, &missing) || !strings.Contains(err.Error(), installed) {
		t.Errorf("%s %v", path, err)
	}
}
