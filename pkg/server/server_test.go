// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/manifest"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/vmexec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSource runs a function in place of programs.
type fakeSource struct {
	spec dispatcher.Sink
	run  func(context.Context, dispatcher.Sink) (*vmexec.Result, error)
}

func (f fakeSource) Lease(context.Context, lease.Request) (lease.VM, error) { return f, nil }
func (f fakeSource) Prepare(context.Context) error                          { return nil }
func (f fakeSource) Stats() lease.Stats                                     { return lease.Stats{} }
func (f fakeSource) Close() error                                           { return nil }
func (f fakeSource) Run(ctx context.Context, _ vmexec.IO) (*vmexec.Result, error) {
	return f.run(ctx, f.spec)
}

// answerArgs replies with the first argument and the content of the program's
// file as they were when the generation was made.
func answerArgs(s dispatcher.Sink) (lease.Source, error) {
	content, err := os.ReadFile(s.Program)
	if err != nil {
		return nil, err
	}
	return fakeSource{s, func(_ context.Context, s dispatcher.Sink) (*vmexec.Result, error) {
		return &vmexec.Result{Stdout: fmt.Appendf(nil, "%s %s", s.Args[0], content)}, nil
	}}, nil
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func sinkYAML(name, answer string) string {
	return fmt.Sprintf(`apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: %s, namespace: ns}
spec:
  program: prog
  args: [%q]
  isolation: VM
  snapshot: {mode: Never}
`, name, answer)
}

// write replaces a file the way careful programs do.
func write(t *testing.T, path, content string) {
	t.Helper()
	temp := path + ".tmp"
	if err := os.WriteFile(temp, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}

type running struct {
	*Server
	t    *testing.T
	url  string
	log  *syncBuffer
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	log := &syncBuffer{}
	c.Listen = "127.0.0.1:0"
	c.Logger = slog.New(slog.NewTextHandler(log, nil))
	if c.Source == nil && c.Host == nil {
		c.Source = answerArgs
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Server: s, t: t, url: "http://" + s.Addr().String(), log: log, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-r.done:
		t.Fatalf("Run ended: %v\n%s", err, log)
	}
	return r
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	if r.t.Failed() {
		r.t.Log(r.log)
	}
}

func (r *running) post(path string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest("POST", r.url+path, strings.NewReader(""))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (r *running) get(path string) int {
	r.t.Helper()
	resp, err := http.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (r *running) waitFor(what string, cond func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s\n%s", what, r.log)
		}
	}
}

func (r *running) waitAnswer(path, want string) {
	r.t.Helper()
	r.waitFor(fmt.Sprintf("%s to answer %q", path, want), func() bool {
		_, body := r.post(path)
		return body == want
	})
}

func TestToSink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prog"), "x")
	file := filepath.Join(dir, "a.yaml")
	write(t, file, `apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: full, namespace: ns}
spec:
  program: prog
  root: /
  args: [a, b]
  env: [{name: K, value: v}]
  resources: {limits: {memory: 16Mi}}
  timeout: 3s
  concurrency: 4
  queue: {length: 7, timeout: 2s}
  isolation: VM
  snapshot: {mode: Never}
  reply: {type: my.type, source: /mine, extensions: {team: blue}}
---
`+strings.Replace(sinkYAML("small", "x"), "spec:", "spec:\n  queue: {timeout: 0s}", 1))
	sinks, err := load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	id := fileID(filepath.Join(dir, "prog"))
	want := []dispatcher.Sink{
		{
			Namespace: "ns", Name: "full", Program: filepath.Join(dir, "prog"), ProgramID: id, Root: "/",
			Args: []string{"a", "b"}, Env: []string{"K=v"}, Platform: vmexec.Auto, Tier: lease.TierVM, IdleTime: time.Minute,
			Limits: vmexec.Limits{Memory: 16 << 20, Wall: 3 * time.Second},
			Queue:  queue.Config{Concurrency: 4, Length: 7, Timeout: 2 * time.Second},
			Contract: contract.Config{
				Spec: v1alpha1.Contract{Type: "stdio"}, Namespace: "ns", Name: "full", Timeout: 3 * time.Second, Memory: 16 << 20, MaxReply: 1 << 20,
				Reply: contract.ReplySettings{Type: "my.type", Source: "/mine", Extensions: map[string]string{"team": "blue"}},
			},
		},
		{
			Namespace: "ns", Name: "small", Program: filepath.Join(dir, "prog"), ProgramID: id,
			Args: []string{"x"}, Platform: vmexec.Auto, Tier: lease.TierVM, IdleTime: time.Minute,
			Limits: vmexec.Limits{Memory: 128 << 20, Wall: 10 * time.Second},
			Queue:  queue.Config{Concurrency: 16},
			Contract: contract.Config{
				Spec: v1alpha1.Contract{Type: "stdio"}, Namespace: "ns", Name: "small", Timeout: 10 * time.Second, Memory: 128 << 20, MaxReply: 1 << 20,
				Reply: contract.ReplySettings{
					Type:   "dev.kontain.small.reply",
					Source: "/apis/sinks.kontain.dev/v1alpha1/namespaces/ns/kontainsinks/small",
				},
			},
		},
	}
	var got []dispatcher.Sink
	for _, sink := range sinks {
		got = append(got, sink.Sink)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	write(t, bad, "apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: {name: a}\nspec:\n  nonsense: 1\n")
	empty := t.TempDir()
	tests := []struct {
		name  string
		paths []string
		says  string
	}{
		{"nothing", nil, "no file or folder"},
		{"missing", []string{filepath.Join(dir, "no.yaml")}, "no such file"},
		{"wrong", []string{bad}, "bad.yaml:5"},
		{"empty folder", []string{empty}, "no KontainSink found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Config{Paths: tt.paths, Source: answerArgs, Listen: "127.0.0.1:0"})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %q in it", err, tt.says)
			}
		})
	}
	if _, err := New(Config{Paths: []string{dir}}); err == nil || !strings.Contains(err.Error(), "platform") {
		t.Errorf("without a host: %v", err)
	}
	_, err := New(Config{Paths: []string{empty}, Source: answerArgs})
	if !errors.Is(err, manifest.ErrNoSinks) {
		t.Errorf("%v", err)
	}
}

