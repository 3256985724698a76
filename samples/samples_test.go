// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package samples runs the samples that are functions as people have them, those that need
// an interpreter with this machine's: each event finds the program as it was when its
// snapshot was taken.
package samples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/vmexec"
)

// interpreter asks a program for the path of its executable: what PATH has may be a
// wrapper.
func interpreter(t *testing.T, name string, say ...string) string {
	t.Helper()
	out, err := exec.Command(name, say...).Output()
	switch {
	case errors.Is(err, exec.ErrNotFound) && os.Getenv("KONTAIN_REQUIRE_TOOLS") != "1":
		t.Skipf("%s is not installed", name)
	case err != nil:
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func python(t *testing.T) string {
	return interpreter(t, "python3", "-c", "import os, sys; print(os.path.realpath(sys.executable))")
}

// file is the path of a file of a sample.
func file(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// answer is an event and what comes of it.
type answer struct {
	data   string
	status int    // 0: accepted
	want   string // the data of the reply, or a part of the failure
}

// counts sends events to a program of this machine, in every place and on every tier:
// the first answer comes twice, and again after the others.
func counts(t *testing.T, c v1alpha1.Contract, program string, args []string, answers ...answer) {
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				k := p.MustNew(t, dispatcher.Sink{
					Root: "/", Program: program, Args: args, Tier: tier, Contract: contract.Config{Spec: c},
					Limits: vmexec.Limits{Memory: 1 << 30, Wall: 30 * time.Second},
				})
				for _, a := range append([]answer{answers[0], answers[0]}, answers[1:]...) {
					r, f := k.Send(contracttest.Event(t, "1", a.data))
					switch {
					case a.status == 0 && f != nil:
						t.Errorf("%s: %v", a.data, f)
					case a.status == 0 && (r == nil || string(r.Data()) != a.want):
						t.Errorf("%s: reply %v; want %s", a.data, r, a.want)
					case a.status != 0 && (f == nil || f.Status != a.status || !strings.Contains(f.Message, a.want)):
						t.Errorf("%s: %v; want %d with %q", a.data, f, a.status, a.want)
					}
				}
				if got := k.Data(t, "1", answers[0].data); got != answers[0].want {
					t.Errorf("after the others: %s; want %s", got, answers[0].want)
				}
				if st := k.Stats(); !st.Machines.Snapshot {
					t.Errorf("there is no snapshot: %+v", st.Machines)
				}
			})
		}
	})
}

var overHTTP = v1alpha1.Contract{Type: v1alpha1.ContractHTTP, HTTP: &v1alpha1.HTTPContract{Readiness: "/health/readiness"}}

func TestHTTPGo(t *testing.T) {
	counts(t, overHTTP, contracttest.BuildGo(t, "http-go"), nil,
		answer{`{"name":"you"}`, 0, `{"greeting":"hello, you","request":1}` + "\n"},
		answer{`"x"`, 422, "status 400: the data of the event must be"})
}

// TestCloudEventsGo, TestCloudEventsPython and TestHTTPNode have receivers with the SDKs of
// CloudEvents.
func TestCloudEventsGo(t *testing.T) {
	counts(t, v1alpha1.Contract{Type: v1alpha1.ContractHTTP}, contracttest.BuildGo(t, "cloudevents-go"), nil,
		answer{`{"name":"you"}`, 0, `{"greeting":"hello, you","event":1,"in_file":1}`},
		answer{`"x"`, 422, "status 400: the data of the event must be"})
}

func TestCloudEventsPython(t *testing.T) {
	program := python(t)
	sdk, err := exec.Command(program, "-c", "import cloudevents.core as c, os; print(os.path.dirname(os.path.dirname(c.__file__)))").Output()
	if err != nil {
		t.Skip("the CloudEvents SDK for Python is not installed")
	}
	// As PYTHONPATH would have it.
	run := fmt.Sprintf("import runpy, sys; sys.path.insert(0, %q); runpy.run_path(%q, run_name='__main__')", filepath.Dir(strings.TrimSpace(string(sdk))), file(t, "cloudevents-python/server.py"))
	counts(t, v1alpha1.Contract{Type: v1alpha1.ContractHTTP}, program, []string{"-c", run},
		answer{`{"name":"you"}`, 0, `{"greeting": "hello, you", "event": 1, "in_file": 1}`},
		answer{`"x"`, 422, "status 400: TypeError"})
}

func TestHTTPPython(t *testing.T) {
	c := overHTTP
	c.HTTP = c.HTTP.DeepCopy()
	c.HTTP.AfterRestore = "/restored"
	counts(t, c, python(t), []string{file(t, "http-python/server.py")},
		answer{`{"name":"you"}`, 0, `{"greeting": "hello, you", "request": 1, "in_file": 1}`},
		answer{`"x"`, 422, "status 400: the data of the event must be"})
}

