// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"errors"
	"fmt"
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

func sink(program string, a v1alpha1.AzureContract, args ...string) dispatcher.Sink {
	return dispatcher.Sink{
		Program: program, Args: args, Limits: vmexec.Limits{Wall: 5 * time.Second},
		Contract: contract.Config{Spec: v1alpha1.Contract{Type: v1alpha1.ContractAzure, Azure: &a}},
	}
}

const counted = "1 in memory, 1 in /tmp, subject a b"

func TestHandler(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/handler")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				s := sink(program, v1alpha1.AzureContract{Function: "work", Binding: "order"})
				s.Tier = tier
				k := p.MustNew(t, s)
				for range 3 {
					if got := k.Data(t, "1", `"count"`); got != counted {
						t.Errorf("%s, want %s", got, counted)
					}
				}
				if st := k.Stats(); !st.Machines.Snapshot {
					t.Errorf("there is no snapshot: %+v", st.Machines)
				}
				for _, want := range []string{"text=counted", `text="a line on stdout\n"`} {
					if !strings.Contains(k.Log(), want) {
						t.Errorf("the log has no %s:\n%s", want, k.Log())
					}
				}
			})
		}
	})
}

// TestAnew starts the program for each event.
func TestAnew(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/handler")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNewAnew(t, sink(program, v1alpha1.AzureContract{Function: "work", Binding: "order"}))
		for range 2 {
			if got := k.Data(t, "1", `"count"`); got != counted {
				t.Errorf("%s, want %s", got, counted)
			}
		}
	})
}

func TestForwarding(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/handler")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, sink(program, v1alpha1.AzureContract{Function: "work", EnableForwardingHTTPRequest: true}))
		for range 2 {
			want := strings.Replace(counted, "a b", "a%20b", 1) + ` POST test.type {"a":1}`
			if got := k.Data(t, "1", `{"a":1}`); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if _, f := k.Send(contracttest.Event(t, "1", `"teapot"`)); f == nil || f.Status != 422 {
			t.Errorf("a teapot: %v", f)
		}
	})
}

// functionApp makes a root with a function app in /site, and returns both.
func functionApp(t *testing.T, program string) (root, handler string) {
	t.Helper()
	root = t.TempDir()
	handler = filepath.Join(root, "site", "bin", "handler")
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"site/bin/handler": b,
		"site/host.json": []byte(`{
			"version": "2.0", // as every one
			"extensions": {"http": {"routePrefix": "v1"}},
			"customHandler": {
				"description": {"defaultExecutablePath": "bin/handler", "arguments": ["--mode", "%MODE%"], "workingDirectory": "bin"},
				"enableForwardingHttpRequest": true, "port": "9090"
			},
			"logging": {"logLevel": {"default": "Information"}}
		}`),
		"site/orders/function.json": []byte(`{"bindings": [
			{"type": "httpTrigger", "direction": "in", "name": "req", "methods": ["post"], "route": "orders/new", "authLevel": "anonymous"},
			{"type": "http", "direction": "out", "name": "res"}]}`),
		"site/web/function.json": []byte(`{"bindings": [
			{"type": "httpTrigger", "direction": "in", "name": "req"},
			{"type": "http", "direction": "out", "name": "res"},
			{"type": "queue", "direction": "out", "name": "queue", "queueName": "q"}]}`),
		"site/queue/function.json": []byte(`{"bindings": [
			{"type": "queueTrigger", "direction": "in", "name": "item", "queueName": "in"},
			{"type": "queue", "direction": "out", "name": "$return", "queueName": "out"}]}`),
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return root, handler
}

