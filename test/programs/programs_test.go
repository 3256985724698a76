// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package programs runs real programs, interpreters, compilers and servers, in machines
// that show this machine's root, and compares what they write with a native run.
package programs

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec"
)

var trace = flag.Bool("trace", false, "write the system calls of each program in a machine to stderr")

// Limits of a program in a machine.
const (
	memory    = 4 << 30
	wallLimit = 3 * time.Minute
	output    = 16 << 20
)

// program is one test: a command that behaves the same natively and in a machine.
type program struct {
	name  string
	tools []string // that it needs, by name or path; the first one runs
	args  []string // {dir} is the folder of the files, in env too
	env   []string
	stdin string
	files map[string]string // in the working folder
	// build makes further files in the folder, before the native run and the other.
	build func(t *testing.T, dir string)
	// want, when set, is what the native run must write.
	want   string
	status int
	// calls without which it cannot run.
	calls []string
	// slow programs run on kvm only.
	slow bool
}

// installed are the tools that .ci/run installs: with KONTAIN_REQUIRE_TOOLS=1 they must be
// there.
var installed = []string{"python3", "node", "perl", "tclsh", "sqlite3", "git", "busybox", "java", "gcc", "g++", "go", "sh", "bash"}

func TestPrograms(t *testing.T) {
	for _, p := range slices.Concat(shellPrograms, pythonPrograms, nodePrograms, scriptPrograms, javaPrograms, compiledPrograms, toolPrograms) {
		t.Run(p.name, func(t *testing.T) {
			run(t, p)
		})
	}
}

func run(t *testing.T, p program) {
	for _, c := range vmexec.Syscalls() {
		if c.Level == "none" && slices.Contains(p.calls, c.Name) {
			t.Skipf("there is no %s yet", c.Name)
		}
	}
	args := slices.Clone(p.args)
	for i, name := range p.tools {
		path := findTool(t, name)
		if i == 0 {
			args = append([]string{path}, args...)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range p.files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if p.build != nil {
		p.build(t, dir)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{dir}", dir)
	}
	if len(p.tools) == 0 {
		args[0] = filepath.Join(dir, args[0])
	}
	env := environment(dir, p.env)
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], "{dir}", dir)
	}

	// The machines first: what they write to the folder is gone at their end, and the
	// native run's stays.
	kinds := []vmexec.Kind{vmexec.KVM, vmexec.Ptrace}
	if p.slow || testing.Short() {
		kinds = kinds[:1]
	}
	got := map[vmexec.Kind]*vmexec.Result{}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) { got[kind] = inMachine(t, kind, p, dir, args, env) })
	}

	t.Run("native", func(t *testing.T) {
		stdout, stderr, status := natively(t, p, dir, args, env)
		if status != p.status || p.want != "" && stdout != p.want {
			t.Fatalf("status %d, want %d; stdout %q, want %q; stderr %s", status, p.status, stdout, p.want, stderr)
		}
		for _, kind := range slices.Sorted(maps.Keys(got)) {
			r := got[kind]
			if r == nil {
				continue
			}
			if diff := cmp.Diff(stdout, string(r.Stdout)); diff != "" || r.ExitStatus() != status {
				t.Errorf("%s: status %d, natively %d; %s; unsupported calls %v; stdout (-native +%s):\n%s\nstderr:\n%.4000s", kind, r.ExitStatus(), status, r.Message, r.Stats.Unsupported, kind, diff, r.Stderr)
			}
		}
	})
}

// environment is that of the program, natively and in a machine.
func environment(dir string, more []string) []string {
	golang := ""
	if tool, err := exec.LookPath("go"); err == nil {
		golang = filepath.Dir(tool) + ":"
	}
	return append([]string{
		"PATH=" + golang + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8",
	}, more...)
}

// findTool returns the path of a tool, or skips the test.
func findTool(t *testing.T, name string) string {
	t.Helper()
	path := ""
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/go/bin", "/usr/sbin"} { // before PATH, where wrappers may stand
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			path = filepath.Join(dir, name)
			break
		}
	}
	if path == "" {
		var err error
		if path, err = exec.LookPath(name); err != nil {
			if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" && slices.Contains(installed, name) {
				t.Fatal(err)
			}
			t.Skipf("%s is not installed", name)
		}
	}
	return path
}

func inMachine(t *testing.T, kind vmexec.Kind, p program, dir string, args, env []string) *vmexec.Result {
	h, err := vmexec.Open(kind)
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_"+strings.ToUpper(string(kind))) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	root, err := vmexec.DirRoot("/")
	if err != nil {
		t.Fatal(err)
	}
	prog, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: args[0], Args: args, Env: env, Dir: dir})
	if err != nil {
		t.Fatal(errors.Join(err, root.Close(), h.Close()))
	}
	vm, err := h.NewVM(prog, vmexec.Limits{Memory: memory, Wall: wallLimit, Output: output})
	if err != nil {
		t.Fatal(errors.Join(err, prog.Close(), root.Close(), h.Close()))
	}
	defer func() {
		if err := errors.Join(vm.Close(), prog.Close(), root.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	}()
	io := vmexec.IO{Event: []byte(p.stdin)}
	if *trace {
		io.Trace = os.Stderr
	}
	r, err := vm.Run(t.Context(), io)
	if err != nil {
		t.Fatalf("the monitor failed: %v", err)
	}
	return r
}

func natively(t *testing.T, p program, dir string, args, env []string) (stdout, stderr string, status int) {
	ctx, cancel := context.WithTimeout(t.Context(), wallLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, env, strings.NewReader(p.stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// What it leaves behind is ended with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// goCache fills the build cache of the test with what fmt needs, so that not all of it
// has to be compiled in the machine.
func goCache(t *testing.T, dir string) {
	cmd := exec.CommandContext(t.Context(), findTool(t, "go"), "list", "-export", "fmt")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOCACHE="+dir+"/cache", "CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
}

// compile makes a program in the folder with a compiler of this machine.
func compile(compiler string, args ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		cmd := exec.CommandContext(t.Context(), findTool(t, compiler), args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", compiler, args, err, out)
		}
	}
}

// source reads a file of testdata.
func source(name string) string {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		panic(fmt.Sprintf("a file of this test is not there: %v", err))
	}
	return string(b)
}
