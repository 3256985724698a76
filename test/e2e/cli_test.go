// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ran is what a command left.
type ran struct {
	stdout, stderr string
	status         int // -1 when a signal ended kontain itself
}

// command runs kontain to its end.
func command(t *testing.T, stdin io.Reader, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, kontain, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%v: %v; stderr %q", cmd.Args, err, &stderr)
	}
	return ran{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func TestInvoke(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	sink(t, dir, "upper", uppercase, nil)
	sink(t, dir, "cat", guest, []string{"cat"})
	sink(t, dir, "silent", guest, []string{"silent"})
	sink(t, dir, "exit", guest, []string{"exit", "1"})
	sink(t, dir, "sleep", guest, []string{"sleep"})
	s := serve(t, dir)
	event := `{"specversion":"1.0","id":"f1","source":"/file","type":"t","tenant":"a","data":{"text":"from a file"}}`
	file := filepath.Join(t.TempDir(), "event.json")
	writeFile(t, file, event)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String() + "/ns/x"
	closed.Close()

	tests := []struct {
		name   string
		args   []string
		stdin  string
		status int
		stdout []string
		stderr []string
	}{
		{"reply", []string{"--type", "t", "--data", `{"text":"grüße"}`, s.sink("upper")}, "", 0, []string{"type: dev.kontain.samples.uppercase\n", "GRÜßE", "datacontenttype: application/json"}, []string{"200 OK in "}},
		{"structured", []string{"--mode", "structured", "--type", "t", "--data", `"x"`, s.sink("upper")}, "", 0, []string{`{"text":"X"}`}, nil},
		{"extension", []string{"--type", "t", "--id", "i1", "--subject", "a b%", "--extension", "tenant=a", s.sink("cat")}, "", 0, []string{"id: i1\n", "subject: a b%\n", "tenant: a\n"}, nil},
		{"file", []string{"--event", file, s.sink("cat")}, "", 0, []string{"id: f1\n", "tenant: a\n", "from a file"}, nil},
		{"stdin", []string{"--event", "-", s.sink("cat")}, event, 0, []string{"id: f1\n"}, nil},
		{"no reply", []string{"--type", "t", s.sink("silent")}, "", 0, nil, []string{"accepted, no reply"}},
		{"failure", []string{"--type", "t", s.sink("exit")}, "", 1, nil, []string{"502 Bad Gateway", "FunctionFailed", "the reason why"}},
		{"no sink", []string{"--type", "t", s.sink("none")}, "", 1, nil, []string{"404 Not Found", "/ns/none"}},
		{"nobody there", []string{"--type", "t", nobody}, "", 1, nil, []string{"connection refused", "kontain serve"}},
		{"timeout", []string{"--type", "t", "--timeout", "300ms", s.sink("sleep")}, "", 1, nil, []string{"no answer within 300ms", "--timeout"}},
		{"no event", []string{s.sink("cat")}, "", 2, nil, []string{"--event", "--type"}},
		{"no URL", []string{"--type", "t", "ns/cat"}, "", 2, nil, []string{"not an http or https URL"}},
		{"bad file", []string{"--event", "-", s.sink("cat")}, "{", 1, nil, []string{"stdin is not a CloudEvent"}},
		{"unknown flag", []string{"--tpye", "t", s.sink("cat")}, "", 2, nil, []string{"--tpye", "--help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := command(t, strings.NewReader(tt.stdin), append([]string{"invoke"}, tt.args...)...)
			if r.status != tt.status {
				t.Errorf("status %d, want %d", r.status, tt.status)
			}
			if tt.stdout == nil && r.stdout != "" {
				t.Errorf("stdout %q, want none", r.stdout)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("stdout %q does not have %q", r.stdout, want)
				}
			}
			for _, want := range tt.stderr {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr %q does not have %q", r.stderr, want)
				}
			}
		})
	}

	t.Run("JSON", func(t *testing.T) {
		var got struct {
			Status     int
			DurationNs int64
			Reply      cloudevents.Event
			Error      string
		}
		r := command(t, nil, "invoke", "--output", "json", "--type", "t", "--data", `{"text":"x"}`, s.sink("upper"))
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 0 || r.stderr != "" {
			t.Fatalf("%v: %+v", err, r)
		}
		if got.Status != 200 || got.DurationNs <= 0 || got.Reply.Type() != "dev.kontain.samples.uppercase" || !strings.Contains(string(got.Reply.Data()), `"X"`) {
			t.Errorf("%s", r.stdout)
		}
		r = command(t, nil, "invoke", "--output", "json", "--type", "t", s.sink("exit"))
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 1 || got.Status != 502 || !strings.Contains(got.Error, "FunctionFailed") {
			t.Errorf("%v: %+v", err, r)
		}
	})
	s.stop()
}

