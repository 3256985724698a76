// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// call runs kontain with args and returns its status and output.
func call(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = Main(args, Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs})
	return status, out.String(), errs.String()
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // part of stderr
	}{
		{"unknown command", []string{"rnu"}, `unknown command "rnu"; did you mean run?`},
		{"unknown flag", []string{"run", "--memroy", "1", "--", "x"}, "unknown flag: --memroy (see kontain run --help)"},
		{"run without program", []string{"run"}, "run: no program given"},
		{"run bad platform", []string{"run", "--platform", "xen", "--", "x"}, `--platform "xen": must be kvm, ptrace or auto`},
		{"run bad memory", []string{"run", "--memory", "much", "--", "x"}, `--memory "much": not a quantity`},
		{"run little memory", []string{"run", "--memory", "1Mi", "--", "x"}, "--memory 1Mi: must be between 4Mi and 64Gi"},
		{"run huge memory", []string{"run", "--memory", "100Ei", "--", "x"}, "must be between"},
		{"run negative timeout", []string{"run", "--timeout", "-1s", "--", "x"}, "must not be negative"},
		{"run bad env", []string{"run", "-e", "=x", "--", "x"}, `-e "=x": must be NAME=VALUE`},
		{"run relative cwd", []string{"run", "--cwd", "tmp", "--", "x"}, "must be an absolute path"},
		{"run missing root", []string{"run", "--root", "/no/such/folder", "--", "x"}, "/no/such/folder: no such file"},
		{"run root is a file", []string{"run", "--root", "/proc/version", "--", "x"}, "not a folder"},
		{"run json without stats", []string{"run", "-o", "json", "--", "x"}, "give --stats too"},
		{"bad output", []string{"version", "-o", "xml"}, `must be text or json, not "xml"`},
		{"version with argument", []string{"version", "1"}, "kontain version takes no arguments, got \"1\""},
		{"invoke without URL", []string{"invoke", "--type", "t"}, "needs one URL"},
		{"invoke bad URL", []string{"invoke", "--type", "t", "localhost:8080/x"}, "not an http or https URL"},
		{"invoke without event", []string{"invoke", "http://127.0.0.1/"}, "no event given: --event FILE, or --type"},
		{"invoke both", []string{"invoke", "--event", "-", "--type", "t", "http://127.0.0.1/"}, "--type cannot be given with it"},
		{"invoke bad mode", []string{"invoke", "--type", "t", "--mode", "batch", "http://127.0.0.1/"}, "must be binary or structured"},
		{"invoke bad extension", []string{"invoke", "--type", "t", "--extension", "a", "http://127.0.0.1/"}, "must be NAME=VALUE"},
		{"invoke bad extension name", []string{"invoke", "--type", "t", "--extension", "a-b=c", "http://127.0.0.1/"}, "--extension a-b"},
		{"invoke bad timeout", []string{"invoke", "--type", "t", "--timeout", "0s", "http://127.0.0.1/"}, "must be more than 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := call("", test.args...)
			if status != ExitUsage {
				t.Errorf("status %d, want %d", status, ExitUsage)
			}
			if stdout != "" {
				t.Errorf("stdout %q, want nothing", stdout)
			}
			if !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line with %q", stderr, test.want)
			}
		})
	}
}

// TestHelp holds that each command explains itself with an example.
func TestHelp(t *testing.T) {
	root := newRoot(Streams{})
	for _, cmd := range root.Commands() {
		t.Run(cmd.Name(), func(t *testing.T) {
			if cmd.Example == "" || cmd.Short == "" {
				t.Error("no example or no short description")
			}
			status, stdout, stderr := call("", cmd.Name(), "--help")
			if status != ExitOK || stderr != "" || !strings.Contains(stdout, "Examples:") {
				t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
			}
		})
	}
	for _, args := range [][]string{nil, {"help"}, {"help", "run"}, {"completion", "bash"}} {
		if status, stdout, _ := call("", args...); status != ExitOK || stdout == "" {
			t.Errorf("kontain %s: status %d, stdout %q", strings.Join(args, " "), status, stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	status, stdout, _ := call("", "version", "--output", "json")
	var v map[string]string
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || status != ExitOK || v["version"] != Version {
		t.Errorf("status %d, stdout %q, %v", status, stdout, err)
	}
	if _, stdout, _ := call("", "version"); !strings.HasPrefix(stdout, "kontain "+Version+" (go") {
		t.Errorf("stdout %q", stdout)
	}
}

// TestDoctor holds that both forms say the same, whatever the machine offers.
func TestDoctor(t *testing.T) {
	status, text, _ := call("", "doctor")
	jsonStatus, jsonText, _ := call("", "doctor", "-o", "json")
	var report struct {
		Verdict struct {
			CanRun bool   `json:"canRun"`
			Text   string `json:"text"`
		} `json:"verdict"`
	}
	if err := json.Unmarshal([]byte(jsonText), &report); err != nil {
		t.Fatal(err)
	}
	want := ExitFailure
	if report.Verdict.CanRun {
		want = ExitOK
	}
	if status != want || jsonStatus != want {
		t.Errorf("statuses %d and %d, want %d", status, jsonStatus, want)
	}
	if !strings.HasSuffix(text, report.Verdict.Text+"\n") {
		t.Errorf("the text does not end with the verdict %q:\n%s", report.Verdict.Text, text)
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}
