// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package guests runs the golden guests: programs that exercise what a static
// C program and a pure-Go program ask of Linux. The same binary runs natively
// first and then on every platform; what it writes and how it ends must be the
// same. README.md says how to add one.
package guests

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

var (
	repeat       = flag.Int("repeat", 1, "run each guest this many times on each platform; every run must be the same")
	guestTimeout = flag.Duration("guest-timeout", time.Minute, "wall-clock limit of a guest, natively too")
)

const (
	guestMemory = 256 << 20 // default memory limit of a guest
	guestOutput = 8 << 20   // most output of a guest
	atOnce      = 2         // guests that run at once
	atLeast     = 200       // guests that docs/SPECIFICATION.md promises
)

// rootMark stands in arguments for the folder of guest.files: a temporary
// folder natively, and "" in a machine, where that folder is the root.
const rootMark = "{root}"

// eventMark stands in the environment for the folder with the event as a file: a
// temporary folder natively, and in a machine the one it has.
const eventMark = "{event}"

// outcome is what must be the same natively and in a machine.
type outcome struct {
	Stdout string
	Stderr string // only when guest.stderr asks for it
	Status int    // exit status, or 0
	Signal int    // that ended the program, or 0
}

// run is what one run of a guest gave, with hints for when it is wrong.
type run struct {
	outcome
	hints string
}

// job is one guest, built and ready to run.
type job struct {
	guest
	bin string // absolute path of the program
}

// runner runs a guest to its end. It skips the test, by name, when the
// platform is not to be had on this machine.
type runner func(t testing.TB, j job) run

// platforms are what every guest is compared on. The first says what is right.
var platforms = []struct {
	name string
	run  runner
}{
	{"native", runNative},
	{"kvm", machine(vmexec.KVM, "VMEXEC_REQUIRE_KVM")},
	{"ptrace", machine(vmexec.Ptrace, "VMEXEC_REQUIRE_PTRACE")},
}

// snapshots are the platforms on which every guest is also frozen in the
// middle, where it waits, and goes on in a clone, and again after a reset.
var snapshots = []struct {
	name string
	run  runner
}{
	{"kvm+snapshot", machineWith(vmexec.KVM, "VMEXEC_REQUIRE_KVM", runSnapshot)},
	{"ptrace+snapshot", machineWith(vmexec.Ptrace, "VMEXEC_REQUIRE_PTRACE", runSnapshot)},
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Guests that die by a signal must not leave core files behind.
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		fmt.Fprintf(os.Stderr, "setrlimit RLIMIT_CORE: %v\n", err)
		os.Exit(1)
	}
	// Nor do they find open what whoever started the tests left open.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintf(os.Stderr, "close_range: %v\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestGuest(t *testing.T) {
	src, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := build.Dir(src)
	if err != nil {
		t.Fatal(err)
	}
	guests := table()
	var list []build.Guest
	for _, g := range guests {
		list = append(list, g.build())
	}
	built, err := build.All(t.Context(), src, dir, list)
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, atOnce)
	for _, g := range guests {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			b := built[g.build()]
			requireBuilt(t, b.Err)
			j := job{guest: g, bin: b.Path}
			native := sync.OnceValue(func() run { return platforms[0].run(t, j) })
			t.Run(platforms[0].name, func(t *testing.T) {
				checkNative(t, j, native())
				for i := 1; i < *repeat && !t.Failed(); i++ {
					compare(t, native(), platforms[0].run(t, j))
				}
			})
			waiting := j.waiting()
			nativeWaiting := sync.OnceValue(func() run { return platforms[0].run(t, waiting) })
			for _, p := range snapshots {
				t.Run(p.name, func(t *testing.T) {
					for i := 0; i < *repeat && !t.Failed(); i++ {
						got := p.run(t, waiting)
						compare(t, nativeWaiting(), got)
					}
				})
			}
			for _, p := range platforms[1:] {
				t.Run(p.name, func(t *testing.T) {
					for i := 0; i < *repeat && !t.Failed(); i++ {
						got := p.run(t, j) // first: it may skip
						compare(t, native(), got)
					}
				})
			}
		})
	}
}

// TestNames holds that every source is in the table of its family, and that no
// name is used twice.
func TestNames(t *testing.T) {
	names, used := map[string]bool{}, map[string]bool{}
	for _, g := range table() {
		if names[g.name] {
			t.Errorf("guest %s is in the table twice", g.name)
		}
		names[g.name] = true
		b := g.build()
		file := b.Source + ".c"
		if b.Flavour == build.Go {
			file = b.Source + "/main.go"
		} else if b.Flavour == build.Cxx {
			file = b.Source + ".cc"
		}
		file = filepath.Join(g.family, file)
		if _, err := os.Stat(file); err != nil {
			t.Errorf("guest %s: %v", g.name, err)
		}
		used[file] = true
	}
	for _, pattern := range []string{"*/*.c", "*/*.cc", "*/*/main.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !used[f] {
				t.Errorf("%s is not in the table of its family", f)
			}
		}
	}
	if len(names) < atLeast {
		t.Errorf("%d guests; at least %d are promised", len(names), atLeast)
	}
}