// The CloudEvents SDK for Go, with which Knative's own senders are made,
// understands every answer.
func TestSDK(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	sink(t, dir, "cat", guest, []string{"cat"})
	sink(t, dir, "silent", guest, []string{"silent"})
	sink(t, dir, "data", guest, []string{"print", `{"n":1}`}, "reply: {type: made, source: /made, extensions: {team: blue}}")
	sink(t, dir, "refuse", guest, []string{"exit", "65"})
	sink(t, dir, "fail", guest, []string{"exit", "1"})
	s := serve(t, dir)
	client, err := cloudevents.NewClientHTTP()
	if err != nil {
		t.Fatal(err)
	}
	// The SDK neither encodes nor decodes the percent signs of header values, so
	// its attributes hold nothing that would need it.
	e := cloudevents.NewEvent()
	e.SetID("A-234/5.6")
	e.SetSource("https://example.com/a?b=c#d")
	e.SetType("dev.example.thing")
	e.SetSubject("a,b;'c'")
	e.SetTime(time.Date(2026, 2, 3, 4, 5, 6, 789000000, time.UTC))
	e.SetDataSchema("https://example.com/schema")
	e.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if err := e.SetData("application/json", map[string]any{"text": "<grüße> & \u2028"}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"binary", "structured"} {
		t.Run(mode, func(t *testing.T) {
			ctx := cloudevents.ContextWithTarget(t.Context(), s.sink("cat"))
			if mode == "structured" {
				ctx = cloudevents.WithEncodingStructured(ctx)
			}
			reply, result := client.Request(ctx, e)
			if !cloudevents.IsACK(result) || reply == nil {
				t.Fatalf("%v %v", reply, result)
			}
			if d := cmp.Diff(e.String(), reply.String()); d != "" {
				t.Errorf("what came back (-sent +got):\n%s", d)
			}
		})
	}
	t.Run("no reply", func(t *testing.T) {
		reply, result := client.Request(cloudevents.ContextWithTarget(t.Context(), s.sink("silent")), e)
		if !cloudevents.IsACK(result) || reply != nil {
			t.Errorf("%v %v", reply, result)
		}
	})
	t.Run("data", func(t *testing.T) {
		reply, result := client.Request(cloudevents.ContextWithTarget(t.Context(), s.sink("data")), e)
		if !cloudevents.IsACK(result) || reply == nil {
			t.Fatalf("%v %v", reply, result)
		}
		got := []any{reply.Type(), reply.Source(), reply.Extensions()["team"], reply.Extensions()["traceparent"], reply.DataContentType(), string(reply.Data()), reply.ID() != "" && reply.ID() != e.ID()}
		want := []any{"made", "/made", "blue", e.Extensions()["traceparent"], "application/json", `{"n":1}`, true}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("reply (-want +got):\n%s", d)
		}
	})
	for name, status := range map[string]int{"refuse": 422, "fail": 502, "none": 404} {
		t.Run(name, func(t *testing.T) {
			result := client.Send(cloudevents.ContextWithTarget(t.Context(), s.sink(name)), e)
			var r *cehttp.Result
			if !cloudevents.ResultAs(result, &r) || r.StatusCode != status || cloudevents.IsACK(result) {
				t.Errorf("%v, want %d", result, status)
			}
		})
	}
	t.Run("batch", func(t *testing.T) {
		send := func(sink, body string) *answer {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.sink(sink), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", cloudevents.ApplicationCloudEventsBatchJSON)
			a, err := do(newClient(t), r)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		one, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		two := strings.Replace(string(one), `"id":"A`, `"id":"B`, 1)
		a := send("cat", "["+string(one)+","+two+"]")
		var replies []cloudevents.Event
		if err := json.Unmarshal([]byte(a.body), &replies); err != nil || a.status != 200 || len(replies) != 2 || replies[0].ID() != e.ID() || replies[1].ID() == e.ID() {
			t.Errorf("%v: %+v", err, a)
		}
		if a := send("silent", "["+string(one)+"]"); a.status != 200 || a.body != "" {
			t.Errorf("no replies: %+v", a)
		}
		checkFailure(t, send("refuse", "["+string(one)+"]"), 422, "PermanentFailure")
	})
	s.stop()
}

