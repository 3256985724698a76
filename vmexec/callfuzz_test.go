// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// fuzzSeries is how many random calls one clone makes.
const fuzzSeries = 1000

// hostState is what no guest may change of the process that runs it.
type hostState struct {
	dir, root, limits, status, files, children string
}

// hostNow looks at the process, and at the files under dir.
func hostNow(t *testing.T, dir string) hostState {
	t.Helper()
	var s hostState
	var err error
	if s.dir, err = os.Readlink("/proc/self/cwd"); err != nil {
		t.Fatal(err)
	}
	if s.root, err = os.Readlink("/proc/self/root"); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		for _, f := range []string{"Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapEff", "SigIgn", "SigCgt"} {
			if strings.HasPrefix(l, f+":") {
				s.status += l
			}
		}
	}
	for i := range 16 {
		var l unix.Rlimit
		if err := unix.Getrlimit(i, &l); err != nil {
			t.Fatal(err)
		}
		s.limits += fmt.Sprintf("%d: %d %d\n", i, l.Cur, l.Max)
	}
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		text := ""
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = fmt.Sprintf("%d bytes %x", len(b), b[:min(len(b), 64)])
		}
		s.files += fmt.Sprintf("%s %v %v %s\n", path, info.Mode(), info.ModTime(), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		b, err := os.ReadFile(c)
		if err == nil { // the thread may have ended
			s.children += string(b)
		}
	}
	return s
}

// TestSyscallFuzz lets a program make random calls with random arguments, in clones of
// one snapshot: the monitor must not fail, hang, keep anything or change its own
// process, and a reset must bring the machine back to the snapshot.
// KONTAIN_FUZZ_TIME=1m goes on with new seeds for that long on each platform;
// KONTAIN_FUZZ_SEED=N makes one series alone.
func TestSyscallFuzz(t *testing.T) {
	elf := buildFrom(t, "../test/fuzz", "syscall_fuzz", build.Glibc)
	// What the test's own process does with signals is part of what is compared.
	signal.Ignore(syscall.SIGUSR2)
	defer signal.Reset(syscall.SIGUSR2)
	onEach(t, func(t *testing.T, h *vmexec.Host) { testSyscallFuzz(t, h, elf) })
}

func testSyscallFuzz(t *testing.T, h *vmexec.Host, elf []byte) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	for name, text := range map[string]string{
		"data/one": "first", "data/sub/two": strings.Repeat("second", 3000), "fuzz": string(elf),
		"data/script": "#!/fuzz stop\n", "data/loop": "#!/data/loop\n", "data/broken": string(elf[:len(elf)/2]),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/two", filepath.Join(dir, "data/link")); err != nil {
		t.Fatal(err)
	}
	root, err := vmexec.DirRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: "/fuzz"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l := vmexec.Limits{Wall: time.Second, CPU: time.Second, Memory: 64 << 20, Output: 1 << 20, Threads: 32, Files: 1024}
	s, err := h.NewSnapshot(t.Context(), p, l, vmexec.Wait{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	f := callFuzzer{h: h, s: s, limits: l, ends: map[string]int{}, some: map[string]uint64{}}
	for _, name := range []string{"execve", "execveat", "connect", "accept4", "sendmsg", "recvmsg", "setsockopt"} {
		f.some[name] = 0
	}
	defer f.close(t)
	if seed, err := strconv.ParseUint(os.Getenv("KONTAIN_FUZZ_SEED"), 10, 64); err == nil {
		f.series(t, seed)
		return
	}
	f.series(t, 0) // what is made once is made now
	f.close(t)
	before, state := measure(t), hostNow(t, dir)
	end := time.Now()
	if d, err := time.ParseDuration(os.Getenv("KONTAIN_FUZZ_TIME")); err == nil {
		end = end.Add(d)
	}
	seed := uint64(1)
	for ; (seed <= fuzzSeeds || time.Now().Before(end)) && !t.Failed(); seed++ {
		f.series(t, seed)
	}
	f.close(t)
	t.Logf("%d series, %d calls, among them %v: %v", seed, f.calls, f.some, f.ends)
	for name, n := range f.some {
		if n == 0 {
			t.Errorf("no call of %s was made", name)
		}
	}
	if after := hostNow(t, dir); after != state {
		t.Errorf("the process was changed: before %+v\nafter %+v", state, after)
	}
	var after usage
	for range 40 {
		if after = measure(t); after.descriptors <= before.descriptors && after.goroutines <= before.goroutines {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if after.descriptors > before.descriptors || after.goroutines > before.goroutines || after.mappings > before.mappings+60 || after.rss > before.rss+64<<10 {
		t.Errorf("before: %v\nafter:  %v", before, after)
	}
}

// fuzzSeeds is how many series each platform makes in an ordinary run of the tests.
const fuzzSeeds = 60

// callFuzzer gives one clone after the other its seed.
type callFuzzer struct {
	h      *vmexec.Host
	s      *vmexec.Snapshot
	limits vmexec.Limits
	vm     *vmexec.VM
	ends   map[string]int
	calls  uint64
	some   map[string]uint64 // of those that most easily are not made at all
}

func (f *callFuzzer) close(t *testing.T) {
	if f.vm == nil {
		return
	}
	if err := f.vm.Close(); err != nil {
		t.Error(err)
	}
	f.vm = nil
}

func (f *callFuzzer) series(t *testing.T, seed uint64) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("seed %d: panic: %v\n%s", seed, r, debug.Stack())
		}
	}()
	if f.vm == nil {
		vm, err := f.h.Clone(f.s, f.limits)
		if err != nil {
			t.Fatalf("seed %d: clone: %v", seed, err)
		}
		f.vm = vm
	}
	start := time.Now()
	r, err := f.vm.Run(context.Background(), vmexec.IO{Event: fmt.Appendf(nil, "%d %d", seed, fuzzSeries)})
	if err != nil {
		t.Fatalf("seed %d: the monitor failed: %v", seed, err)
	}
	if took := time.Since(start); took > f.limits.Wall+5*time.Second {
		t.Errorf("seed %d: took %v", seed, took)
	}
	how := r.Reason.String()
	if r.Reason == vmexec.Signaled {
		how += " " + unix.SignalName(unix.Signal(r.Death.Signal))
	}
	f.ends[how]++
	for name, n := range r.Stats.Syscalls {
		f.calls += n
		if _, ok := f.some[name]; ok {
			f.some[name] += n
		}
	}
	ordinary := []vmexec.Reason{
		vmexec.Exited, vmexec.Signaled, vmexec.WallLimit, vmexec.CPULimit, vmexec.MemoryLimit, vmexec.OutputLimit, vmexec.Deadlock,
	}
	if !slices.Contains(ordinary, r.Reason) {
		t.Errorf("seed %d: %s: %s", seed, r.Reason, r.Message)
	}
	if r.Reason != vmexec.Exited {
		f.close(t)
		return
	}
	if err := f.vm.Reset(); err != nil {
		t.Fatalf("seed %d: reset: %v", seed, err)
	}
	if err := f.vm.Verify(); err != nil {
		t.Errorf("seed %d: after the reset: %v", seed, err)
	}
}
