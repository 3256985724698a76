// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// openKVM returns a host, or skips the test where there is no KVM, unless
// VMEXEC_REQUIRE_KVM=1 demands it.
func openKVM(t *testing.T) *vmexec.Host {
	t.Helper()
	host, err := vmexec.Open(vmexec.KVM)
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_KVM") == "1" {
			t.Fatalf("VMEXEC_REQUIRE_KVM=1, but %v", err)
		}
		t.Skipf("no KVM: %v", err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host
}

func buildGuest(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "prog"), "./testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// An event that is POSTed runs a real program in a real machine.
func TestKVM(t *testing.T) {
	host := openKVM(t)
	dir := t.TempDir()
	buildGuest(t, dir)
	for _, name := range []string{"upper", "event", "env", "silent", "exit", "refuse", "crash", "spin", "memory", "output", "malformed"} {
		yaml := strings.Replace(sinkYAML(name, name), "spec:", "spec:\n  env: [{name: SINK, value: s1}]\n  resources: {limits: {memory: 64Mi}}", 1)
		timeout := "2m" // on a busy machine too
		if name == "spin" {
			timeout = "300ms"
		}
		yaml = strings.Replace(yaml, "spec:", "spec:\n  timeout: "+timeout, 1)
		write(t, filepath.Join(dir, name+".yaml"), yaml)
	}
	write(t, filepath.Join(dir, "text"), "no program\n")
	write(t, filepath.Join(dir, "text.yaml"), strings.Replace(sinkYAML("text", "x"), "program: prog", "program: text", 1))

	r := start(t, Config{Paths: []string{dir}, Host: host})
	defer r.end()

	tests := []struct {
		sink   string
		status int
		want   string // the body of a reply, or part of that of a failure
		ceType string
	}{
		{"upper", 200, `"HELLO"`, "dev.kontain.upper.reply"},
		{"event", 200, `"hello"`, "guest"},
		{"env", 200, "id-1 sub s1", "dev.kontain.env.reply"},
		{"silent", 200, "", ""},
		{"exit", 502, "exit status 3; last line of stderr: went wrong", ""},
		{"refuse", 422, "no such order", ""},
		{"crash", 502, "exit status 2", ""}, // the Go runtime catches the signal
		{"spin", 504, "time limit of 300ms", ""},
		{"memory", 502, "64 MiB", ""},
		{"output", 502, "1048576 bytes", ""},
		{"malformed", 502, "attribute source", ""},
		{"text", 503, "ELF", ""},
	}
	for _, tt := range tests {
		t.Run(tt.sink, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/ns/"+tt.sink, strings.NewReader(`"hello"`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"id-1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}, "Ce-Subject": {"sub"}, "Content-Type": {"application/json"}}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			ok := string(body) == tt.want
			if tt.status != 200 {
				ok = strings.Contains(string(body), tt.want)
			}
			if resp.StatusCode != tt.status || !ok || resp.Header.Get("Ce-Type") != tt.ceType {
				t.Errorf("%s %q, type %q; want %d %q, %q", resp.Status, body, resp.Header.Get("Ce-Type"), tt.status, tt.want, tt.ceType)
			}
		})
	}
}

// When the sender goes its program is killed.
func TestKVMClientGone(t *testing.T) {
	host := openKVM(t)
	dir := t.TempDir()
	buildGuest(t, dir)
	write(t, filepath.Join(dir, "a.yaml"), strings.Replace(sinkYAML("a", "spin"), "spec:", "spec:\n  timeout: 1h", 1))
	r := start(t, Config{Paths: []string{dir}, Host: host})
	defer r.end()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", r.url+"/ns/a", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s", resp.Status)
		}
	}()
	r.waitFor("the event to run", func() bool { return r.Stats()[0].Queue.Running == 1 })
	cancel()
	<-done
	r.waitFor("the program to be killed", func() bool { return r.Stats()[0].Queue.Running == 0 })
	if st := r.Stats()[0]; st.Failed[reply.ClientGone] != 1 {
		t.Errorf("%+v", st)
	}
}

// Many events leave nothing behind.
func TestKVMLeavesNothing(t *testing.T) {
	host := openKVM(t)
	dir := t.TempDir()
	buildGuest(t, dir)
	src, err := lease.NewFresh(host, lease.NewMemory(1<<40), lease.Spec{Program: filepath.Join(dir, "prog"), Args: []string{"upper"}, Limits: vmexec.Limits{Memory: 64 << 20, Wall: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	event := func(i int) {
		vm, err := src.Lease(t.Context(), lease.Request{Env: []string{fmt.Sprintf("CE_ID=%d", i)}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := vm.Run(t.Context(), vmexec.IO{Event: []byte(`{"id":"1","data":"x"}`)})
		if err != nil || res.Status != 0 || string(res.Stdout) != `"X"` {
			t.Errorf("%+v %v", res, err)
		}
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	}
	event(0)
	before := descriptors()
	for i := range 20 {
		event(i)
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}
