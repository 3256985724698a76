// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// echoMachines run no program: they answer with the event's text.
type echoMachines struct{}

func (echoMachines) Lease(context.Context, lease.Request) (lease.VM, error) {
	return echoMachines{}, nil
}
func (echoMachines) Prepare(context.Context) error { return nil }
func (echoMachines) Stats() lease.Stats            { return lease.Stats{} }
func (echoMachines) Close() error                  { return nil }

func (echoMachines) Run(_ context.Context, std vmexec.IO) (*vmexec.Result, error) {
	return &vmexec.Result{Stdout: std.Event}, nil
}

var fakeMachines = machines{
	open:   func(vmexec.Kind) (*vmexec.Host, string, error) { return nil, "", nil },
	source: func(dispatcher.Sink) (lease.Source, error) { return echoMachines{}, nil },
}

const echoManifest = `apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: echo, namespace: team-a}
spec:
  program: ./echo
  contract: {type: stdio}
  isolation: VM
  snapshot: {mode: Never}
`

func manifestFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	program(t, filepath.Join(dir, "echo"))
	file := filepath.Join(dir, "sink.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// lockedBuffer is written by serve while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServe runs `kontain serve` until the returned function is called, which
// returns its status.
func startServe(t *testing.T, m machines, args ...string) (out, log *lockedBuffer, stop func() int) {
	t.Helper()
	t.Setenv("KONTAIN_SNAPSHOT_DIR", filepath.Join(t.TempDir(), "snapshots"))
	if m.source == nil {
		args = append(args, "--worker", buildWorker(t))
	}
	out, log = &lockedBuffer{}, &lockedBuffer{}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := newServe(Streams{In: strings.NewReader(""), Out: out, Err: log}, m)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	ended := make(chan int, 1)
	go func() { ended <- report(log, cmd.ExecuteContext(ctx)) }()
	return out, log, func() int {
		cancel()
		select {
		case status := <-ended:
			return status
		case <-time.After(testTimeout):
			t.Fatal("serve did not end")
			return 0
		}
	}
}

// TestServe starts a receiver, sends it an event with the line that it prints,
// and ends it as Ctrl-C does.
func TestServe(t *testing.T) {
	out, log, stop := startServe(t, fakeMachines, "-f", manifestFile(t, echoManifest), "--listen", "127.0.0.1:0", "--drain-quiet-period", "1ms")
	var target string
	for deadline := time.Now().Add(testTimeout); target == "" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		target = regexp.MustCompile(`(?m)^http://127\.0\.0\.1:\d+/team-a/echo$`).FindString(out.String())
	}
	if target == "" {
		t.Fatalf("no URL printed: %q, log %q", out, log)
	}
	if !strings.Contains(out.String(), "\n  curl -i "+target+" -H 'Ce-Specversion: 1.0'") {
		t.Errorf("no line to copy in %q", out)
	}
	status, stdout, stderr := call("", "invoke", "--type", "t", "--data", "hello", target)
	if status != ExitOK || !strings.Contains(stdout, "type: t\n") || !strings.Contains(stdout, "hello") {
		t.Errorf("invoke: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	status, _, stderr = call("", "invoke", "--type", "t", strings.Replace(target, "echo", "absent", 1))
	if status != ExitFailure || !strings.Contains(stderr, "SinkNotFound") {
		t.Errorf("unknown sink: status %d, stderr %q", status, stderr)
	}
	if status := stop(); status != ExitOK {
		t.Errorf("status %d, log %q", status, log)
	}
}

func TestServeErrors(t *testing.T) {
	good := manifestFile(t, echoManifest)
	bad := manifestFile(t, strings.Replace(echoManifest, "contract:", "contrakt:", 1))
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := busy.Close(); err != nil {
			t.Error(err)
		}
	}()
	noMachines := machines{open: func(vmexec.Kind) (*vmexec.Host, string, error) {
		return nil, "", &vmexec.UnavailableError{Platform: vmexec.KVM, Reason: "no /dev/kvm", Err: syscall.ENOENT}
	}}
	broken := fakeMachines
	broken.source = func(dispatcher.Sink) (lease.Source, error) { return nil, errors.New("not an ELF file") }

	tests := []struct {
		name     string
		machines machines
		args     []string
		status   int
		want     string
	}{
		{"no file", fakeMachines, nil, ExitUsage, "no manifest given"},
		{"argument", fakeMachines, []string{"-f", good, "x"}, ExitUsage, "takes no arguments"},
		{"bad listen", fakeMachines, []string{"-f", good, "--listen", "8080"}, ExitUsage, `--listen "8080": must be HOST:PORT`},
		{"bad max body", fakeMachines, []string{"-f", good, "--max-body", "0"}, ExitUsage, "--max-body"},
		{"bad quiet period", fakeMachines, []string{"-f", good, "--drain-quiet-period", "-1s"}, ExitUsage, "--drain-quiet-period -1s"},
		{"bad platform", fakeMachines, []string{"-f", good, "--platform", "xen"}, ExitUsage, `--platform "xen": must be kvm, ptrace or auto`},
		{"bad log", fakeMachines, []string{"-f", good, "--log", "xml"}, ExitUsage, `--log "xml"`},
		{"bad log level", fakeMachines, []string{"-f", good, "--log-level", "trace"}, ExitUsage, `--log-level "trace"`},
		{"missing file", fakeMachines, []string{"-f", "/no/such.yaml"}, ExitFailure, "/no/such.yaml"},
		{"bad manifest", fakeMachines, []string{"-f", bad}, ExitFailure, "contrakt"},
		{"port in use", fakeMachines, []string{"-f", good, "--listen", busy.Addr().String()}, ExitFailure, "address already in use"},
		{"no KVM", noMachines, []string{"-f", good, "--worker", "off", "--listen", "127.0.0.1:0"}, ExitFailure, "no /dev/kvm: no such file or directory; `kontain doctor` says"},
		{"no worker", noMachines, []string{"-f", good, "--listen", "127.0.0.1:0"}, ExitFailure, "kontain-worker, which runs the machines in processes of their own; `make` builds it"},
		{"worker elsewhere", noMachines, []string{"-f", good, "--worker", "/no/such", "--listen", "127.0.0.1:0"}, ExitFailure, "there is no /no/such"},
		{"worker that is none", noMachines, []string{"-f", good, "--worker", good, "--listen", "127.0.0.1:0"}, ExitFailure, "permission denied"},
		{"bad jail", fakeMachines, []string{"-f", good, "--jail", "3"}, ExitUsage, `--jail "3": must be auto, 1 or 2`},
		{"jail of nothing", fakeMachines, []string{"-f", good, "--jail", "2", "--worker", "off"}, ExitUsage, "--jail 2: there are no worker processes with --worker off"},
		{"cgroup of nothing", fakeMachines, []string{"-f", good, "--jail", "1", "--cgroup", "/x"}, ExitUsage, "--cgroup /x: cgroups are a part of the jail of level 2"},
		{"bad users", fakeMachines, []string{"-f", good, "--jail-users", "0-10"}, ExitUsage, `--jail-users "0-10": must be FIRST-LAST`},
		{"users backwards", fakeMachines, []string{"-f", good, "--jail-users", "10-9"}, ExitUsage, `--jail-users "10-9": must be FIRST-LAST`},
		{"users at the end", fakeMachines, []string{"-f", good, "--jail-users", "1-4294967295"}, ExitUsage, "from 1 to 4294967294"},
		{"bad memory", fakeMachines, []string{"-f", good, "--memory", "1Mi"}, ExitUsage, `--memory "1Mi": must be a quantity of at least 4Mi`},
		{"program that cannot run", broken, []string{"-f", good, "--listen", "127.0.0.1:0"}, ExitFailure, "not an ELF file"},
	}
	if _, _, err := openPlatform(vmexec.Auto); err == nil {
		// A jail that is asked for and is not to be had is no reason to use a weaker one.
		tests = append(tests, struct {
			name     string
			machines machines
			args     []string
			status   int
			want     string
		}{"no jail", realMachines, []string{"-f", good, "--worker", buildWorker(t), "--jail", "2", "--cgroup", "/no/such", "--listen", "127.0.0.1:0"}, ExitFailure, "the jail of level 2, which is asked for, is not to be had"})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var errs bytes.Buffer
			cmd := newServe(Streams{In: strings.NewReader(""), Out: io.Discard, Err: &errs}, test.machines)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(test.args)
			status := report(&errs, cmd.ExecuteContext(testContext(t)))
			if status != test.status || !strings.Contains(errs.String(), test.want) {
				t.Errorf("status %d, stderr %q; want %d and %q", status, errs.String(), test.status, test.want)
			}
		})
	}
}
