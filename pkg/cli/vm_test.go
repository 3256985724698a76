// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/vmexec"
)

// needMachines skips without KVM, unless VMEXEC_REQUIRE_KVM=1.
func needMachines(t *testing.T) {
	t.Helper()
	host, err := vmexec.Open(vmexec.KVM)
	if err == nil {
		err = host.Close()
	}
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_KVM") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// buildWorker builds kontain-worker.
func buildWorker(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kontain-worker")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../../cmd/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// buildSample builds one of the Go samples into dir.
func buildSample(t *testing.T, dir, name string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../../samples/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return file
}

func faultyEvent(mode string) string {
	return `{"specversion":"1.0","id":"1","source":"/t","type":"t","data":{"mode":"` + mode + `"}}`
}

// TestRunInVM runs programs in virtual machines as `kontain run` does.
func TestRunInVM(t *testing.T) {
	needMachines(t)
	dir := t.TempDir()
	faulty := buildSample(t, dir, "faulty")

	tests := []struct {
		name   string
		stdin  string
		args   []string
		status int
		stdout string
		stderr string // part of it
	}{
		{"success", faultyEvent("none"), []string{"--", faulty}, 0, "{\"ok\":true}\n", ""},
		{"platform by name", faultyEvent("none"), []string{"--platform", "kvm", "--", faulty}, 0, "{\"ok\":true}\n", ""},
		{"root", faultyEvent("none"), []string{"--root", dir, "--", "/faulty"}, 0, "{\"ok\":true}\n", ""},
		{"strace", faultyEvent("none"), []string{"--strace", "--", faulty}, 0, "{\"ok\":true}\n", "exit_group(0) = ?\n+++ exited with 0 +++\n"},
		{"strace to a file", faultyEvent("none"), []string{"--strace", "--strace-output", filepath.Join(dir, "calls"), "--", faulty}, 0, "{\"ok\":true}\n", ""},
		{"strace to no folder", "", []string{"--strace", "--strace-output", filepath.Join(dir, "absent", "calls"), "--", faulty}, ExitMonitor, "", "no such file or directory"},
		{"exit status", faultyEvent("exit"), []string{"--", faulty}, 3, "", "faulty: asked to exit with status 3"},
		{"signal", faultyEvent("crash"), []string{"--", faulty}, 134, "", "SIGABRT"},
		{"timeout while computing", faultyEvent("deadline"), []string{"--timeout", "300ms", "--", faulty}, 137, "", "300ms"},
		{"timeout while sleeping", faultyEvent("sleep"), []string{"--timeout", "300ms", "--", faulty}, 137, "", "300ms"},
		{"memory", faultyEvent("memory"), []string{"--memory", "32Mi", "--", faulty}, 137, "", "32 MiB"},
		{"not ELF", "", []string{"--", scriptFile(t)}, ExitNotExec, "", "cannot run"},
		{"absent in root", "", []string{"--root", dir, "--", "/absent"}, ExitNoProg, "", "/absent"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := call(test.stdin, append([]string{"run"}, test.args...)...)
			if status != test.status || stdout != test.stdout || !strings.Contains(stderr, test.stderr) {
				t.Errorf("status %d, stdout %q, stderr %q; want %d, %q, %q", status, stdout, stderr, test.status, test.stdout, test.stderr)
			}
		})
	}

	t.Run("stats", func(t *testing.T) {
		status, _, stderr := call(faultyEvent("none"), "run", "--stats", "-o", "json", "--", faulty)
		var report runReport
		if err := json.Unmarshal([]byte(stderr), &report); err != nil || status != 0 {
			t.Fatalf("status %d, %v in %q", status, err, stderr)
		}
		if st := report.Stats; st.Exits == 0 || st.Syscalls["exit_group"] != 1 || st.PeakPages == 0 || st.Run <= 0 || len(st.Unsupported) != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

func scriptFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("hello, not a program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestServeInVM serves a sample from its manifest and sends it events: a reply,
// each class of failure, and a good one again.
func TestServeInVM(t *testing.T) {
	needMachines(t)
	dir := t.TempDir()
	buildSample(t, dir, "faulty")
	manifest, err := os.ReadFile("../../samples/faulty/sink.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(manifest), "../../bin/samples/faulty", "./faulty", 1)
	// Only what does not end is to be stopped, however slow the machine is.
	patient := strings.Replace(text, "name: faulty", "name: patient", 1)
	patient = strings.Replace(patient, "timeout: 2s", "timeout: 2m", 1)
	text = strings.Replace(text, "timeout: 2s", "timeout: 1s", 1) + "\n---\n" + patient
	file := filepath.Join(dir, "sink.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, log, stop := startServe(t, realMachines, "-f", file, "--listen", "127.0.0.1:0", "--drain-quiet-period", "1ms")
	var target string
	for deadline := time.Now().Add(testTimeout); target == "" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		target = regexp.MustCompile(`(?m)^http://127\.0\.0\.1:\d+/default/faulty$`).FindString(out.String())
	}
	if target == "" {
		t.Fatalf("no URL printed: %q, log %q", out, log)
	}
	tests := []struct {
		mode   string
		status int
		want   string
	}{
		{"none", 200, `{"ok":true}`},
		{"crash", 502, "FunctionFailed"},
		{"panic", 502, "FunctionFailed"},
		{"exit", 502, "asked to exit with status 3"},
		{"reject", 422, "PermanentFailure"},
		{"deadline", 504, "DeadlineExceeded"},
		{"sleep", 504, "DeadlineExceeded"},
		{"memory", 502, "MemoryExceeded"},
		{"output", 502, "OutputExceeded"},
		{"nonsense", 502, "BadReply"},
		{"none", 200, `{"ok":true}`},
	}
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			to := target
			if test.want != "DeadlineExceeded" {
				to = strings.TrimSuffix(target, "faulty") + "patient"
			}
			_, stdout, _ := call("", "invoke", "--type", "t", "--data", `{"mode":"`+test.mode+`"}`, "-o", "json", "--timeout", "3m", to)
			var got struct {
				Status int
				Error  string
				Reply  struct{ Data json.RawMessage }
			}
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("%v in %q", err, stdout)
			}
			said := got.Error + strings.Join(strings.Fields(string(got.Reply.Data)), "")
			if got.Status != test.status || !strings.Contains(said, test.want) {
				t.Errorf("status %d, %q; want %d, %q", got.Status, said, test.status, test.want)
			}
		})
	}
	if status := stop(); status != ExitOK {
		t.Errorf("status %d, log %q", status, log)
	}
}
