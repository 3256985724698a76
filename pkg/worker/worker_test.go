// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec"
)

// built are the programs of the tests.
var built struct{ worker, guest string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kontain-worker-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built.worker, built.guest = filepath.Join(dir, Name), filepath.Join(dir, "guest")
	for out, pkg := range map[string]string{built.worker: "../../cmd/worker", built.guest: "./testdata/guest"} {
		cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, said)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// open opens a platform, or skips the test where it is not to be had, unless
// VMEXEC_REQUIRE_KVM=1 or VMEXEC_REQUIRE_PTRACE=1 demands it.
func open(t *testing.T, kind vmexec.Kind) *vmexec.Host {
	t.Helper()
	host, err := vmexec.Open(kind)
	if err != nil {
		if require := "VMEXEC_REQUIRE_" + strings.ToUpper(string(kind)); os.Getenv(require) == "1" {
			t.Fatalf("%s=1, but %v", require, err)
		}
		t.Skip(err)
	}
	return host
}

// eachPlatform runs a test with the snapshot of the guest on every platform.
func eachPlatform(t *testing.T, test func(t *testing.T, c Config)) {
	for _, kind := range []vmexec.Kind{vmexec.KVM, vmexec.Ptrace} {
		t.Run(string(kind), func(t *testing.T) {
			host := open(t, kind)
			defer closes(t, host)
			root, err := vmexec.ProgramRoot(built.guest)
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, root)
			program, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: built.guest, Args: []string{"guest"}, Env: []string{"A=b"}})
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, program)
			limits := vmexec.Limits{Memory: 32 << 20, Wall: 20 * time.Second, Output: 1 << 20}
			bare, err := host.HandOver(program, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, bare)
			withoutSnapshot = bare
			o, frozen, err := Freeze(t.Context(), Config{Worker: built.worker, Program: bare, Limits: limits})
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, o)
			if frozen.Took == 0 || string(frozen.Stderr) != "starting" {
				t.Errorf("%+v", frozen)
			}
			test(t, Config{Worker: built.worker, Program: o, Limits: limits, Reuse: wire.Once})
		})
	}
}

// withoutSnapshot is the program alone, for tests in eachPlatform.
var withoutSnapshot *vmexec.Handover