// requireBuilt skips when the compiler is missing, unless
// KONTAIN_REQUIRE_TOOLS=1, and fails when it did not like the source.
func requireBuilt(t *testing.T, err error) {
	t.Helper()
	var missing *build.MissingToolError
	switch {
	case err == nil:
	case errors.As(err, &missing) && os.Getenv("KONTAIN_REQUIRE_TOOLS") != "1":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// checkNative holds that a guest did what its entry in the table says.
func checkNative(t *testing.T, j job, got run) {
	t.Helper()
	if got.Status != j.status || got.Signal != int(j.signal) {
		t.Fatalf("status %d, signal %d; want status %d, signal %d\nstdout: %s\n%s",
			got.Status, got.Signal, j.status, int(j.signal), ends(got.Stdout), got.hints)
	}
	if got.Stdout == "" && !j.quiet {
		t.Errorf("no output")
	}
}

// compare fails the test when got differs from the native run.
func compare(t *testing.T, native, got run) {
	t.Helper()
	if native.outcome == got.outcome {
		return
	}
	a, b := native.outcome, got.outcome
	a.Stdout, b.Stdout = around(a.Stdout, b.Stdout)
	a.Stderr, b.Stderr = around(a.Stderr, b.Stderr)
	t.Errorf("differs from native (-native +got):\n%s%s", gocmp.Diff(a, b), got.hints)
}

// around cuts two texts to the neighbourhood of their first difference, so
// that a difference in a megabyte stays readable.
func around(a, b string) (string, string) {
	const before, after = 500, 1500
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	cut := func(s string) string {
		from, to := max(0, i-before), min(len(s), i+after)
		if from == 0 && to == len(s) {
			return s
		}
		return fmt.Sprintf("[bytes %d to %d of %d] %s", from, to, len(s), s[from:to])
	}
	return cut(a), cut(b)
}

// ends returns the beginning and the end of a text: a trace begins with what
// happened, a log ends with it.
func ends(s string) string {
	const most = 1500
	if len(s) > 2*most {
		return s[:most] + "\n[…]\n" + s[len(s)-most:]
	}
	return s
}

// runNative runs a guest as a process of this machine.
func runNative(t testing.TB, j job) run {
	t.Helper()
	root := ""
	if j.files != nil {
		root = j.makeRoot(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *guestTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.bin, j.argv(root)...)
	cmd.Env = j.environ(func() string { return j.makeEvent(t) })
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(j.stdin)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	removeScratch(t, cmd.Process)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("run %s: %v", j.bin, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("did not end within %v; stdout: %s\nstderr: %s", *guestTimeout, ends(stdout.String()), ends(stderr.String()))
	}
	r := run{outcome: outcome{Stdout: stdout.String()}, hints: "stderr: " + ends(stderr.String())}
	if j.stderr {
		r.Stderr = stderr.String()
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		r.Signal = int(ws.Signal())
	} else {
		r.Status = ws.ExitStatus()
	}
	return r
}

// removeScratch removes the folder of a native guest that did not do so itself; see
// scratch of guest.h.
func removeScratch(t testing.TB, p *os.Process) {
	t.Helper()
	if p == nil { // it was never started
		return
	}
	left, err := filepath.Glob(fmt.Sprintf("/tmp/guest%07d??????", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

// machine returns the runner of a vmexec platform. The variable, when 1,
// makes its absence a failure.
func machine(kind vmexec.Kind, variable string) runner {
	return machineWith(kind, variable, runMachine)
}

func machineWith(kind vmexec.Kind, variable string, f func(testing.TB, *vmexec.Host, job) run) runner {
	open := sync.OnceValues(func() (*vmexec.Host, error) { return vmexec.Open(kind) })
	return func(t testing.TB, j job) run {
		t.Helper()
		host, err := open()
		var missing *vmexec.UnavailableError
		if errors.As(err, &missing) && os.Getenv(variable) != "1" {
			t.Skipf("%v: guests are not tested on it", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return f(t, host, j)
	}
}

// runMachine runs a guest in a machine of its own.
func runMachine(t testing.TB, host *vmexec.Host, j job) run {
	t.Helper()
	vm, err := host.NewVM(j.program(t), j.limits())
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, "machine", vm.Close)
	res, err := vm.Run(t.Context(), vmexec.IO{Event: j.stdin})
	if err != nil {
		t.Fatalf("the monitor failed: %v", err)
	}
	return j.outcome(t, res)
}

// runSnapshot runs a guest up to where it waits and the rest of it in a clone,
// several times: the memory must be that of the snapshot before each, and every
// run the same.
func runSnapshot(t testing.TB, host *vmexec.Host, j job) run {
	t.Helper()
	snapshot, err := host.NewSnapshot(t.Context(), j.program(t), j.limits(), vmexec.Wait{})
	if err != nil {
		t.Fatalf("take a snapshot: %v", err)
	}
	defer closing(t, "snapshot", snapshot.Close)
	vm, err := host.Clone(snapshot, j.limits())
	if err != nil {
		t.Fatalf("clone: %v", err)
	}
	defer func() { closing(t, "machine", vm.Close) }()
	var first run
	for i := range 3 {
		if err := vm.Verify(); err != nil {
			t.Errorf("before run %d: %v", i+1, err)
		}
		res, err := vm.Run(t.Context(), vmexec.IO{Event: j.stdin})
		if err != nil {
			t.Fatalf("the monitor failed in run %d: %v", i+1, err)
		}
		got := j.outcome(t, res)
		got.Stdout = string(snapshot.Stdout) + got.Stdout
		if j.stderr {
			got.Stderr = string(snapshot.Stderr) + got.Stderr
		}
		if i == 0 {
			first = got
		} else if first.outcome != got.outcome {
			t.Errorf("run %d differs from the first (-first +got):\n%s%s", i+1, gocmp.Diff(first.outcome, got.outcome), got.hints)
		}
		if res.Reason != vmexec.Exited {
			if err := vm.Reset(); err == nil {
				t.Errorf("a machine whose program was killed could be reset")
			}
			break
		}
		if err := vm.Reset(); err != nil {
			t.Fatalf("reset after run %d: %v", i+1, err)
		}
	}
	return first
}

// waiting returns the guest as one that first waits for a byte, unless it waits
// by itself; see guest.h.
func (j job) waiting() job {
	if j.waits {
		return j
	}
	j.env = append(j.environ(machineEvent), "GUEST_WAIT=1")
	j.stdin = append([]byte{'\n'}, j.stdin...)
	return j
}

// program returns the guest as a program for machines, until the test ends.
func (j job) program(t testing.TB) *vmexec.Program {
	t.Helper()
	var root *vmexec.Root
	var err error
	path := j.bin
	if j.files != nil {
		dir := j.makeRoot(t)
		path = "/bin/guest"
		copyProgram(t, j.bin, filepath.Join(dir, path))
		root, err = vmexec.DirRoot(dir)
	} else {
		root, err = vmexec.ProgramRoot(j.bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, "root", root.Close) })
	program, err := vmexec.NewProgram(vmexec.ProgramSpec{
		Root: root,
		Path: path,
		Args: append([]string{path}, j.argv("")...),
		Env:  j.environ(machineEvent),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, "program", program.Close) })
	return program
}

func (j job) limits() vmexec.Limits {
	return vmexec.Limits{Memory: cmp.Or(j.memory, guestMemory), Wall: *guestTimeout, Output: guestOutput}
}

// outcome returns what a run in a machine came to. The test fails when it ended
// in a way that no process does.
func (j job) outcome(t testing.TB, res *vmexec.Result) run {
	t.Helper()
	r := run{outcome: outcome{Stdout: string(res.Stdout), Status: res.Status}}
	if j.stderr {
		r.Stderr = string(res.Stderr)
	}
	r.hints = fmt.Sprintf("message: %s\nunsupported calls: %v\nstderr: %s", res.Message, res.Stats.Unsupported, ends(string(res.Stderr)))
	switch res.Reason {
	case vmexec.Exited:
	case vmexec.Signaled:
		r.Status, r.Signal = 0, res.Death.Signal
	default:
		t.Fatalf("ended by %s\nstdout: %s\n%s", res.Reason, ends(r.Stdout), r.hints)
	}
	return r
}

// closing closes something at the end of a run and reports when that fails.
func closing(t testing.TB, what string, f func() error) {
	t.Helper()
	if err := f(); err != nil {
		t.Errorf("close %s: %v", what, err)
	}
}

// makeRoot makes a new folder with the files of a guest.
func (g guest) makeRoot(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range g.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyProgram puts the program where a machine finds it.
func copyProgram(t testing.TB, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
}

// argv returns the arguments after argv[0], with the root filled in.
func (g guest) argv(root string) []string {
	var args []string
	for _, a := range g.args {
		args = append(args, strings.ReplaceAll(a, rootMark, root))
	}
	return args
}

// environ returns the whole environment of a guest, never the tester's own, with the
// folder of the event filled in.
func (g guest) environ(event func() string) []string {
	if g.env == nil {
		return []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}
	}
	env := []string{}
	for _, v := range g.env {
		if strings.Contains(v, eventMark) {
			v = strings.ReplaceAll(v, eventMark, event())
		}
		env = append(env, v)
	}
	return env
}

func machineEvent() string { return vmexec.EventFolder }

// makeEvent makes a new folder with the event of a guest.
func (g guest) makeEvent(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "event"), g.stdin, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// build says how to compile the guest.
func (g guest) build() build.Guest {
	return build.Guest{Source: cmp.Or(g.source, g.name), Flavour: cmp.Or(g.flavour, build.Glibc)}
}