// TestApp has handlers called as the files of their function app say.
func TestApp(t *testing.T) {
	root, program := functionApp(t, contracttest.BuildGo(t, "testdata/handler"))
	site := func(function string, args ...string) dispatcher.Sink {
		s := sink(program, v1alpha1.AzureContract{Function: function, App: "/site"}, args...)
		s.Root = root
		return s
	}
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				for function, want := range map[string]string{
					"orders": `1 in memory, 1 in /tmp, subject a%20b POST test.type {"a":1}`,
					"web":    `1 in memory, 1 in /tmp, subject a%20b POST http://test.default/v1/web {"a":1}`,
					"queue":  `1 in memory, 1 in /tmp, subject  "{\"a\":1}" [] in /site/bin of /site`,
				} {
					s := site(function)
					s.Tier = tier
					k := p.MustNew(t, s)
					for range 2 {
						if got := k.Data(t, "1", `{"a":1}`); got != want {
							t.Errorf("%s: %s, want %s", function, got, want)
						}
					}
				}
			})
		}
		k := p.MustNew(t, site("web"))
		for data, want := range map[string]string{
			"teapot": "422 the program refused the event for good with status 418: short and stout",
			"event":  "handler.type text/plain an event",
			"object": `reply.type application/json {"a":1}`,
			"empty":  "",
			"status": `502 the function's HTTP response, res: "fine" is no status`,
			"huge":   "502 the program's HTTP response has a body of more than the 1048576 bytes it may",
		} {
			r, f := k.Send(contracttest.Event(t, "1", `"`+data+`"`))
			got := ""
			switch {
			case f != nil:
				got = fmt.Sprint(f.Status, " ", f.Message)
			case r != nil:
				got = r.Type() + " " + r.DataContentType() + " " + string(r.Data())
			}
			if got != want {
				t.Errorf("%s: %s, want %s", data, got, want)
			}
		}
		for function, want := range map[string]string{
			"none": "the function app has no function none, with a /site/none/function.json; those that there are: orders, queue, web",
		} {
			if _, err := p.New(t, site(function)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", function, err, want)
			}
		}
	})
}

func TestAnswers(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/handler")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, sink(program, v1alpha1.AzureContract{Function: "work", Binding: "order"}))
		for _, tt := range []struct {
			data   string
			status int    // 0: accepted
			want   string // of the reply: type, content type and data; or a part of the failure
		}{
			{"nothing", 0, ""},
			{"empty", 0, ""},
			{"text", 0, "reply.type text/plain; charset=utf-8 hello"},
			{"json", 0, `reply.type application/json {"a":1}`},
			{"object", 0, `reply.type application/json {"b":[2]}`},
			{"outputs", 0, `reply.type application/json {"res":{"body":"enqueued"}}`},
			{"event", 0, "handler.type  7"},
			{"bad", 502, "not a valid CloudEvent"},
			{"null", 502, "does not begin with {"},
			{"nojson", 502, "does not begin with {"},
			{"cut", 502, "unexpected end of JSON"},
			{"two", 502, "after top-level value"},
			{"array", 502, "does not begin with {"},
			{"logs", 502, "cannot unmarshal"},
			{"huge", 502, "a body of more than the 1048576 bytes"},
			{"deep", 502, "exceeded max depth"},
			{"refuse", 422, "status 404: not for me"},
			{"fail", 502, "status 500: it broke"},
			{"exit", 502, "exit status 3; last line of stderr: last words"},
			{"sleep", 504, "time limit of 5s"},
		} {
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
			if got := k.Data(t, "n", `"count"`); got != counted {
				t.Errorf("after %s: %s", tt.data, got)
			}
		}
		if want := `text="one\ntwo\n3"`; !strings.Contains(k.Log(), want) {
			t.Errorf("the log has no %s:\n%s", want, k.Log())
		}
		large := `"` + strings.Repeat("z", 900<<10) + `"`
		if got := k.Data(t, "large", large); got != counted {
			t.Errorf("a large event: %s", got)
		}
	})
}

func TestHostile(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/handler")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, sink(program, v1alpha1.AzureContract{Function: "panic"}))
		for range 2 {
			if _, f := k.Send(contracttest.Event(t, "1", "1")); f == nil || f.Status != 502 || !strings.Contains(f.Message, "exit status 2") {
				t.Errorf("a panic: %v", f)
			}
		}
		k = p.MustNew(t, sink(program, v1alpha1.AzureContract{Function: "other"}))
		if _, f := k.Send(contracttest.Event(t, "1", "1")); f == nil || f.Status != 422 || !strings.Contains(f.Message, "status 404") {
			t.Errorf("a function that there is not: %v", f)
		}
		const want = "no program listens on port 8080, which FUNCTIONS_CUSTOMHANDLER_PORT names: the program ended with exit status 4; stderr ends: no configuration"
		if _, err := p.New(t, sink(program, v1alpha1.AzureContract{Function: "work"}, "exit")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	})
}
