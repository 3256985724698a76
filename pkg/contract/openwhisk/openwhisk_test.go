// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package openwhisk_test

import (
	"os"
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

func sink(program string, o v1alpha1.OpenWhiskContract, args ...string) dispatcher.Sink {
	return dispatcher.Sink{
		Program: program, Args: args, Limits: vmexec.Limits{Wall: 5 * time.Second},
		Contract: contract.Config{Spec: v1alpha1.Contract{Type: v1alpha1.ContractOpenWhisk, OpenWhisk: &o}},
	}
}

// root makes a folder with the proxy and files of code.
func root(t *testing.T) (dir, program string) {
	t.Helper()
	dir = t.TempDir()
	program = filepath.Join(dir, "proxy")
	if err := os.Rename(contracttest.BuildGo(t, "testdata/proxy"), program); err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]string{"code": "do <it>", "broken": "broken", "binary": "\xff\x00"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	return dir, program
}

func TestProxy(t *testing.T) {
	dir, program := root(t)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				s := sink(program, v1alpha1.OpenWhiskContract{Code: "/code"})
				s.Root, s.Tier = dir, tier
				k := p.MustNew(t, s)
				for range 3 {
					want := `{"memory":1,"tmp":1,"init":"test main \"do <it>\" false /default/test","id":"1"}`
					if got := k.Data(t, "1", `"count"`); got != want {
						t.Errorf("%s, want %s", got, want)
					}
				}
				if st := k.Stats(); !st.Machines.Snapshot {
					t.Errorf("there is no snapshot: %+v", st.Machines)
				}
				for _, want := range []string{`text="to stderr\n"`, `text="no end of line\n"`} {
					if !strings.Contains(k.Log(), want) {
						t.Errorf("the log has no %s", want)
					}
				}
				if strings.Contains(k.Log(), "XXX") {
					t.Error("the log has a sentinel")
				}
			})
		}
	})
}

func TestCode(t *testing.T) {
	dir, program := root(t)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tt := range []struct {
			name string
			spec v1alpha1.OpenWhiskContract
			want string // what /init got; or a part of the error
		}{
			{"none", v1alpha1.OpenWhiskContract{Main: "f"}, `test f "" false /default/test`},
			{"binary", v1alpha1.OpenWhiskContract{Code: "/binary", Binary: true}, `test main "/wA=" true /default/test`},
			{"not text", v1alpha1.OpenWhiskContract{Code: "/binary"}, "is not text; write binary: true"},
			{"refused", v1alpha1.OpenWhiskContract{Code: "/broken"}, "it answered status 502 to the action's code: {\"error\":\"there is no function in it\"}"},
			{"missing", v1alpha1.OpenWhiskContract{Code: "/missing"}, "no such file"},
			{"outside", v1alpha1.OpenWhiskContract{Code: "/out"}, "escapes"},
			{"above", v1alpha1.OpenWhiskContract{Code: "/../code"}, `test main "do <it>" false /default/test`},
			{"folder", v1alpha1.OpenWhiskContract{Code: "/"}, "not a regular file"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s := sink(program, tt.spec)
				s.Root = dir
				k, err := p.New(t, s)
				switch {
				case err != nil && !strings.Contains(err.Error(), tt.want):
					t.Errorf("%v; want %q", err, tt.want)
				case err == nil:
					if got := k.Data(t, "1", `"count"`); !strings.Contains(got, strings.ReplaceAll(tt.want, `"`, `\"`)) {
						t.Errorf("%s; want %q", got, tt.want)
					}
				}
			})
		}
		if _, err := p.New(t, sink(program, v1alpha1.OpenWhiskContract{Code: "/code"})); err == nil || !strings.Contains(err.Error(), "set root or image") {
			t.Errorf("code without a root: %v", err)
		}
		const want = "no program listens on port 8080, as proxies of OpenWhisk do: the program ended with exit status 4; stderr ends: no configuration"
		if _, err := p.New(t, sink(program, v1alpha1.OpenWhiskContract{}, "exit")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	})
}

// answer is what an action does, and what becomes of it.
type answer struct {
	data   string
	status int    // 0: accepted
	want   string // of the reply: type, content type and data; or a part of the failure
}

// answers are those that do not depend on the protocol.
var answers = []answer{
	{"context", 0, `reply.type application/json {"namespace":"default","action":"/default/test","host":"","key":"","ids":[32,32],"deadline":true}`},
	{"none", 0, ""},
	{"object", 0, `reply.type application/json {"a":1}`},
	{"array", 0, `reply.type application/json [1, 2]`},
	{"event", 0, "action.type  7"},
	{"bad", 502, "not a valid CloudEvent"},
	{"error", 502, "the action returned an error: it went wrong"},
	{"error 1", 502, `the action returned an error: {"code":[1]}`},
	{"error 4", 422, `the action refused the event for good: {"statusCode":404,"body":"not for me"}`},
	{"busy", 429, "the action returned an error"},
	{"null", 502, "does not begin with { or ["},
	{"text", 502, "does not begin with { or ["},
	{"no result", 502, "it is empty"},
	{"no JSON", 502, "invalid character"},
	{"two", 502, "after top-level value"},
	{"deep", 502, "exceeded max depth"},
	{"exit", 502, "exit status 3; last line of stderr: last words"},
	{"panic", 502, ""},
	{"sleep", 504, "time limit of 5s"},
}

func check(t *testing.T, k *contracttest.Sink, answers []answer) {
	t.Helper()
	for _, tt := range answers {
		r, f := k.Send(contracttest.Event(t, "1", `"`+tt.data+`"`))
		switch {
		case tt.status == 0 && f != nil:
			t.Errorf("%s: %v", tt.data, f)
		case tt.status != 0 && (f == nil || f.Status != tt.status || !strings.Contains(f.Message, tt.want)):
			t.Errorf("%s: %v; want %d with %q", tt.data, f, tt.status, tt.want)
		case tt.status == 0:
			got := ""
			if r != nil {
				got = r.Type() + " " + r.DataContentType() + " " + string(r.Data())
			}
			if got != tt.want {
				t.Errorf("%s: %.200q, want %.200q", tt.data, got, tt.want)
			}
		}
		// What one event did is nothing to the next.
		if got := k.Data(t, "n", `"count"`); !strings.HasPrefix(got, `{"memory":1,"tmp":1,`) {
			t.Errorf("after %s: %s", tt.data, got)
		}
	}
	large := `"` + strings.Repeat("z", 900<<10) + `"`
	if got := k.Data(t, "large", large); !strings.HasPrefix(got, `{"memory":1,"tmp":1,`) {
		t.Errorf("a large event: %s", got)
	}
}

func TestAnswers(t *testing.T) {
	_, program := root(t)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, sink(program, v1alpha1.OpenWhiskContract{}))
		check(t, k, append([]answer{
			{"status", 502, "the action returned an error: it broke"},
			{"status without JSON", 502, "the action did not return a JSON object: status without JSON"},
			{"huge", 502, "a body of more than the 1048576 bytes"},
		}, answers...))
	})
}

func TestPayload(t *testing.T) {
	_, program := root(t)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, sink(program, v1alpha1.OpenWhiskContract{Payload: v1alpha1.OpenWhiskPayloadData}))
		if got := k.Data(t, "1", `{"what":"object"}`); got != `{"a":1}` {
			t.Error(got)
		}
		if _, f := k.Send(contracttest.Event(t, "1", `[1]`)); f == nil || f.Status != 422 || !strings.Contains(f.Message, "not a JSON object") {
			t.Errorf("data that is no object: %v", f)
		}
	})
}
