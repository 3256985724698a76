// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// fakeImages gives what get says.
type fakeImages struct {
	get   func(image.Request) (*image.Image, error)
	calls atomic.Int32
}

func (f *fakeImages) Get(ctx context.Context, r image.Request) (*image.Image, error) {
	f.calls.Add(1)
	i, err := f.get(r)
	return i, errors.Join(err, context.Cause(ctx))
}

func imageYAML(name, ref, more string) string {
	return fmt.Sprintf(`apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: %s, namespace: ns}
spec:
  image: %s
  isolation: VM
  snapshot: {mode: Never}
%s`, name, ref, more)
}

// testImage is an image with one program.
func testImage(t *testing.T, digest string) *image.Image {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/app"), []byte(digest), 0o755); err != nil {
		t.Fatal(err)
	}
	return &image.Image{
		Ref: "example.com/app:1", Digest: digest, Manifest: digest, Root: root,
		Config: image.Config{Entrypoint: []string{"app"}, Cmd: []string{"default"}, Env: []string{"A=image", "B=image"}, WorkingDir: "/"},
	}
}

// answerSpec replies with what the program would be started with.
func answerSpec(s dispatcher.Sink) (lease.Source, error) {
	return fakeSource{s, func(_ context.Context, s dispatcher.Sink) (*vmexec.Result, error) {
		content, err := os.ReadFile(s.Program)
		if err != nil {
			return nil, err
		}
		return &vmexec.Result{Stdout: fmt.Appendf(nil, "%s %s %q %q %s", content, s.Argv0, s.Args, s.Env[2:], s.ImageDigest)}, nil
	}}, nil
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for: " + what)
		}
	}
}

// TestImageSink holds that a sink with an image is not ready until that is
// there, says so, and then runs what image and manifest say together.
func TestImageSink(t *testing.T) {
	release := make(chan struct{})
	store := &fakeImages{get: func(image.Request) (*image.Image, error) {
		<-release
		return testImage(t, "sha256:one"), nil
	}}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "p.yaml"), sinkYAML("program", "hello"))
	write(t, filepath.Join(dir, "prog"), "x")
	write(t, filepath.Join(dir, "i.yaml"), imageYAML("image", "example.com/app:1", "  args: [a]\n  env: [{name: B, value: sink}]\n"))
	r := start(t, Config{Paths: []string{dir}, Images: store, Source: answerSpecOrArgs})
	defer r.end()
	if status, body := r.post("/ns/image"); status != 503 || !strings.Contains(body, "its image example.com/app:1 is being fetched") {
		t.Errorf("before the image: %d %s", status, body)
	}
	if status, _ := r.post("/ns/program"); status != 200 {
		t.Errorf("a sink without an image waits: %d", status)
	}
	close(release)
	await(t, "the image's sink", func() bool { status, _ := r.post("/ns/image"); return status == 200 })
	_, body := r.post("/ns/image")
	want := `sha256:one app ["a"] ["A=image" "B=sink"] sha256:one`
	if body != want {
		t.Errorf("got %s, want %s", body, want)
	}
	for _, st := range r.Stats() {
		if st.Sink == "ns/image" && (st.Digest != "sha256:one" || st.Image != "example.com/app:1") {
			t.Errorf("status %+v", st)
		}
	}
	// Another command for the same image asks no registry.
	write(t, filepath.Join(dir, "i.yaml"), imageYAML("image", "example.com/app:1", "  command: [/bin/app, c]\n"))
	await(t, "the new command", func() bool { _, body := r.post("/ns/image"); return strings.Contains(body, `/bin/app ["c"]`) })
	if n := store.calls.Load(); n != 1 {
		t.Errorf("%d pulls", n)
	}
	// An image that is not to be had leaves the one before it serving.
	store.get = func(image.Request) (*image.Image, error) { return nil, image.ErrNotFound }
	write(t, filepath.Join(dir, "i.yaml"), imageYAML("image", "example.com/app:2", ""))
	await(t, "the failure", func() bool {
		for _, st := range r.Stats() {
			if strings.Contains(st.Error, "there is no such image") {
				return true
			}
		}
		return false
	})
	if status, _ := r.post("/ns/image"); status != 200 {
		t.Errorf("the generation before does not serve: %d", status)
	}
}

