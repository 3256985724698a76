// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// BenchmarkBurst is a thousand events at once where there was nothing, each of which
// waits in its guest of 16 MiB until all are there: how long it takes until the last
// one has a machine (s/all), what memory each takes then (KiB/event, what is shared
// divided by those who share it), and the processor time of each in all (cpu-ms/event).
// Nothing is overcommitted: all the guests' limits are reserved.
func BenchmarkBurst(b *testing.B) {
	events := 1000
	if testing.Short() {
		events = 100
	}
	program := buildWaits(b)
	out := filepath.Join(b.TempDir(), "kontain-worker")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, "../../cmd/worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, said)
	}
	for _, c := range []struct {
		name    string
		tier    Tier
		options Options
	}{{"Process", TierProcess, Options{Worker: out}}, {"VM", TierVM, Options{Worker: out}}, {"VM-inside", TierVM, Options{}}} {
		b.Run(fmt.Sprintf("%s/%d", c.name, events), func(b *testing.B) { burst(b, c.tier, c.options, program, events) })
	}
}

func burst(b *testing.B, tier Tier, options Options, program string, events int) {
	host, err := vmexec.Open(vmexec.KVM)
	if err != nil {
		b.Skip(err)
	}
	defer func() { _ = host.Close() }()
	options.Memory = NewMemory(uint64(events+1) * 16 << 20)
	w := NewWorkers(host, options)
	defer w.Close()
	src, err := w.New(Spec{
		Program: program, Tier: tier, Snapshot: true, Concurrency: events, IdleTime: time.Nanosecond,
		Limits: vmexec.Limits{Memory: 16 << 20, Wall: time.Minute},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := src.Close(); err != nil {
			b.Error(err)
		}
	}()
	for b.Loop() {
		for src.Stats().Alive > 0 { // nothing is there
			time.Sleep(10 * time.Millisecond)
		}
		before, cpu := memoryOfAll(b), processorTime(b)
		var running atomic.Int64
		var group sync.WaitGroup
		begin := time.Now()
		all := make(chan time.Duration, 1)
		for range events {
			group.Go(func() {
				vm, err := src.Lease(b.Context(), Request{})
				if err != nil {
					b.Error(err)
					return
				}
				if running.Add(1) == int64(events) {
					all <- time.Since(begin)
				}
				r, err := vm.Run(b.Context(), vmexec.IO{Event: []byte("9")})
				if err != nil || r.ExitStatus() != 0 || string(r.Stdout) != "9" {
					b.Errorf("%+v, %v", r, err)
				}
				if err := vm.Close(); err != nil {
					b.Error(err)
				}
			})
		}
		took := <-all
		time.Sleep(100 * time.Millisecond) // the last one reads its event
		used := memoryOfAll(b) - before
		b.ReportMetric(took.Seconds(), "s/all")
		b.ReportMetric(float64(used)/float64(events)/1024, "KiB/event")
		group.Wait()
		b.ReportMetric(time.Since(begin).Seconds(), "s/answered")
		for src.Stats().Alive > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		b.ReportMetric(float64((processorTime(b)-cpu)/time.Microsecond)/1000/float64(events), "cpu-ms/event")
	}
}

// processorTime returns that of this process and of its children that have ended.
func processorTime(tb testing.TB) (sum time.Duration) {
	tb.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// memoryOfAll returns the bytes of this process and its children, of what is shared
// the part of each.
func memoryOfAll(tb testing.TB) (bytes uint64) {
	tb.Helper()
	self := os.Getpid()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range folders {
		stat, err := os.ReadFile(filepath.Join(f, "stat"))
		if err != nil {
			continue // gone
		}
		rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if filepath.Base(f) != strconv.Itoa(self) && rest[1] != strconv.Itoa(self) {
			continue
		}
		bytes += proportional(filepath.Join(f, "smaps_rollup"))
	}
	return bytes
}

// proportional returns Pss of smaps_rollup in bytes; proc_pid_smaps(5).
func proportional(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			n, err := strconv.ParseUint(fields[1], 10, 54)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

func buildWaits(b *testing.B) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), "waits")
	if said, err := exec.Command("gcc", "-O2", "-static", "-o", out, "testdata/waits.c").CombinedOutput(); err != nil {
		b.Skipf("no C programs: %v %s", err, bytes.TrimSpace(said))
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur < 4096 {
		b.Skipf("%d files may be open, and a worker takes 3: raise the limit (ulimit -n), %v", files.Cur, err)
	}
	return out
}