// Without a snapshot each event starts the program, with an environment of its own.
func TestWithoutSnapshot(t *testing.T) {
	for _, reuse := range []wire.Reuse{wire.Once, wire.Fresh, wire.Reset} {
		t.Run(string(reuse), func(t *testing.T) {
			eachPlatform(t, func(t *testing.T, c Config) {
				c.Reuse, c.Program = reuse, withoutSnapshot
				p := start(t, c)
				for i := range 3 {
					env := "b"
					if i > 0 {
						env = strconv.Itoa(i)
						p.SetEnv([]string{"A=" + env})
					}
					if r := do(t, p, "hello"); string(r.Stdout) != "1 HELLO A="+env {
						t.Fatalf("event %d: %+v", i, r)
					}
					if reuse == wire.Once {
						break
					}
					if err := p.Reset(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

func closes(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func start(t *testing.T, c Config) *Process {
	t.Helper()
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, p) })
	return p
}

func do(t *testing.T, p *Process, event string) *vmexec.Result {
	t.Helper()
	r, err := p.Run(t.Context(), vmexec.IO{Event: []byte(event)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOnce(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		p := start(t, c)
		if r := p.Ready(); !r.Jail.Seccomp {
			t.Errorf("%+v", r)
		}
		t.Logf("%+v", p.Ready())
		r := do(t, p, "hello")
		if r.Reason != vmexec.Exited || r.Status != 0 || string(r.Stdout) != "1 HELLO A=b" || string(r.Stderr) != "log of hello" {
			t.Errorf("%+v", r)
		}
		if r.Stats.Exits == 0 || r.Stats.Syscalls["write"] == 0 || r.Stats.Run == 0 {
			t.Errorf("%+v", r.Stats)
		}
		if len(p.Used()) == 0 && strings.HasSuffix(t.Name(), "/kvm") {
			t.Error("the worker has not learned which pages an event uses")
		}
		// It has ended by itself.
		var died *DiedError
		if err := p.Reset(); !errors.As(err, &died) || died.How != "ended with status 0" {
			t.Errorf("%v", err)
		}
		c.Used = p.Used()
		if r := do(t, start(t, c), "again"); string(r.Stdout) != "1 AGAIN A=b" {
			t.Errorf("%+v", r)
		}
	})
}

// A snapshot that the test itself has made does as well as that of a worker, and
// pages that were learned are handed over with it.
func TestHandOver(t *testing.T) {
	host := open(t, vmexec.KVM)
	defer closes(t, host)
	root, err := vmexec.DirRoot(filepath.Dir(built.guest))
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, root)
	program, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: "/guest", Env: []string{"A=b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, program)
	s, err := host.NewSnapshot(t.Context(), program, vmexec.Limits{}, vmexec.Wait{})
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, s)
	o, err := host.HandOver(program, s)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, o)
	p := start(t, Config{Worker: built.worker, Program: o, Reuse: wire.Reset, Limits: vmexec.Limits{Output: 1 << 20}})
	if r := do(t, p, "read /guest"); string(r.Stdout) != "1 READ /GUEST A=b, it begins with \x7fELF" {
		t.Errorf("%q, %+v", r.Stdout, r)
	}
}

// A program that does not wait for an event has no snapshot.
func TestFreezeFails(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		host, err := vmexec.Open(vmexec.Kind(path.Base(t.Name())))
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, host)
		root, err := vmexec.ProgramRoot(built.guest)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, root)
		for arg, want := range map[string]string{"ends": "the program ended before it read its event", "crashes": "exit status 2", "spins": "time limit"} {
			program, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: built.guest, Args: []string{"guest", arg}})
			if err != nil {
				t.Fatal(err)
			}
			o, err := host.HandOver(program, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := c
			c.Program = o
			if arg == "spins" {
				c.Limits.Wall = 300 * time.Millisecond
			}
			_, _, err = Freeze(t.Context(), c)
			var none *vmexec.NoWaitError
			if !errors.As(err, &none) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", arg, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
			if _, _, err := Freeze(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", arg, err)
			}
			cancel()
			closes(t, o)
			closes(t, program)
		}
	})
}

