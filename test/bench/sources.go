// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"kontain.dev/eventing/vmexec"
)

const (
	// sourceCount is how many sources are measured in any case, each due every second.
	sourceCount = 300
	// sourceWindow is how long that takes.
	sourceWindow = 20 * time.Second
	sourceStart  = 2 * time.Minute
)

// sourceSteps are the numbers of sources that are tried to find out how many there may be.
var sourceSteps = []int{50, 100, 200, sourceCount, 400, 600, 800, 1200}

// sourceStats is what `kontain source run --json` says of a source.
type sourceStats struct {
	Runs, Failed, Missed, Sent, Lost uint64
}

// sources measures how late events of sources come that are due every second, and how
// many sources there may be before runs are missed.
func (b *bench) sources(ctx context.Context) error {
	const what = "sources each second"
	if !b.have(vmexec.KVM, what) {
		return nil
	}
	program := filepath.Join(b.bin, "samples", "heartbeat-go")
	if _, err := os.Stat(program); err != nil {
		b.report.skip(what, err)
		return nil
	}
	for _, tier := range []string{"Process", "VM", "Reset"} {
		most, held := 0, true
		var at []float64
		var note string
		for _, n := range sourceSteps {
			if !held && n > sourceCount {
				break
			}
			samples, missed, err := b.runSources(ctx, program, tier, n)
			if err != nil {
				return fmt.Errorf("%d sources, %s: %w", n, tier, err)
			}
			late := 0
			for _, s := range samples {
				if time.Duration(s) > time.Second {
					late++
				}
			}
			// One in a thousand that is a second late is the machine's; more is ours.
			held = held && missed == 0 && late*1000 <= len(samples)
			if held {
				most = n
			}
			if n == sourceCount {
				at, note = samples, fmt.Sprintf("from when a run is due to its event at the sink; %d of %d runs missed", missed, missed+uint64(len(samples)))
			}
		}
		line := b.report.add(fmt.Sprintf("%d %s, %s", sourceCount, what, tier), at, nil)
		line.Note = note + fmt.Sprintf("; as many as %d sources have none missed and 99.9%% within the second", most)
		line.Figures = map[string]float64{"most": float64(most)}
	}
	return nil
}

// runSources runs so many sources for a while, and returns how late each event came, in
// ns, and how many runs were missed.
func (b *bench) runSources(ctx context.Context, program, tier string, n int) (samples []float64, missed uint64, err error) {
	dir, err := os.MkdirTemp(b.dir, "sources")
	if err != nil {
		return nil, 0, err
	}
	var mu sync.Mutex
	measuring, last := false, map[string]time.Time{} // when the last run of a source was due
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := time.Now()
		var data struct{ Due time.Time }
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &data)
		}
		if err != nil {
			return // its sender has ended
		}
		mu.Lock()
		defer mu.Unlock()
		source := strings.SplitN(r.Header.Get("Ce-Id"), ".20", 2)[0] // the year follows
		if before, ok := last[source]; measuring && ok {
			samples = append(samples, float64(now.Sub(data.Due)))
			missed += uint64(max(0, data.Due.Sub(before).Round(time.Second)/time.Second-1))
		}
		last[source] = data.Due
	}))
	defer sink.Close()
	var manifest bytes.Buffer
	for i := range n {
		fmt.Fprintf(&manifest, "---\napiVersion: sources.kontain.dev/v1alpha1\nkind: KontainSource\nmetadata: {name: s%d}\nspec:\n  program: %q\n  interval: 1s\n  isolation: %s\n"+
			"  resources: {limits: {memory: 8Mi}}\n  sink: {uri: %q}\n", i, program, tier, sink.URL)
	}
	file := filepath.Join(dir, "sources.yaml")
	if err := os.WriteFile(file, manifest.Bytes(), 0o600); err != nil {
		return nil, 0, err
	}
	snapshots := filepath.Join(dir, "snapshots")
	if err := os.Mkdir(snapshots, 0o700); err != nil {
		return nil, 0, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "kontain"), "source", "run", "-f", file, "--json", "--log-level", "error",
		"--state-dir", filepath.Join(dir, "state"), "--snapshot-dir", snapshots)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	fail := func(err error) ([]float64, uint64, error) {
		_ = cmd.Process.Kill() // it may have ended
		return nil, 0, fmt.Errorf("%w: %.500s", err, stderr.String())
	}
	set := func(on bool) int {
		mu.Lock()
		defer mu.Unlock()
		measuring = on
		return len(last)
	}
	for begun := time.Now(); set(false) < n; {
		select {
		case err := <-ended:
			return fail(fmt.Errorf("kontain source run ended: %w", err))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(begun) > sourceStart {
			return fail(fmt.Errorf("%d sources have sent something after %v", set(false), sourceStart))
		}
	}
	// What starts the sources is over, and with it what was missed in the meantime.
	time.Sleep(3 * time.Second)
	set(true)
	time.Sleep(time.Duration(float64(sourceWindow) * max(b.repeat, 0.25)))
	set(false)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fail(err)
	}
	if err := <-ended; err != nil {
		return fail(err)
	}
	var stats map[string]sourceStats
	if err := json.Unmarshal(stdout.Bytes(), &stats); err != nil {
		return nil, 0, err
	}
	for name, s := range stats {
		if s.Failed+s.Lost > 0 {
			return nil, 0, errors.New("source " + name + " failed: " + stderr.String())
		}
	}
	return samples, missed, nil
}
