// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What comes of a test.
const (
	pass    = "pass"
	fail    = "fail"
	skip    = "skip"
	died    = "died"    // the program ended in it
	timeout = "timeout" // the time was over in it
)

// maxOutput bounds what is kept of the output of a unit.
const maxOutput = 64 << 20

// again is how often a unit that ended too early is run again, without the tests that it
// has run.
const again = 8

// enough is how many times its time limit a unit may take with all of its runs, but for
// the last.
const enough = 2

// runner runs units.
type runner struct {
	bin      string // absolute path of kontain
	dir      string // results, outputs and test programs
	scratch  string // TMPDIR of the tests; in a machine only its overlay changes
	goroot   string
	goTool   string
	python   string
	driver   string // unittests.py
	timeout  time.Duration
	versions map[string]string
}

func newRunner(ctx context.Context, o options, dir string) (*runner, error) {
	r := &runner{dir: dir, timeout: o.timeout, versions: map[string]string{}}
	var err error
	if r.bin, err = filepath.Abs(filepath.Join(o.bin, "kontain")); err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.bin); err != nil {
		return nil, fmt.Errorf("%w (make build makes it)", err)
	}
	if r.driver, err = filepath.Abs("test/conformance/unittests.py"); err != nil {
		return nil, err
	}
	if r.goTool, err = exec.LookPath("go"); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, r.goTool, "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	v := strings.Fields(string(out))
	if len(v) != 2 {
		return nil, fmt.Errorf("go env: %q", out)
	}
	r.goroot, r.versions["go"] = v[0], v[1]
	// Debian's python with its tests, or another that has them.
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.CommandContext(ctx, name, "-c", "import test.test_dict, sys; print(sys.executable, sys.version.split()[0])").Output()
		if v := strings.Fields(string(out)); err == nil && len(v) == 2 {
			r.python, r.versions["python"] = v[0], v[1]
			break
		}
	}
	if r.python == "" {
		return nil, errors.New("no python3 has CPython's tests (Debian: apt-get install python3 libpython3.11-testsuite)")
	}
	r.scratch, err = os.MkdirTemp("", "conformance-")
	return r, err
}

func (r *runner) close() { _ = os.RemoveAll(r.scratch) }

// program is how a unit is run.
type program struct {
	dir  string
	args []string
}

// program gives the command that runs a unit without the tests in skipped.
func (r *runner) program(ctx context.Context, u unit, skipped []string) (program, error) {
	if u.Suite == "python" {
		// In a file: an argument has at most 128 KiB.
		list := filepath.Join(r.scratch, u.Name+".skipped")
		if err := os.WriteFile(list, []byte(strings.Join(skipped, "\n")), 0o644); err != nil { //nolint:gosec // names of tests
			return program{}, err
		}
		return program{"/", []string{r.python, r.driver, u.Name, list}}, nil
	}
	bin := filepath.Join(r.dir, "bin", strings.ReplaceAll(u.Name, "/", "_")+".test")
	if _, err := os.Stat(bin); err != nil {
		out, err := exec.CommandContext(ctx, r.goTool, "test", "-c", "-o", bin, u.Name).CombinedOutput()
		if err != nil {
			return program{}, fmt.Errorf("go test -c %s: %w\n%s", u.Name, err, out)
		}
	}
	args := []string{bin, "-test.short", "-test.v=test2json", "-test.timeout=0"}
	if len(skipped) > 0 {
		for i, s := range skipped {
			skipped[i] = regexp.QuoteMeta(s)
		}
		// One after the other, so that it can be told in which one the program ends.
		args = append(args, "-test.parallel=1", "-test.skip=^("+strings.Join(skipped, "|")+")$")
	}
	return program{filepath.Join(r.goroot, "src", u.Name), args}, nil
}

// run runs a unit until all of its tests were run or it does not get further.
func (r *runner) run(ctx context.Context, j job) (record, error) {
	rec := record{Suite: j.Suite, Name: j.Name, Platform: j.platform, Tests: map[string]string{}, Unsupported: map[string]uint64{}}
	log, err := os.Create(filepath.Join(r.dir, "out", strings.ReplaceAll(j.Suite+"_"+j.Name, "/", "_")+"."+j.platform+".txt"))
	if err != nil {
		return rec, err
	}
	defer func() { _ = log.Close() }()
	start := time.Now()
	for try := 0; ; try++ {
		var known []string
		for name := range rec.Tests {
			known = append(known, name)
		}
		slices.Sort(known)
		p, err := r.program(ctx, j.unit, known)
		if err != nil {
			return rec, err
		}
		got, err := r.once(ctx, j.platform, p)
		if err != nil {
			return rec, err
		}
		_, _ = log.Write(got.output)
		_, _ = fmt.Fprintf(log, "\n== %s\n", got.end)
		before := len(rec.Tests)
		running := parse(got.output, rec.Tests)
		// The test that the time was over in is not to blame when others took it: it is run
		// again, first.
		spared := got.late && len(rec.Tests) > before && try < again && time.Since(start) <= enough*r.timeout
		for name, n := range got.unsupported {
			rec.Unsupported[name] += n
		}
		how := died
		if got.late {
			how = timeout
		}
		// Of several of Go's tests at once it is not known which one ended the program; the
		// next time they run one after the other.
		if !spared && (j.Suite != "go" || len(running) == 1 || try > 0) {
			mark(rec.Tests, running, how)
		}
		rec.Problem = ""
		if len(running) > 0 || got.incomplete(j.Suite) {
			rec.Problem = got.end
		}
		progress := len(rec.Tests) > before || j.Suite == "go" && try == 0
		if rec.Problem == "" || !progress || try == again || time.Since(start) > enough*r.timeout || ctx.Err() != nil {
			break
		}
	}
	rec.Seconds = time.Since(start).Seconds()
	return rec, ctx.Err()
}