// A worker that stays has nothing left of the event before, in a machine that was
// reset as in a new one.
func TestReuse(t *testing.T) {
	for _, reuse := range []wire.Reuse{wire.Fresh, wire.Reset} {
		t.Run(string(reuse), func(t *testing.T) {
			eachPlatform(t, func(t *testing.T, c Config) {
				c.Reuse = reuse
				p := start(t, c)
				big := strings.Repeat("x", 300_000)
				for i := range 30 {
					event := []string{"a", big, "exit 65", ""}[i%4]
					r := do(t, p, event)
					want := "1 " + strings.ToUpper(event) + " A=b"
					if event == "exit 65" {
						want = ""
					}
					if r.Reason != vmexec.Exited || string(r.Stdout) != want {
						t.Fatalf("event %d: %v %d, %d bytes of stdout, %s", i, r.Reason, r.Status, len(r.Stdout), r.Message)
					}
					if err := p.Reset(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

func TestEndings(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		for event, want := range map[string]vmexec.Result{
			"exit 3":  {Reason: vmexec.Exited, Status: 3},
			"crash":   {Reason: vmexec.Exited, Status: 2}, // Go turns it into a panic
			"kill":    {Reason: vmexec.Signaled},
			"spin":    {Reason: vmexec.WallLimit},
			"flood":   {Reason: vmexec.OutputLimit},
			"consume": {Reason: vmexec.MemoryLimit},
		} {
			c := c
			if event == "spin" {
				c.Limits.Wall = 300 * time.Millisecond
			}
			r := do(t, start(t, c), event)
			if r.Reason != want.Reason || r.Status != want.Status || r.Message == "" || (r.Death != nil) != (event == "kill") {
				t.Errorf("%s: %v, status %d, %q", event, r.Reason, r.Status, r.Message)
			}
		}
	})
}

func TestCancel(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		c.Limits.Wall = 0
		p := start(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r, err := p.Run(ctx, vmexec.IO{Event: []byte("spin")})
		if err != nil || r.Reason != vmexec.Canceled {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := p.Run(ctx, vmexec.IO{}); err != nil || r.Reason != vmexec.Canceled {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := Start(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// A worker that is killed is no loss when it had not begun; otherwise the error says
// that it had.
func TestKilled(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		p := start(t, c)
		if err := unix.Kill(p.cmd.Process.Pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitGone(t, p)
		_, err := p.Run(t.Context(), vmexec.IO{Event: []byte("hello")})
		var died *DiedError
		if !errors.As(err, &died) || died.Began || !strings.Contains(err.Error(), "SIGKILL") {
			t.Errorf("%v", err)
		}
		p = start(t, c)
		time.AfterFunc(200*time.Millisecond, func() { _ = unix.Kill(p.cmd.Process.Pid, unix.SIGABRT) })
		_, err = p.Run(t.Context(), vmexec.IO{Event: []byte("spin")})
		if !errors.As(err, &died) || !died.Began {
			t.Errorf("%v", err)
		}
		t.Logf("%.200s", err)
	})
}

// waitGone waits until the process is a zombie.
func waitGone(t *testing.T, p *Process) {
	t.Helper()
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}

// When the receiver ends, however it does, its workers end, also those whose guests
// run on for ever.
func TestReceiverGone(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		c.Limits.Wall = 0
		p := start(t, c)
		if err := p.send(wire.KindRun, []byte("spin")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		children := tracees(p.cmd.Process.Pid)
		closes(t, p.sock)
		done := make(chan struct{})
		go func() { waitGone(t, p); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("the worker runs on")
		}
		for _, pid := range children {
			for end := time.Now().Add(30 * time.Second); unix.Kill(pid, 0) == nil && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			if unix.Kill(pid, 0) == nil && !zombie(pid) {
				t.Errorf("its process %d runs on", pid)
			}
		}
	})
}

// tracees returns the processes that a process has started.
func tracees(pid int) []int {
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			n, _ := strconv.Atoi(s)
			all = append(all, n)
		}
	}
	return all
}

func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}

// A worker has nothing of the receiver's: none of its environment, no descriptors but its
// own, no working directory.
func TestNothingInherited(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		t.Setenv("KONTAIN_TEST_SECRET", "mark")
		f, err := os.Open("/etc/hostname")
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, f)
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil { // a careless library
			t.Fatal(err)
		}
		p := start(t, c)
		proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
		if b, err := os.ReadFile(proc + "environ"); err != nil || string(b) != "GOMAXPROCS=1\x00" {
			t.Errorf("environment %q, %v", b, err)
		}
		if l, err := os.Readlink(proc + "cwd"); err != nil || l != "/" {
			t.Errorf("%s, %v", l, err)
		}
		entries, err := os.ReadDir(proc + "fd")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			l, _ := os.Readlink(proc + "fd/" + e.Name())
			names = append(names, e.Name()+" "+l)
			if strings.Contains(l, "/etc/") {
				t.Errorf("it has %s open", l)
			}
		}
		t.Log(strings.Join(names, ", "))
		status, err := os.ReadFile(proc + "status")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !bytes.Contains(status, []byte(want)) {
				t.Errorf("its status lacks %q", want)
			}
		}
	})
}

// What is no worker does not become one.
func TestStartFails(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		for name, program := range map[string]string{"not there": "/nonexistent", "another program": "/bin/true", "not executable": "/etc/passwd"} {
			c := c
			c.Worker = program
			if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), program) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// One that ends before it was told anything has died, whoever notices first.
		ends := c
		ends.Worker = "/bin/false"
		for range 20 {
			var died *DiedError
			if _, err := Start(t.Context(), ends); !errors.As(err, &died) || died.Began || !strings.Contains(died.How, "status 1") {
				t.Errorf("%v", err)
			}
		}
		other := *c.Program
		other.Text = bytes.Replace(other.Text, []byte(`"types":"`), []byte(`"types":"x`), 1)
		otherBuild := func(what string) {
			t.Helper()
			c := c
			c.Program = &other
			if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "install the programs of one release together") {
				t.Errorf("%s: %v", what, err)
			}
		}
		// Its build is looked at before it is known, and again once it is replaced.
		b, err := os.ReadFile(built.worker)
		if err != nil {
			t.Fatal(err)
		}
		c.Worker = filepath.Join(t.TempDir(), Name)
		install := func() {
			t.Helper()
			if err := errors.Join(os.WriteFile(c.Worker+".new", b, 0o700), os.Rename(c.Worker+".new", c.Worker)); err != nil {
				t.Fatal(err)
			}
		}
		install()
		otherBuild("new")
		closes(t, start(t, c))
		if _, same := sameBuild(c.Worker); !same {
			t.Error("its build is not known")
		}
		install()
		if _, same := sameBuild(c.Worker); same {
			t.Error("the build of another program is known")
		}
		otherBuild("replaced")
	})
	for _, args := range [][]string{{"x"}, {}, {"2"}, {"-1", "0"}, {"2", "x"}, {"2", "0"}, {"2", "3", "4"}} {
		cmd := exec.Command(built.worker, args...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 0 || len(out) == 0 {
			t.Errorf("by hand: %v, %s", err, out)
		}
	}
}