func TestRun(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "script"), "#!/bin/sh\n")
	writeFile(t, filepath.Join(dir, "plain"), "x")
	if err := os.Chmod(filepath.Join(dir, "script"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyProgram(t, guest, filepath.Join(dir, "guest"), true)
	writeFile(t, filepath.Join(dir, "hello.txt"), "in the root\n")
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, "of the host")

	tests := []struct {
		name   string
		args   []string
		status int
		stdout string
		stderr []string // parts; nil: nothing may be there
	}{
		{"output", []string{"--", guest, "print", "hi\n"}, 0, "hi\n", nil},
		{"arguments", []string{guest, "args", "--memory", "a b", "", "ü"}, 0, `["args" "--memory" "a b" "" "ü"]`, nil},
		{"environment", []string{"-e", "X=1=2", "--", guest, "env", "X"}, 0, "1=2", nil},
		{"environment is not passed on", []string{"--", guest, "env", "KONTAIN_E2E"}, 0, "", nil},
		{"environment passed by name", []string{"-e", "KONTAIN_E2E", "--", guest, "env", "KONTAIN_E2E"}, 0, "here", nil},
		{"exit 1", []string{"--", guest, "exit", "1"}, 1, "", []string{"first line\nthe reason why\n"}},
		{"exit 65", []string{"--", guest, "exit", "65"}, 65, "", []string{"the reason why"}},
		{"exit 255", []string{"--", guest, "exit", "255"}, 255, "", []string{"the reason why"}},
		{"Go panic", []string{"--", guest, "nil"}, 2, "", []string{"panic: runtime error: invalid memory address", "[signal SIGSEGV"}},
		{"timeout", []string{"--timeout", "300ms", "--", guest, "spin"}, 137, "", []string{"kontain: ", "300ms"}},
		{"timeout asleep", []string{"--timeout", "300ms", "--", guest, "sleep"}, 137, "", []string{"300ms"}},
		{"memory", []string{"--memory", "32Mi", "--", guest, "memory"}, 137, "", []string{"32 MiB"}},
		{"not found", []string{"--", "./no-such-program"}, 127, "", []string{"no-such-program"}},
		{"not in PATH", []string{"--", "no-such-program"}, 127, "", []string{"no-such-program"}},
		{"not executable", []string{"--", filepath.Join(dir, "plain")}, 126, "", []string{"permission denied"}},
		{"script", []string{"--", filepath.Join(dir, "script")}, 127, "", []string{"it is a script for /bin/sh"}},
		{"folder", []string{"--", dir}, 126, "", []string{"directory"}},
		{"root", []string{"--root", dir, "--", "/guest", "read", "/hello.txt"}, 0, "in the root\n", nil},
		{"root and cwd", []string{"--root", filepath.Dir(dir), "--cwd", "/" + filepath.Base(dir), "--", "./guest", "read", "hello.txt"}, 0, "in the root\n", nil},
		{"no file of the host", []string{"--", guest, "read", secret}, 1, "", []string{"no such file"}},
		{"nothing above the root", []string{"--root", dir, "--", "/guest", "read", "/../../../../.." + secret}, 1, "", []string{"no such file"}},
		{"root without program", []string{"--root", dir, "--", "/none"}, 127, "", []string{"/none"}},
		{"no program", nil, 2, "", []string{"no program given"}},
		{"little memory", []string{"--memory", "1Mi", "--", guest}, 2, "", []string{"--memory", "4Mi"}},
		{"ptrace", []string{"--platform", "ptrace", "--", guest, "silent"}, 0, "", []string{"kontain: platform ptrace: ", "as a process"}},
	}
	t.Setenv("KONTAIN_E2E", "here")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := command(t, nil, append([]string{"run"}, tt.args...)...)
			if r.status != tt.status || r.stdout != tt.stdout {
				t.Errorf("status %d, stdout %q; want %d, %q", r.status, r.stdout, tt.status, tt.stdout)
			}
			if tt.stderr == nil && r.stderr != "" {
				t.Errorf("stderr %q, want none", r.stderr)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr %q does not have %q", r.stderr, want)
				}
			}
		})
	}
	t.Run("signals", func(t *testing.T) {
		needC(t)
		for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGILL, unix.SIGABRT, unix.SIGFPE, unix.SIGKILL, unix.SIGSEGV, unix.SIGTERM} {
			r := command(t, nil, "run", "--", cGuest, "raise", fmt.Sprint(int(sig)))
			if r.status != 128+int(sig) || !strings.Contains(r.stderr, unix.SignalName(sig)) {
				t.Errorf("%v: %+v", sig, r)
			}
		}
		if r := command(t, nil, "run", "--", cGuest, "store"); r.status != 139 || !strings.Contains(r.stderr, "SIGSEGV") || !strings.Contains(r.stderr, "0x1230") {
			t.Errorf("a store to 0x1230: %+v", r)
		}
	})
	t.Run("dynamic", func(t *testing.T) {
		needC(t)
		if r := command(t, nil, "run", "--", cDynamic, "print", "x"); r.status != 127 || !strings.Contains(r.stderr, "--root /") {
			t.Errorf("without libraries: %+v", r)
		}
		if r := command(t, nil, "run", "--root", "/", "--", cDynamic, "print", "x"); r.status != 0 || r.stdout != "x" || r.stderr != "" {
			t.Errorf("with the libraries of this machine: %+v", r)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		text := strings.Repeat("all of the bytes that there are: \x00\xff\n", 100000)
		if r := command(t, strings.NewReader(text), "run", "--", guest, "cat"); r.status != 0 || r.stdout != text || r.stderr != "" {
			t.Errorf("status %d, %d of %d bytes, stderr %q", r.status, len(r.stdout), len(text), r.stderr)
		}
	})
	t.Run("statistics", func(t *testing.T) {
		r := command(t, nil, "run", "--stats", "--output", "json", "--", guest, "print", "x")
		var stats map[string]any
		if err := json.Unmarshal([]byte(r.stderr), &stats); err != nil || r.stdout != "x" || r.status != 0 {
			t.Errorf("%v: %+v", err, r)
		}
	})
}

