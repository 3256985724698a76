// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ready asks /readyz on a connection of its own.
func (s *server) ready() (int, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	r, err := http.NewRequest(http.MethodGet, s.url+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	a, err := do(&http.Client{Transport: transport, Timeout: patience}, r)
	if err != nil {
		return 0, err
	}
	return a.status, nil
}

// waitUnready waits until the drain has begun.
func (s *server) waitUnready() {
	s.t.Helper()
	eventually(s.t, "/readyz to fail", func() bool {
		status, err := s.ready()
		if err != nil {
			s.t.Fatalf("the listener closed before readiness failed: %v", err)
		}
		return status == 503
	})
}

// sent returns a context that calls f when a request has been written.
func sent(ctx context.Context, f func()) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { f() }})
}

// quickGuest is the program that starts fastest.
func quickGuest() string {
	if cGuest != "" {
		return cGuest
	}
	return guest
}

// A drain answers every event that was sent before it and those that come while
// the receiver is being taken out of rotation.
func TestDrain(t *testing.T) {
	needKVM(t)
	const events = 200
	dir := t.TempDir()
	sink(t, dir, "id", quickGuest(), []string{"id", "100"}, "queue: {length: 1000, timeout: 60s}", "timeout: 60s")
	s := serve(t, dir, "--drain-quiet-period", "1s")
	if status, err := s.ready(); status != 200 {
		t.Fatalf("/readyz: %d %v", status, err)
	}
	c := newClient(t)
	var all, written sync.WaitGroup
	var answered atomic.Int64
	send := func(id string) {
		a, err := do(c, newEvent(sent(t.Context(), written.Done), s.sink("id"), id, "{}"))
		if err != nil || a.status != 200 || a.body != id {
			t.Errorf("event %s: %+v %v", id, a, err)
		}
		answered.Add(1)
	}
	written.Add(events)
	for i := range events {
		all.Go(func() { send(fmt.Sprint(i)) })
	}
	written.Wait()
	s.signal(unix.SIGTERM)
	s.waitUnready()
	if n := answered.Load(); n == events {
		t.Error("every event was answered before the drain: this shows nothing")
	}
	written.Add(1)
	send("999") // readiness fails first: others take some time to notice it
	all.Wait()
	if st := s.wait(); st.ExitCode() != 0 {
		t.Errorf("the server ended with %v, want status 0", st)
	}
	if _, err := s.ready(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after its end: %v", err)
	}
}

// Events that outlast the drain are told so, in a way that makes their senders
// try again, and the exit status says that events were cut short.
func TestDrainTimeout(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	sink(t, dir, "sleep", guest, []string{"sleep"}, "timeout: 1h")
	s := serve(t, dir, "--drain-quiet-period", "300ms", "--drain-timeout", "1s")
	var written, done sync.WaitGroup
	written.Add(1)
	done.Go(func() {
		a, err := do(newClient(t), newEvent(sent(t.Context(), written.Done), s.sink("sleep"), "1", "{}"))
		if err != nil {
			t.Error(err)
			return
		}
		checkFailure(t, a, 503, "Draining", "shutting down")
	})
	written.Wait()
	s.signal(unix.SIGTERM)
	start := time.Now()
	if st := s.wait(); st.ExitCode() != 1 || !strings.Contains(s.stderr.String(), "kontain: serve: ") {
		t.Errorf("the server ended with %v, want status 1 and a reason", st)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("a drain of 1s took %v", took)
	}
	done.Wait()
}

// A second signal ends the server at once.
func TestSecondSignal(t *testing.T) {
	needKVM(t)
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			dir := t.TempDir()
			sink(t, dir, "sleep", guest, []string{"sleep"}, "timeout: 1h")
			s := serve(t, dir, "--drain-quiet-period", "1h", "--drain-timeout", "2h")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var written, done sync.WaitGroup
			written.Add(1)
			done.Go(func() {
				if a, err := do(newClient(t), newEvent(sent(ctx, written.Done), s.sink("sleep"), "1", "{}")); err == nil {
					t.Errorf("an event that cannot end was answered: %+v", a)
				}
			})
			written.Wait()
			s.signal(sig)
			s.waitUnready()
			start := time.Now()
			s.signal(sig)
			st := s.wait()
			if ws, ok := st.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != sig {
				t.Errorf("the server ended with %v, want %v", st, sig)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			done.Wait()
		})
	}
}

// Changes of manifests and programs take effect while events come in, and none
// of these is lost.
func TestReload(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	file, program := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "program")
	copyProgram(t, guest, program, true)
	prints := func(text string) string { return manifest("a", program, []string{"print", text}) }
	writeFile(t, file, prints("v1"))
	sink(t, dir, "b", program, []string{"version"})
	s := serve(t, dir)

	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	var events atomic.Int64
	for i, name := range []string{"a", "b"} {
		c := newClient(t)
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				a, err := do(c, newEvent(t.Context(), s.sink(name), fmt.Sprint(i, ".", n), "{}"))
				if err != nil || a.status != 200 || a.body == "" {
					t.Errorf("event %d of sink %s: %+v %v", n, name, a, err)
					return
				}
				events.Add(1)
			}
		})
	}
	c := newClient(t)
	says := func(name, want string) {
		t.Helper()
		eventually(t, fmt.Sprintf("sink %s to say %q", name, want), func() bool {
			a, err := do(c, newEvent(t.Context(), s.sink(name), "x", "{}"))
			if err != nil || a.status != 200 {
				t.Fatalf("%+v %v", a, err)
			}
			return a.body == want
		})
	}
	says("a", "v1")
	says("b", "one")

	// As kubectl, Git and most editors write: another file takes the name.
	writeFile(t, file+".tmp", prints("v2"))
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
	says("a", "v2")

	// In place, as a shell's > does.
	writeFile(t, file, prints("v3"))
	says("a", "v3")

	// With a mistake: it is reported, with its place, and v3 keeps serving.
	broken := prints("v4") + "  memroy: 1Gi\n"
	writeFile(t, file, broken)
	place := fmt.Sprintf("%s:%d:", file, strings.Count(broken, "\n"))
	eventually(t, "the mistake to be reported at "+place, func() bool {
		log := s.stderr.String()
		return strings.Contains(log, place) && strings.Contains(log, "memroy")
	})
	says("a", "v3")

	// Corrected.
	writeFile(t, file, prints("v5"))
	says("a", "v5")

	// A program that is built anew, as compilers and as cp write it.
	copyProgram(t, guest2, program, true)
	says("b", "two")
	copyProgram(t, guest, program, false)
	says("b", "one")

	// A program that is broken keeps the one before serving.
	writeFile(t, program, "#!/bin/sh\n")
	eventually(t, "the broken program to be reported", func() bool {
		return strings.Contains(s.stderr.String(), "it is a script for /bin/sh")
	})
	says("b", "one")

	// A sink that comes and goes.
	writeFile(t, filepath.Join(dir, "c.yaml"), manifest("c", guest, []string{"print", "new"}))
	status := func() int {
		a, err := do(c, newEvent(t.Context(), s.sink("c"), "x", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	eventually(t, "a new sink", func() bool { return status() == 200 })
	if err := os.Remove(filepath.Join(dir, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sink to go", func() bool { return status() == 404 })

	cancel()
	senders.Wait()
	t.Logf("%d events during the changes", events.Load())
	s.stop()
}
