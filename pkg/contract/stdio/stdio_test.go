// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

func input(t *testing.T) *event.Event {
	t.Helper()
	e, err := event.DecodeJSON([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a b","time":"2026-01-02T03:04:05Z","myext":7,"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"x":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newContract() contract.Contract {
	c, _ := New(contract.Config{
		Reply: contract.ReplySettings{Type: "dev.kontain.up.reply", Source: "/up", Extensions: map[string]string{"team": "blue"}},
	})
	return c
}

func TestEnv(t *testing.T) {
	want := []string{"K_EVENT_PATH=/etc/jobsink-event", "K_EXECUTION_MODE=batch"}
	if d := cmp.Diff(want, newContract().Env()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestInput(t *testing.T) {
	got, err := newContract().Input(input(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CE_ID=1", "CE_MYEXT=7", "CE_SOURCE=/s", "CE_SPECVERSION=1.0", "CE_SUBJECT=a b", "CE_TIME=2026-01-02T03:04:05Z",
		"CE_TRACEPARENT=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "CE_TYPE=t",
	}
	if d := cmp.Diff(want, got.Env); d != "" {
		t.Errorf("environment (-want +got):\n%s", d)
	}
	back, err := event.DecodeJSON(got.Stdin)
	if err != nil || back.ID() != "1" || string(back.Data()) != `{"x":1}` {
		t.Errorf("stdin %s: %v", got.Stdin, err)
	}
}

func TestOutcomeReply(t *testing.T) {
	tests := []struct {
		name, stdout string
		contentType  string // empty: no reply
		data         string
	}{
		{"nothing", "", "", ""},
		{"text", "hello\n", "text/plain; charset=utf-8", "hello\n"},
		{"json", "{\"a\": 1}\n", "application/json", `{"a": 1}`},
		{"json number", "42\n", "application/json", "42"},
		{"array of events is data", `[{"specversion":"1.0"}]`, "application/json", `[{"specversion":"1.0"}]`},
		{"bytes", "\xff\x00", "application/octet-stream", "\xff\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newContract().Outcome(input(t), &vmexec.Result{Stdout: []byte(tt.stdout), Stderr: []byte("log\n")})
			if o.Failure != nil {
				t.Fatal(o.Failure)
			}
			if tt.contentType == "" {
				if o.Event != nil {
					t.Fatalf("reply %v", o.Event)
				}
				return
			}
			a, err := event.Attributes(o.Event)
			if err != nil {
				t.Fatal(err)
			}
			if len(a["id"]) != 36 || a["time"] == "" {
				t.Errorf("id %q time %q", a["id"], a["time"])
			}
			delete(a, "id")
			delete(a, "time")
			want := map[string]string{
				"specversion": "1.0", "type": "dev.kontain.up.reply", "source": "/up", "team": "blue", "datacontenttype": tt.contentType,
				"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			}
			if d := cmp.Diff(want, a); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if string(o.Event.Data()) != tt.data {
				t.Errorf("data %q, want %q", o.Event.Data(), tt.data)
			}
		})
	}
}

func TestOutcomeEventReply(t *testing.T) {
	o := newContract().Outcome(input(t), &vmexec.Result{Stdout: []byte(" {\n\"specversion\":\"1.0\",\"id\":\"9\",\"source\":\"/mine\",\"type\":\"mine\"}\n")})
	if o.Failure != nil || o.Event.ID() != "9" || o.Event.Source() != "/mine" || len(o.Event.Extensions()) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestOutcomeFailure(t *testing.T) {
	tests := []struct {
		name   string
		result vmexec.Result
		status int
		reason reply.Reason
		says   string
	}{
		{"exit 1", vmexec.Result{Status: 1, Message: "the program ended with exit status 1", Stdout: []byte("ignored"), Stderr: []byte("first\nlast \x1b[1mline\n\n")}, 502, reply.FunctionFailed, "exit status 1; last line of stderr: last  [1mline"},
		{"exit 65", vmexec.Result{Status: 65, Message: "m", Stderr: []byte("no such order")}, 422, reply.PermanentFailure, "no such order"},
		{"signal", vmexec.Result{Reason: vmexec.Signaled, Message: "killed by SIGSEGV"}, 502, reply.FunctionFailed, "killed by SIGSEGV"},
		{"wall", vmexec.Result{Reason: vmexec.WallLimit, Message: "time limit of 3s"}, 504, reply.DeadlineExceeded, "time limit of 3s"},
		{"cpu", vmexec.Result{Reason: vmexec.CPULimit, Message: "m"}, 504, reply.DeadlineExceeded, "m"},
		{"memory", vmexec.Result{Reason: vmexec.MemoryLimit, Message: "m"}, 502, reply.MemoryExceeded, "m"},
		{"output", vmexec.Result{Reason: vmexec.OutputLimit, Message: "m"}, 502, reply.OutputExceeded, "m"},
		{"deadlock", vmexec.Result{Reason: vmexec.Deadlock, Message: "m"}, 502, reply.FunctionFailed, "m"},
		{"canceled", vmexec.Result{Reason: vmexec.Canceled, Message: "m"}, 503, reply.Draining, "m"},
		{"without a message", vmexec.Result{Reason: vmexec.Deadlock}, 502, reply.FunctionFailed, "deadlock"},
		{"unknown", vmexec.Result{Reason: 99}, 500, reply.Internal, "reason 99"},
		{"bad event", vmexec.Result{Stdout: []byte(`{"specversion":"1.0","id":"1"}`)}, 502, reply.BadReply, "attribute source: is missing"},
		{"two events", vmexec.Result{Stdout: []byte(`{"specversion":"1.0","specversion":"1.0"}`)}, 502, reply.BadReply, "given twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newContract().Outcome(input(t), &tt.result)
			f := o.Failure
			if f == nil || o.Event != nil {
				t.Fatalf("%+v", o)
			}
			if f.Status != tt.status || f.Reason != tt.reason || !strings.Contains(f.Message, tt.says) {
				t.Errorf("%v; want %d %s and %q in it", f, tt.status, tt.reason, tt.says)
			}
		})
	}
}

func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"t"}`), []byte("x"), 0)
	f.Add([]byte("text"), []byte("\xff\n"), 1)
	c := newContract()
	e, err := event.DecodeJSON([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stdout, stderr []byte, status int) {
		o := c.Outcome(e, &vmexec.Result{Status: status, Stdout: stdout, Stderr: stderr})
		if o.Event != nil && o.Failure != nil {
			t.Fatalf("both a reply and a failure: %+v", o)
		}
		if o.Failure != nil && len(o.Failure.Body()) > reply.MaxBody {
			t.Fatalf("body of %d bytes", len(o.Failure.Body()))
		}
		if o.Event != nil {
			if err := o.Event.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