// Starting and ending workers leaves nothing behind in the receiver.
func TestLeavesNothing(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		before := descriptors(t)
		for range 20 {
			p, err := Start(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			do(t, p, "hello")
			closes(t, p)
		}
		if after := descriptors(t); !slices.Equal(before, after) {
			t.Errorf("descriptors %v became %v", before, after)
		}
		var ws syscall.WaitStatus
		if pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil); err == nil && pid > 0 {
			t.Errorf("process %d was not waited for", pid)
		}
	})
}

func descriptors(t *testing.T) []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		l, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(l, "/proc/") {
			names = append(names, l)
		}
	}
	slices.Sort(names)
	return names
}

func BenchmarkOnce(b *testing.B) {
	host, err := vmexec.Open(vmexec.KVM)
	if err != nil {
		b.Skip(err)
	}
	root, err := vmexec.ProgramRoot(built.guest)
	if err != nil {
		b.Fatal(err)
	}
	program, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: built.guest})
	if err != nil {
		b.Fatal(err)
	}
	limits := vmexec.Limits{Memory: 32 << 20, Wall: 10 * time.Second}
	s, err := host.NewSnapshot(b.Context(), program, limits, vmexec.Wait{})
	if err != nil {
		b.Fatal(err)
	}
	o, err := host.HandOver(program, s)
	if err != nil {
		b.Fatal(err)
	}
	c := Config{Worker: built.worker, Program: o, Limits: limits, Reuse: wire.Once}
	var load, clone, run time.Duration
	for b.Loop() {
		p, err := Start(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		load += p.Ready().Load
		clone += p.Ready().Clone
		begin := time.Now()
		if _, err := p.Run(b.Context(), vmexec.IO{Event: []byte("hello")}); err != nil {
			b.Fatal(err)
		}
		run += time.Since(begin)
		c.Used = p.Used()
		_ = p.Close()
	}
	n := float64(b.N) * 1000
	b.ReportMetric(float64(load)/n, "load-µs")
	b.ReportMetric(float64(clone)/n, "clone-µs")
	b.ReportMetric(float64(run)/n, "run-µs")
}