func mark(tests map[string]string, names []string, how string) {
	for _, name := range names {
		tests[name] = how
	}
}

// event is a line that tells of a test: of unittests.py, or of `-test.v=test2json`.
var event = regexp.MustCompile(`(?m)\x16(?:=== (RUN|PAUSE|CONT) +(\S+)|--- (PASS|FAIL|SKIP): (\S+) \(|(RUN|PASS|FAIL|SKIP) (.+)$)`)

// parse adds what an output says of tests, and returns those that were running at its end.
// Of Go's subtests nothing is kept: they count with the test that they are of.
func parse(output []byte, tests map[string]string) (running []string) {
	on := map[string]bool{}
	for _, m := range event.FindAllSubmatch(output, -1) {
		word, name := string(m[1])+string(m[3])+string(m[5]), string(m[2])+string(m[4])+string(m[6])
		if len(m[5]) == 0 && strings.Contains(name, "/") {
			continue
		}
		switch word {
		case "RUN", "CONT":
			on[name] = true
		case "PAUSE":
			delete(on, name)
		default:
			delete(on, name)
			if tests[name] != fail { // a name that comes twice passes when both do
				tests[name] = strings.ToLower(word)
			}
		}
	}
	for name := range on {
		running = append(running, name)
	}
	slices.Sort(running)
	return running
}

// outcome is how a program ended.
type outcome struct {
	output      []byte
	status      int
	late        bool   // it was stopped
	end         string // in words
	unsupported map[string]uint64
}

func (o outcome) incomplete(suite string) bool {
	if suite == "python" {
		return !bytes.Contains(o.output, []byte("\x16END ")) && !regexp.MustCompile(`\x16SKIP test_\w+\n`).Match(o.output)
	}
	return o.late || o.status != 0 && o.status != 1
}

// limited keeps the first bytes of what is written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		_, _ = l.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// machineMemory is the limit of a machine's memory; the largest tests need about 2 GiB.
const machineMemory = "6Gi"

// once runs a program to its end.
func (r *runner) once(ctx context.Context, platform string, p program) (outcome, error) {
	env := []string{
		"PATH=" + filepath.Join(r.goroot, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + r.scratch, "TMPDIR=" + r.scratch, "LANG=C.UTF-8", "GOROOT=" + r.goroot,
		// Filled by native runs: what a machine compiles it need not compile anew.
		"GOCACHE=" + filepath.Join(r.dir, "gocache"), "GOFLAGS=-mod=mod", "GOPROXY=off",
		"PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1",
	}
	var report limited // what kontain says on stderr
	var out limited
	ctx, cancel := context.WithTimeout(ctx, r.timeout+30*time.Second)
	defer cancel()
	var cmd *exec.Cmd
	late := func() bool { return ctx.Err() != nil }
	if platform == native {
		stop, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		cmd = exec.CommandContext(stop, p.args[0], p.args[1:]...)
		cmd.Dir, cmd.Env = p.dir, env
		cmd.Stdout, cmd.Stderr = &out, &out
		late = func() bool { return stop.Err() != nil }
	} else {
		args := []string{"run", "--platform", platform, "--root", "/", "--cwd", p.dir, "--memory", machineMemory, "--timeout", r.timeout.String(), "--stats", "--output", "json"}
		for _, kv := range env {
			args = append(args, "-e", kv)
		}
		cmd = exec.CommandContext(ctx, r.bin, append(append(args, "--"), p.args...)...)
		cmd.Stdout, cmd.Stderr = &out, &report
	}
	// The tests may leave processes behind: all of the group are ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return outcome{}, fmt.Errorf("run %s: %w", p.args[0], err)
	}
	o := outcome{output: out.Bytes(), status: cmd.ProcessState.ExitCode(), late: late()}
	o.end = cmd.ProcessState.String()
	if o.late {
		o.end = fmt.Sprintf("stopped after %v", r.timeout)
	}
	if platform != native {
		o.machine(report.Bytes())
	}
	return o, nil
}

// machine reads what kontain says of a run, which follows the program's own stderr.
func (o *outcome) machine(stderr []byte) {
	at := bytes.LastIndex(stderr, []byte("\n{\n  \"reason\":"))
	if bytes.HasPrefix(stderr, []byte("{\n  \"reason\":")) && at < 0 {
		at = 0
	}
	var report struct {
		Reason, Message string
		Status          int
		Stats           struct{ Unsupported map[string]uint64 }
	}
	if at < 0 || json.Unmarshal(stderr[at:], &report) != nil {
		last := bytes.TrimSpace(stderr)
		last = last[bytes.LastIndexByte(last, '\n')+1:]
		o.end = "the monitor failed: " + string(last)
		o.output = append(append(o.output, '\n'), stderr...)
		o.status = -1
		return
	}
	o.output = append(append(o.output, '\n'), stderr[:at]...)
	o.unsupported = report.Stats.Unsupported
	o.late = report.Reason == "wall-clock limit"
	o.end = cmp.Or(report.Message, "exit status 0")
	if report.Reason != "exited" {
		o.status = -1
	}
}