func TestRunWithoutAnySinkReady(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), sinkYAML("a", "v1")) // its program is missing
	s, err := New(Config{Paths: []string{dir}, Source: answerArgs, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "sink ns/a") || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
}

func TestServeAndReload(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prog"), "p1")
	write(t, filepath.Join(dir, "a.yaml"), sinkYAML("a", "v1"))
	r := start(t, Config{Paths: []string{dir}})
	defer r.end()
	if code, body := r.post("/ns/a"); code != 200 || body != "v1 p1" {
		t.Fatalf("%d %q", code, body)
	}
	if h, re := r.get("/healthz"), r.get("/readyz"); h != 200 || re != 200 {
		t.Errorf("healthz %d, readyz %d", h, re)
	}
	if code, _ := r.post("/ns/b"); code != 404 {
		t.Errorf("unknown sink: %d", code)
	}

	write(t, filepath.Join(dir, "a.yaml"), sinkYAML("a", "v2"))
	r.waitAnswer("/ns/a", "v2 p1")
	write(t, filepath.Join(dir, "prog"), "p2")
	r.waitAnswer("/ns/a", "v2 p2")
	write(t, filepath.Join(dir, "b.yaml"), sinkYAML("b", "new"))
	r.waitAnswer("/ns/b", "new p2")

	write(t, filepath.Join(dir, "a.yaml"), "kind: [broken\n")
	r.waitFor("the broken file to be reported", func() bool { return strings.Contains(r.log.String(), "a.yaml:") })
	if code, body := r.post("/ns/a"); code != 200 || body != "v2 p2" {
		t.Errorf("with a broken manifest: %d %q", code, body)
	}
	write(t, filepath.Join(dir, "a.yaml"), strings.Replace(sinkYAML("a", "v3"), "program: prog", "program: missing", 1))
	r.waitFor("the missing program to be reported", func() bool { return strings.Contains(r.log.String(), "the version before keeps serving") })
	if code, body := r.post("/ns/a"); code != 200 || body != "v2 p2" {
		t.Errorf("with a missing program: %d %q", code, body)
	}
	write(t, filepath.Join(dir, "missing"), "p3")
	r.waitAnswer("/ns/a", "v3 p3")

	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the sink to go", func() bool { code, _ := r.post("/ns/a"); return code == 404 })
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the last sink to go", func() bool { code, _ := r.post("/ns/b"); return code == 404 })
	write(t, filepath.Join(dir, "b.yaml"), sinkYAML("b", "back"))
	r.waitAnswer("/ns/b", "back p2")
}

func TestReloadSingleFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prog"), "p")
	file := filepath.Join(dir, "a.yaml")
	write(t, file, sinkYAML("a", "v1"))
	r := start(t, Config{Paths: []string{file}})
	defer r.end()
	// As editors do that keep a copy: the file is gone for a moment.
	if err := os.Rename(file, file+"~"); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the missing file to be reported", func() bool { return strings.Contains(r.log.String(), "no such file") })
	if code, body := r.post("/ns/a"); code != 200 || body != "v1 p" {
		t.Errorf("with the file gone: %d %q", code, body)
	}
	write(t, file, sinkYAML("a", "v2"))
	r.waitAnswer("/ns/a", "v2 p")
	if err := os.WriteFile(file, []byte(sinkYAML("a", "v3")), 0o644); err != nil {
		t.Fatal(err)
	}
	r.waitAnswer("/ns/a", "v3 p")
}

// A mounted ConfigMap: files are links through ..data, which is replaced.
func TestReloadConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, answer string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "a.yaml"), strings.Replace(sinkYAML("a", answer), "program: prog", "program: "+filepath.Join(dir, "prog"), 1))
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "prog"), "p")
	version("..v1", "one")
	if err := os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "a.yaml")} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := start(t, Config{Paths: []string{path}})
			defer r.end()
			next := "..v" + filepath.Base(path)
			version(next, "two "+filepath.Base(path))
			r.waitAnswer("/ns/a", "two "+filepath.Base(path)+" p")
		})
	}
}

// Whatever is sent before and during a drain is answered.
func TestDrainLosesNothing(t *testing.T) {
	const requests = 200
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prog"), "p")
	write(t, filepath.Join(dir, "a.yaml"), strings.Replace(sinkYAML("a", "v"), "spec:", "spec:\n  concurrency: 20\n  queue: {length: 1000, timeout: 1m}", 1))
	var begun atomic.Int64
	draining := make(chan struct{})
	r := start(t, Config{
		Paths:       []string{dir},
		QuietPeriod: 2 * time.Second, // longer than a busy machine takes to send all requests
		Source: func(s dispatcher.Sink) (lease.Source, error) {
			return fakeSource{s, func(context.Context, dispatcher.Sink) (*vmexec.Result, error) {
				begun.Add(1)
				<-draining
				return &vmexec.Result{Stdout: []byte("done")}, nil
			}}, nil
		},
	})
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if code, body := r.post("/ns/a"); code != 200 || body != "done" {
				t.Errorf("%d %q", code, body)
			}
			answered.Add(1)
		})
	}
	r.waitFor("the slots to be taken", func() bool { return begun.Load() == 20 })
	r.stop()
	r.waitFor("readiness to fail", func() bool { return r.get("/readyz") == 503 })
	if r.get("/healthz") != 200 {
		t.Error("a draining server is healthy")
	}
	if answered.Load() != 0 {
		t.Error("readiness failed only after events had ended")
	}
	close(draining)
	wg.Wait()
	r.end()
	if _, err := http.Get(r.url + "/healthz"); err == nil {
		t.Error("the listener is still open")
	}
}

func TestDrainTimeoutKills(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prog"), "p")
	write(t, filepath.Join(dir, "a.yaml"), sinkYAML("a", "v"))
	begun := make(chan struct{})
	r := start(t, Config{
		Paths:        []string{dir},
		QuietPeriod:  time.Millisecond,
		DrainTimeout: 50 * time.Millisecond,
		Source: func(s dispatcher.Sink) (lease.Source, error) {
			return fakeSource{s, func(ctx context.Context, _ dispatcher.Sink) (*vmexec.Result, error) {
				close(begun)
				<-ctx.Done()
				return &vmexec.Result{Reason: vmexec.Canceled}, nil
			}}, nil
		},
	})
	go func() {
		<-begun
		r.stop()
	}()
	if code, body := r.post("/ns/a"); code != 503 || !strings.Contains(body, "Draining") {
		t.Errorf("%d %q", code, body)
	}
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("Run: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}