func answerSpecOrArgs(s dispatcher.Sink) (lease.Source, error) {
	if s.Image != "" {
		return answerSpec(s)
	}
	return answerArgs(s)
}

// TestImageComesLater holds that a registry that is down at first is asked again.
func TestImageComesLater(t *testing.T) {
	var up atomic.Bool
	store := &fakeImages{get: func(image.Request) (*image.Image, error) {
		if !up.Load() {
			return nil, errors.New("connection refused")
		}
		return testImage(t, "sha256:late"), nil
	}}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "i.yaml"), imageYAML("image", "example.com/app:1", ""))
	r := start(t, Config{Paths: []string{dir}, Images: store, Source: answerSpec, PullBackoff: 10 * time.Millisecond})
	defer r.end()
	if status, body := r.post("/ns/image"); status != 503 || !strings.Contains(body, "connection refused") {
		t.Errorf("while the registry is down: %d %s", status, body)
	}
	up.Store(true)
	await(t, "the image", func() bool { status, _ := r.post("/ns/image"); return status == 200 })
}

// TestImageNever ends the server that has nothing else to serve.
func TestImageNever(t *testing.T) {
	for name, tc := range map[string]struct {
		store Images
		more  string
		want  string
	}{
		"no such image":   {&fakeImages{get: func(image.Request) (*image.Image, error) { return nil, image.ErrNotFound }}, "", "there is no such image"},
		"no such program": {&fakeImages{get: func(image.Request) (*image.Image, error) { return testImage(t, "sha256:x"), nil }}, "  command: [absent]\n", "has no program absent"},
		"no cache":        {nil, "", "there is no image cache"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "i.yaml"), imageYAML("image", "example.com/app:1", tc.more))
			s, err := New(Config{Paths: []string{dir}, Listen: "127.0.0.1:0", Images: tc.store, Source: answerSpec})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "sink ns/image") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestFunctionApp has the program of an image named by the files of a function app.
func TestFunctionApp(t *testing.T) {
	const hostJSON = `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"%EXE%","arguments":["%A%","%B%","%FUNCTIONS_CUSTOMHANDLER_PORT%"]}}}`
	for _, tt := range []struct {
		name, host    string
		command, args []string
		want          string // program, arguments and folder; or the error
	}{
		{"named", hostJSON, nil, nil, `/site/handler /site/handler ["image" "manifest" "8080"] /site`},
		{"with arguments", hostJSON, nil, []string{"more"}, `/site/handler /site/handler ["image" "manifest" "8080" "more"] /site`},
		{"by the manifest", hostJSON, []string{"app"}, []string{"x"}, `/bin/app app ["x"] /site`},
		{"in PATH", strings.Replace(hostJSON, "%EXE%", "app", 1), nil, nil, `/bin/app app ["image" "manifest" "8080"] /site`},
		{"not there", strings.Replace(hostJSON, "%EXE%", "other", 1), nil, nil, "its image example.com/app:1: the image has no program other (looked for it in /usr/local/sbin:"},
		{"not named", strings.Replace(hostJSON, "%EXE%", "", 1), nil, nil, "its image example.com/app:1: what its contract reads there names no program; write command"},
		{"not named but by the manifest", strings.Replace(hostJSON, "%EXE%", "", 1), []string{"app"}, nil, `/bin/app app [] /site`},
		{"no app", "{}", nil, nil, `its image example.com/app:1: the function app's file /site/host.json: version is ""; "2.0" is expected`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := testImage(t, "digest")
			for name, content := range map[string]string{
				"host.json": tt.host, "handler": "x", "order/function.json": `{"bindings":[{"type":"httpTrigger","name":"req"}]}`,
			} {
				path := filepath.Join(i.Root, "site", name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			s := Sink{command: tt.command, args: tt.args}
			s.Image, s.Env = i.Ref, []string{"B=manifest", "EXE=handler"}
			s.Contract.Spec = v1alpha1.Contract{Type: v1alpha1.ContractAzure, Azure: &v1alpha1.AzureContract{Function: "order", App: "/site"}}
			got := ""
			if err := s.Complete(i); err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprintf("%s %s %q %s", strings.TrimPrefix(s.Program, i.Root), s.Argv0, s.Args, s.Dir)
			}
			if got != tt.want && !(strings.HasPrefix(tt.want, "its image") && strings.HasPrefix(got, tt.want)) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}
