// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/event"
)

// setting is the value of an environment variable that is a number.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number of 1 or more", name, text)
	}
	return n
}

// TestSourceKills holds that the events of each run come at least once, in their order and
// with the same ids when they come again, and that the state follows them, whenever the
// adapter is killed and though the sink fails now and then: each run of a source counts in
// its state file, and says in two events what it came to.
func TestSourceKills(t *testing.T) {
	needKVM(t)
	t.Parallel()
	const sources = 20
	runs, kills := setting(t, "KONTAIN_SOURCE_RUNS", 200), setting(t, "KONTAIN_SOURCE_KILLS", 6)
	seed := uint64(setting(t, "KONTAIN_SOURCE_SEED", int(time.Now().UnixNano()&0xffffff)+1))
	t.Logf("KONTAIN_SOURCE_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	c := newCollector(t)
	c.flaky = rand.New(rand.NewPCG(seed, 1))
	var manifest strings.Builder
	for i := range sources {
		fmt.Fprintf(&manifest, `---
apiVersion: sources.kontain.dev/v1alpha1
kind: KontainSource
metadata: {name: s%d, namespace: ns}
spec:
  program: %q
  args: [count]
  isolation: VM
  resources: {limits: {memory: 32Mi}}
  interval: 1s
  state: {}
  sink: {uri: %q}
`, i, guest, c.URL)
	}
	file := filepath.Join(t.TempDir(), "sources.yaml")
	writeFile(t, file, manifest.String())
	args := []string{"-f", file, "--state-dir", t.TempDir(), "--snapshot-dir", privateDir(t), "--log-level", "warn"}

	begun := time.Now()
	for n := 0; n <= kills; n++ {
		cmd, _, _ := runSource(t, args...)
		if n == kills {
			c.wait(t, len(c.events())+1) // it is there
			for end := time.Now().Add(10 * patience); distinct(c.events()) < 2*runs; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d events came, want %d", distinct(c.events()), 2*runs)
				}
			}
			if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			break
		}
		// Anywhere between its start and some rounds of the sources.
		c.wait(t, len(c.events())+random.IntN(4*runs/(kills+1)))
		time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond) // so that it is not an event that decides
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	again := checkCounts(t, c.events())
	t.Logf("%d runs of %d sources, %d kills, %d events came again, in %v", distinct(c.events())/2, sources, kills, again, time.Since(begun).Round(time.Second))
}

// distinct counts events that are not the same.
func distinct(events []*event.Event) int {
	ids := map[string]bool{}
	for _, e := range events {
		ids[e.ID()] = true
	}
	return len(ids)
}

// checkCounts holds what TestSourceKills promises of the events that came, and returns how
// many came again.
func checkCounts(t *testing.T, events []*event.Event) (again int) {
	t.Helper()
	type seen struct {
		ids  map[string]int // position: two for each run
		last int            // the highest
	}
	of := map[string]*seen{}
	for _, e := range events {
		s := of[e.Source()]
		if s == nil {
			s = &seen{ids: map[string]int{}, last: -1}
			of[e.Source()] = s
		}
		count, err := strconv.Atoi(string(e.Data()))
		part := strings.LastIndexByte(e.ID(), '/')
		if err != nil || part < 0 {
			t.Fatalf("event %v", e)
		}
		at := 2 * (count - 1)
		if e.ID()[part:] == "/1" {
			at++
		}
		before, came := s.ids[e.ID()]
		switch {
		case came && before != at:
			t.Errorf("%s of %s is event %d, and was %d", e.ID(), e.Source(), at, before)
		case came && at/2 != s.last/2:
			t.Errorf("%s of %s, event %d, came again after event %d", e.ID(), e.Source(), at, s.last)
		case came:
			again++
		case at != s.last+1:
			t.Errorf("%s of %s is event %d, and came after event %d", e.ID(), e.Source(), at, s.last)
		}
		s.ids[e.ID()] = at
		s.last = max(s.last, at)
	}
	return again
}
