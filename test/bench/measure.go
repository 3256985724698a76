// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"kontain.dev/eventing/vmexec"
)

type bench struct {
	bin, dir string
	guests   *guests
	report   *report
	repeat   float64 // factor on the number of repetitions
	failed   []error // of single rows
}

// times is how often to repeat what is normally repeated n times.
func (b *bench) times(n int) int { return max(3, int(float64(n)*b.repeat)) }

// fill sets the exits, and the calls answered without one, of a row from a run that did ops operations.
func (r *row) fill(stats *vmexec.Stats, ops float64) {
	r.Exits = float64(stats.Exits) / ops
	r.Kinds = map[string]float64{}
	for name, n := range stats.Syscalls {
		r.Kinds["call "+name] = float64(n) / ops
	}
	for name, n := range stats.Exceptions {
		r.Kinds["exception "+name] = float64(n) / ops
	}
	r.Answered = float64(stats.Answered) / ops
	if stats.Kicks > 0 {
		r.Kinds["kick"] = float64(stats.Kicks) / ops
	}
	maps.DeleteFunc(r.Kinds, func(_ string, n float64) bool { return n == 0 })
}

const eventData = `{"text":"one two three four"}`

const eventJSON = `{"specversion":"1.0","id":"1","source":"/bench","type":"bench","datacontenttype":"application/json","data":` + eventData + `}`

// samplePrograms are the functions that answer events.
var samplePrograms = []struct{ language, name string }{{"C", "wordcount-c"}, {"Go", "uppercase-go"}}

// platforms are what machines run on, with what their rows are called.
var platforms = []struct {
	kind vmexec.Kind
	name string
}{{vmexec.KVM, ""}, {vmexec.Ptrace, ", ptrace"}}

// tiers are the ways to give an event a machine. Cheap ones are measured more
// often.
var tiers = []struct {
	name, note string
	spec       string
	every      int // of the rounds, one in so many
	clients    int // events of each of two clients
}{
	{"", "started anew", "isolation: VM\n  snapshot: {mode: Never}", 10, 250},
	{", Reset", "", "isolation: Reset\n  snapshot: {mode: Ready, storage: Memory}", 1, 4000},
	{", Process", "apart, so that a worker is prepared", "isolation: Process\n  snapshot: {mode: Ready, storage: Memory}", 1, 500},
	{", VM", "apart, so that a clone is prepared", "isolation: VM\n  snapshot: {mode: Ready, storage: Memory}", 1, 1000},
}

// endpoint is a sink that is measured.
type endpoint struct {
	name, note     string
	url            string
	every, clients int
	stats          vmexec.Stats // of one event in a machine alone
	samples        []float64
}

// events measures one event through HTTP, and two clients at once.
func (b *bench) events(ctx context.Context) (err error) {
	manifests := filepath.Join(b.dir, "sinks")
	if err := os.Mkdir(manifests, 0o750); err != nil {
		return err
	}
	var built []int
	for i, s := range samplePrograms {
		program := filepath.Join(b.bin, "samples", s.name)
		if _, err := os.Stat(program); err != nil {
			b.report.skip("event over HTTP, "+s.language, fmt.Errorf("%w; see make build", err))
			continue
		}
		built = append(built, i)
		for j, tier := range tiers {
			manifest := fmt.Sprintf(`apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: %s-%d}
spec:
  program: %q
  contract: {type: stdio}
  %s
  reply: {type: bench.reply, source: /bench}
`, s.name, j, program, tier.spec)
			if err := os.WriteFile(filepath.Join(manifests, fmt.Sprintf("%s-%d.yaml", s.name, j)), []byte(manifest), 0o600); err != nil {
				return err
			}
		}
	}
	var endpoints []*endpoint
	var closers []func() error
	defer func() { err = errors.Join(err, closeAll(closers)) }()
	for _, platform := range platforms {
		if len(built) == 0 || !b.have(platform.kind, "event over HTTP"+platform.name) {
			continue
		}
		base, stop, err := b.serve(ctx, manifests, platform.kind)
		if err != nil {
			return err
		}
		closers = append(closers, stop)
		for _, i := range built {
			program := samplePrograms[i]
			stats, err := engineStats(ctx, platform.kind, filepath.Join(b.bin, "samples", program.name))
			if err != nil {
				return err
			}
			for j, tier := range tiers {
				endpoints = append(endpoints, &endpoint{
					name: tier.name + platform.name + ", " + program.language, note: tier.note, every: tier.every, clients: tier.clients,
					url: fmt.Sprintf("%s/default/%s-%d", base, program.name, j), stats: stats[j],
				})
			}
		}
	}
	return b.event(ctx, endpoints)
}