// TestReseeds holds that a copy of a program which reseeds in its after-restore path has
// random numbers of its own.
func TestReseeds(t *testing.T) {
	c := overHTTP
	c.HTTP = c.HTTP.DeepCopy()
	c.HTTP.AfterRestore = "/restored"
	program, args := python(t), []string{file(t, "http-python/server.py")}
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, dispatcher.Sink{
			Root: "/", Program: program, Args: args, Tier: p.Tiers()[0], Contract: contract.Config{Spec: c},
			Limits: vmexec.Limits{Memory: 1 << 30, Wall: 30 * time.Second},
		})
		seen := map[any]bool{}
		for range 4 {
			r, f := k.Send(contracttest.Event(t, "1", `{"name":"you"}`))
			if f != nil {
				t.Fatal(f)
			}
			seen[r.Extensions()["luckynumber"]] = true
		}
		if len(seen) != 4 || seen[nil] {
			t.Errorf("in 4 copies: %v", seen)
		}
	})
}

func TestHTTPNode(t *testing.T) {
	node := interpreter(t, "node", "-p", "fs.realpathSync(process.execPath)")
	counts(t, overHTTP, node, []string{filepath.Join(withModules(t, "http-node"), "server.js")},
		answer{`{"name":"you"}`, 0, `{"greeting":"hello, you","request":1,"in_file":1}`},
		answer{`"x"`, 422, "status 400: the data of the event must be"})
}

// withModules copies a sample of Node and installs what it depends on.
func withModules(t *testing.T, sample string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.CopyFS(dir, os.DirFS(sample)), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	install := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries", "0")
	install.Dir = dir
	out, err := install.CombinedOutput()
	switch {
	case err == nil:
	case strings.Contains(string(out), "npm error network") || strings.Contains(string(out), "npm ERR! network"):
		t.Skipf("npm does not reach a registry: %s", out)
	default:
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

func TestOpenWhiskGo(t *testing.T) {
	c := v1alpha1.Contract{Type: v1alpha1.ContractOpenWhisk, OpenWhisk: &v1alpha1.OpenWhiskContract{Protocol: v1alpha1.OpenWhiskActionLoop, Payload: v1alpha1.OpenWhiskPayloadData}}
	counts(t, c, contracttest.BuildGo(t, "openwhisk-go"), nil,
		answer{`{"name":"Ada"}`, 0, `{"activation":true,"event":1,"greeting":"Hello, Ada!","in_file":1}`},
		answer{`{}`, 422, "the parameter name is missing"})
}

// TestAzureGo has a function app: its folder is what make makes.
func TestAzureGo(t *testing.T) {
	app := t.TempDir()
	if err := errors.Join(os.CopyFS(app, os.DirFS("azure-go")), os.Chmod(app, 0o755)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(app, "handler")
	if err := os.Rename(contracttest.BuildGo(t, "azure-go"), program); err != nil {
		t.Fatal(err)
	}
	function := func(name string) v1alpha1.Contract {
		return v1alpha1.Contract{Type: v1alpha1.ContractAzure, Azure: &v1alpha1.AzureContract{Function: name, App: app}}
	}
	counts(t, function("order"), program, nil,
		answer{`{"item":"tea","quantity":24}`, 0, `{"accepted":"tea","event":1,"in_file":1,"parcels":3}`},
		answer{`{}`, 422, "an order has an item and a quantity"})
	counts(t, function("greet"), program, nil,
		answer{`{"name":"you"}`, 0, `{"event":1,"greeting":"hello, you","in_file":1}`},
		answer{`{}`, 422, "status 400: a greeting needs a name"})
}

var overLambda = v1alpha1.Contract{Type: v1alpha1.ContractLambda}

func TestLambdaGo(t *testing.T) {
	counts(t, overLambda, contracttest.BuildGo(t, "lambda-go"), nil,
		answer{`{"items":[{"price":2.5,"count":4},{"price":1,"count":2}]}`, 0, `{"order":"1","sum":12}`},
		answer{`{"items":[]}`, 502, "an order without items"})
}

func TestLambdaPython(t *testing.T) {
	counts(t, overLambda, python(t), []string{file(t, "lambda-python/bootstrap.py")},
		answer{`{"text":"one two"}`, 0, `{"words": 2, "event": 1, "in_file": 1}`},
		answer{`{}`, 502, "the function failed: KeyError: 'text'"})
}

// TestLambdaShell has the runtime that AWS's tutorial of custom runtimes is about: a
// shell script with curl.
func TestLambdaShell(t *testing.T) {
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	counts(t, overLambda, shell, []string{file(t, "lambda-shell/bootstrap")},
		answer{`{"text":"one two"}`, 0, `{"event":1,"in_file":1,"bytes":145}`})
}