// start starts `kontain run` with its streams as pipes.
func start(t *testing.T, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout io.ReadCloser, stderr *output) {
	t.Helper()
	cmd = exec.Command(kontain, append([]string{"run"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	stderr = &output{}
	cmd.Stderr = stderr
	var err1, err2 error
	stdin, err1 = cmd.StdinPipe()
	stdout, err2 = cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, stdout, stderr
}

// end waits for a command and returns its exit status, or 128+n when signal n
// ended kontain itself: a shell shows the same.
func end(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the state says what matters
	if !timer.Stop() {
		t.Fatalf("%v did not end within %v", cmd.Args, patience)
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// A conversation: what is written to stdin is answered before its end.
func TestRunInteractive(t *testing.T) {
	needKVM(t)
	cmd, stdin, stdout, stderr := start(t, "--", guest, "cat")
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(stdin, line); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(line))
		if _, err := io.ReadFull(stdout, b); err != nil || string(b) != line {
			t.Fatalf("%q %v, want %q; stderr %q", b, err, line, stderr)
		}
	}
	stdin.Close()
	if status := end(t, cmd); status != 0 {
		t.Errorf("status %d; stderr %q", status, stderr)
	}
}

// When nobody reads any more (`kontain run -- p | head -1`), the program gets
// SIGPIPE as it would natively.
func TestRunStdoutClosed(t *testing.T) {
	needKVM(t)
	cmd, stdin, stdout, stderr := start(t, "--", guest, "output")
	defer stdin.Close()
	if _, err := io.ReadFull(stdout, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	if status := end(t, cmd); status != 128+int(unix.SIGPIPE) {
		t.Errorf("status %d, want %d; stderr %q", status, 128+int(unix.SIGPIPE), stderr)
	}
}

// Ctrl-C and SIGTERM end the program, whatever it does.
func TestRunInterrupted(t *testing.T) {
	needKVM(t)
	for _, tt := range []struct {
		mode string
		sig  syscall.Signal
	}{{"cat", unix.SIGINT}, {"cat", unix.SIGTERM}, {"output", unix.SIGINT}} {
		t.Run(tt.mode+" "+unix.SignalName(tt.sig), func(t *testing.T) {
			cmd, stdin, stdout, stderr := start(t, "--", guest, tt.mode)
			defer stdin.Close()
			if tt.mode == "cat" {
				if _, err := io.WriteString(stdin, "x"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil { // it runs
				t.Fatal(err)
			}
			begin := time.Now()
			if err := cmd.Process.Signal(tt.sig); err != nil {
				t.Fatal(err)
			}
			if tt.mode == "output" {
				go io.Copy(io.Discard, stdout) //nolint:errcheck // Whatever is left in the pipe.
			}
			if status := end(t, cmd); status != 128+int(tt.sig) {
				t.Errorf("status %d, want %d; stderr %q", status, 128+int(tt.sig), stderr)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Mistakes in how serve is called are told at once.
func TestServeUsage(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	sink(t, dir, "good", guest, []string{"silent"})
	writeFile(t, filepath.Join(dir, "typo.txt"), manifest("typo", guest, nil, "timeuot: 1s"))
	unavailable := strings.Replace(manifest("later", guest, nil), "isolation: VM", "receiver: Dedicated", 1)
	writeFile(t, filepath.Join(dir, "later.txt"), unavailable)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		stderr []string
	}{
		{"no file", nil, 2, []string{"-f FILE-OR-FOLDER"}},
		{"missing file", []string{"-f", filepath.Join(dir, "none.yaml")}, 1, []string{"none.yaml", "no such file"}},
		{"typing error", []string{"-f", filepath.Join(dir, "typo.txt")}, 1, []string{"typo.txt:9:", "timeuot"}},
		{"not available yet", []string{"-f", filepath.Join(dir, "later.txt")}, 1, []string{"later.txt:7:", "receiver"}},
		{"empty folder", []string{"-f", t.TempDir()}, 1, []string{"no KontainSink"}},
		{"port in use", []string{"-f", dir, "--listen", busy.Addr().String()}, 1, []string{"address already in use", busy.Addr().String()}},
		{"bad address", []string{"-f", dir, "--listen", "8080"}, 2, []string{"--listen", "HOST:PORT"}},
		{"bad size", []string{"-f", dir, "--max-body", "lots"}, 2, []string{"--max-body", "1Mi"}},
		{"bad log", []string{"-f", dir, "--log", "xml"}, 2, []string{"--log", "text or json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := command(t, nil, append([]string{"serve"}, tt.args...)...)
			if r.status != tt.status || r.stdout != "" {
				t.Errorf("status %d, stdout %q; want %d", r.status, r.stdout, tt.status)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr %q does not have %q", r.stderr, want)
				}
			}
		})
	}
}