// have says whether a platform can be used here; if not, the report says so.
func (b *bench) have(kind vmexec.Kind, name string) bool {
	host, err := vmexec.Open(kind)
	if err == nil {
		err = host.Close()
	}
	if err != nil {
		b.report.skip(name, err)
	}
	return err == nil
}

// pause is how long the receiver has after each event of a clone to make another
// one, which would otherwise compete with what is measured. Clients that leave no
// pause are measured apart.
const pause = 8 * time.Millisecond

// event measures the endpoints in turns, so that a change of the machine's speed
// meets all of them.
func (b *bench) event(ctx context.Context, endpoints []*endpoint) error {
	const warm = 20 // connections, caches and pools
	for i := range warm + b.times(2000) {
		for _, e := range endpoints {
			if i%e.every != 0 && i >= warm {
				continue
			}
			took, err := post(ctx, e.url)
			if err != nil {
				return err
			}
			if i >= warm {
				e.samples = append(e.samples, float64(took))
			}
			if e.note != "" {
				time.Sleep(pause)
			}
		}
	}
	for _, e := range endpoints {
		line := b.report.add("event over HTTP"+e.name, e.samples, nil)
		line.fill(&e.stats, 1)
		line.Note = e.note
	}
	for _, e := range endpoints {
		if err := b.clients(ctx, "… two clients at once"+e.name, e.url, b.times(e.clients)); err != nil {
			return err
		}
	}
	return nil
}

// engineStats returns what one event costs in each of tiers.
func engineStats(ctx context.Context, kind vmexec.Kind, program string) ([4]vmexec.Stats, error) {
	var stats [4]vmexec.Stats
	l, err := loadOn(kind, program)
	if err != nil {
		return stats, err
	}
	started, _, err := l.run(ctx, []byte(eventJSON))
	if err != nil {
		return stats, errors.Join(err, l.Close())
	}
	e, err := l.engine(ctx)
	if err != nil {
		return stats, errors.Join(err, l.Close())
	}
	for range 10 {
		if err := errors.Join(err, e.round(ctx)); err != nil {
			return stats, errors.Join(err, e.Close(), l.Close())
		}
	}
	return [...]vmexec.Stats{started.Stats, e.resetStats, e.cloneStats, e.cloneStats}, errors.Join(e.Close(), l.Close())
}

// clients measures two clients at once: the time between two answers, and the 99th
// percentile of what one of them waits.
func (b *bench) clients(ctx context.Context, name, url string, each int) error {
	const clients = 2
	var samples [clients][]float64
	start := time.Now()
	errs := make([]error, clients)
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for range each {
				took, err := post(ctx, url)
				if err != nil {
					errs[c] = err
					return
				}
				samples[c] = append(samples[c], float64(took))
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	total := time.Since(start)
	line := b.report.add(name, []float64{float64(total) / float64(clients*each)}, nil)
	line.Samples = clients * each
	line.Rate = float64(clients*each) / total.Seconds()
	line.Note = fmt.Sprintf("%.0f events/s", line.Rate)
	if 2*each >= 100 {
		line.P99 = quantile(append(samples[0], samples[1]...), 0.99)
	}
	return nil
}

// serve starts `kontain serve` on a free port and waits until it answers.
func (b *bench) serve(ctx context.Context, manifests string, kind vmexec.Kind) (base string, stop func() error, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "kontain"), "serve", "-f", manifests, "--platform", string(kind), "--listen", address, "--drain-quiet-period", "1ms")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		if err := <-ended; err != nil {
			return fmt.Errorf("kontain serve ended: %w\n%s", err, &log)
		}
		return nil
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return "http://" + address, stop, conn.Close()
		}
		select {
		case err := <-ended:
			return "", nil, fmt.Errorf("kontain serve ended: %w\n%s", err, &log)
		default:
		}
		if time.Now().After(deadline) {
			return "", nil, errors.Join(fmt.Errorf("kontain serve does not listen on %s", address), stop())
		}
	}
}

// post sends one event and returns the time until the reply was read.
func post(ctx context.Context, url string) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(eventData))
	if err != nil {
		return 0, err
	}
	request.Header = http.Header{
		"Ce-Specversion": {"1.0"},
		"Ce-Id":          {"1"},
		"Ce-Source":      {"/bench"},
		"Ce-Type":        {"bench"},
		"Content-Type":   {"application/json"},
	}
	start := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(response.Body)
	took := time.Since(start)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Ce-Id") == "" {
		return 0, fmt.Errorf("%s answered %s without a reply event: %s", url, response.Status, body)
	}
	return took, nil
}

// starts measures `kontain run` of a program that prints hello against the
// program itself, from before the process starts to after it ended.
func (b *bench) starts(ctx context.Context) error {
	type hello struct {
		language string
		command  []string
		err      error
	}
	programs := []hello{{"Go", []string{b.guests.goHello}, nil}, {"C", []string{b.guests.c, "hello"}, b.guests.cErr}}
	for _, p := range programs {
		name := "kontain run hello, " + p.language
		if p.err != nil {
			b.report.skip(name, p.err)
			continue
		}
		inVM := append([]string{filepath.Join(b.bin, "kontain"), "run", "--"}, p.command...)
		var vm, native, machine []float64
		l, err := load(p.command[0], p.command[1:]...)
		if err != nil {
			return err
		}
		var result *vmexec.Result
		for i := range b.times(100) + 1 {
			took, err := timeProgram(ctx, p.command)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			tookVM, err := timeProgram(ctx, inVM)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			r, tookMachine, err := l.run(ctx, nil)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			if i > 0 { // the first one warms caches
				native, vm, machine = append(native, float64(took)), append(vm, float64(tookVM)), append(machine, float64(tookMachine))
				result = r
			}
		}
		if err := l.Close(); err != nil {
			return err
		}
		b.report.add(name, vm, native).fill(&result.Stats, 1)
		line := b.report.add("… the virtual machine alone, "+p.language, machine, nil)
		line.fill(&result.Stats, 1)
		line.Note = fmt.Sprintf("create %s, load %s, run %s", duration(float64(result.Stats.Create)),
			duration(float64(result.Stats.Load)), duration(float64(result.Stats.Run)))
	}
	return nil
}

// timeProgram runs a command that prints hello.
func timeProgram(ctx context.Context, command []string) (time.Duration, error) {
	start := time.Now()
	out, err := runNative(ctx, nil, command[0], command[1:]...)
	took := time.Since(start)
	if err == nil && string(out) != "hello\n" {
		err = fmt.Errorf("%v printed %q", command, out)
	}
	return took, err
}

// pairs runs a mode of a guest n times natively and in a machine, in turns,
// and returns nanoseconds for one operation.
func (b *bench) pairs(ctx context.Context, n int, mode string, count int) (vm, native []float64, last *vmexec.Result, err error) {
	for range n {
		c := strconv.Itoa(count)
		outside, err := b.guests.runGuestNative(ctx, mode, c)
		if err != nil {
			return nil, nil, nil, err
		}
		inside, result, err := b.guests.runGuest(ctx, mode, c)
		if err != nil {
			return nil, nil, nil, err
		}
		vm, native, last = append(vm, inside.each()), append(native, outside.each()), result
	}
	return vm, native, last, nil
}

// compute measures work without system calls, about a second a run.
func (b *bench) compute(ctx context.Context) error {
	tests := []struct {
		name, mode string
		guess      int // operations of the first, short run
	}{
		{"compute, integers in registers", "spin", 10_000_000},
		{"compute, random walk over 16 MiB", "walk", 200_000},
		{"compute, matrices of 128 × 128 (Go)", "matmul", 100},
		{"compute, SHA-256 of 64 KiB (Go)", "sha256", 1000},
		{"compute, gzip of 64 KiB (Go)", "gzip", 50},
	}
	for _, test := range tests {
		if _, err := b.guests.program(test.mode); err != nil {
			b.report.skip(test.name, err)
			continue
		}
		first, err := b.guests.runGuestNative(ctx, test.mode, strconv.Itoa(test.guess))
		if err != nil {
			return err
		}
		count := int(1e9 * b.repeat / first.each())
		vm, native, result, err := b.pairs(ctx, b.times(7), test.mode, count)
		if err != nil {
			return err
		}
		line := b.report.add(test.name, vm, native)
		line.Exits = float64(result.Stats.Exits) / float64(count)
		line.Note = fmt.Sprintf("speed 0.95 or more is wanted; %d operations and %d exits a run", count, result.Stats.Exits)
	}
	return nil
}

// exits measures what it costs to leave the machine, by the reason.
func (b *bench) exits(ctx context.Context) error {
	tests := []struct {
		name, mode string
		count      int
		note       string
	}{
		{"exit: system call (getpid)", "getpid", 20_000, ""},
		{"exit: first touch of 2 MiB", "touch", 100, "page fault served by mapping memory"},
		{"exit: SIGSEGV to a handler", "faults", 5_000, "page fault, delivery, sigreturn"},
		{"exit: timer signal while computing", "ticked", 200, "kick, delivery, sigreturn; every 2 ms"},
		{"no exit: clock_gettime (vDSO)", "clock", 1_000_000, ""},
	}
	for _, test := range tests {
		if b.guests.c == "" {
			b.report.skip(test.name, b.guests.cErr)
			continue
		}
		vm, native, result, err := b.pairs(ctx, b.times(15), test.mode, test.count)
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // the others are worth having all the same
			b.report.skip(test.name, err)
			b.failed = append(b.failed, err)
			continue
		}
		line := b.report.add(test.name, vm, native)
		line.fill(&result.Stats, float64(test.count))
		line.Note = test.note
	}
	return nil
}
