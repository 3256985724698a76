// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// replyHandler answers with a reply event that tells what arrived.
func replyHandler(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Ce-Specversion", "1.0")
		w.Header().Set("Ce-Id", "r1")
		w.Header().Set("Ce-Source", "/test")
		w.Header().Set("Ce-Type", "reply")
		w.Header().Set("Ce-Subject", "gr%C3%BC%20%2541")
		w.Header().Set("Ce-Tenant", r.Header.Get("Ce-Tenant"))
		w.Header().Set("Content-Type", "application/json")
		answer := map[string]string{"type": r.Header.Get("Ce-Type"), "subject": r.Header.Get("Ce-Subject"), "contentType": r.Header.Get("Content-Type"), "body": string(body)}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}
}

func TestInvokeReply(t *testing.T) {
	server := httptest.NewServer(replyHandler(t))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "event.json")
	event := `{"specversion":"1.0","id":"1","source":"/s","type":"from.file","data":{"a":1}}`
	if err := os.WriteFile(file, []byte(event), 0o644); err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name  string
		stdin string
		args  []string
		want  []string // parts of stdout
	}{
		{
			"flags", "",
			[]string{"--type", "t1", "--data", `{"x":1}`, "--extension", "tenant=a", "--subject", "s"},
			[]string{"id: r1\nsource: /test\ntype: reply\nsubject: grü %41\ntenant: a\ndatacontenttype: application/json\n", `"type":"t1"`, `"contentType":"application/json"`, `{\"x\":1}`},
		},
		{"text", "", []string{"--type", "t1", "--data", "hello"}, []string{`"contentType":"text/plain"`, `"body":"hello"`}},
		{"content type", "", []string{"--type", "t1", "--data", "<a/>", "--content-type", "text/xml"}, []string{`"contentType":"text/xml"`}},
		{"percent-encoding", "", []string{"--type", "t1", "--subject", "ü 5%"}, []string{`"subject":"%C3%BC%205%25"`}},
		{"no data", "", []string{"--type", "t1"}, []string{`"body":""`}},
		{"file", "", []string{"--event", file}, []string{`"type":"from.file"`, `{\"a\":1}`}},
		{"stdin", event, []string{"--event", "-"}, []string{`"type":"from.file"`}},
		{
			"structured", "",
			[]string{"--type", "t1", "--mode", "structured", "--id", "77"},
			[]string{`"contentType":"application/cloudevents+json"`, `\"id\":\"77\"`, `\"type\":\"t1\"`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := call(test.stdin, append(append([]string{"invoke"}, test.args...), server.URL)...)
			if status != ExitOK || !strings.HasPrefix(stderr, "200 OK in ") {
				t.Fatalf("status %d, stderr %q", status, stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout %q, want %q in it", stdout, want)
				}
			}
		})
	}

	t.Run("json", func(t *testing.T) {
		status, stdout, stderr := call("", "invoke", "--type", "t1", "-o", "json", server.URL)
		var a struct {
			Status     int
			DurationNs int64
			Reply      map[string]any
		}
		if err := json.Unmarshal([]byte(stdout), &a); err != nil || status != ExitOK || stderr != "" {
			t.Fatalf("%v, status %d, stdout %q, stderr %q", err, status, stdout, stderr)
		}
		if a.Status != 200 || a.DurationNs <= 0 || a.Reply["type"] != "reply" {
			t.Errorf("got %+v", a)
		}
	})
}

func TestInvokeAnswers(t *testing.T) {
	tests := []struct {
		name   string
		status int
		header map[string]string
		body   string
		exit   int
		stderr string // part of it
	}{
		{"accepted", 200, nil, "", ExitOK, "accepted, no reply"},
		{"accepted for later", 202, nil, "", ExitOK, "202 Accepted"},
		{"busy", 429, map[string]string{"Retry-After": "3"}, "queue full\n", ExitFailure, "queue full (retry after 3 s)"},
		{"crash", 502, nil, `{"error":"killed by SIGSEGV","reason":"FunctionFailed"}`, ExitFailure, ": FunctionFailed: killed by SIGSEGV\n"},
		{"silent failure", 503, nil, "", ExitFailure, "Service Unavailable"},
		{"redirect", 307, map[string]string{"Location": "/other"}, "", ExitFailure, "Temporary Redirect to /other"},
		{"body that is no event", 200, map[string]string{"Content-Type": "text/html"}, "<p>hello", ExitFailure, `a body of type "text/html" but is not a CloudEvent`},
		{"reply without id", 200, map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "t"}, "", ExitFailure, "not a valid CloudEvent"},
		{"broken structured reply", 200, map[string]string{"Content-Type": "application/cloudevents+json"}, "{", ExitFailure, "not a valid CloudEvent"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range test.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(test.status)
				if _, err := io.WriteString(w, test.body); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			exit, stdout, stderr := call("", "invoke", "--type", "t", server.URL)
			if exit != test.exit || stdout != "" || !strings.Contains(stderr, test.stderr) {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit %d, %q", exit, stdout, stderr, test.exit, test.stderr)
			}
			if exit, stdout, _ := call("", "invoke", "--type", "t", "-o", "json", server.URL); exit != test.exit || !json.Valid([]byte(stdout)) {
				t.Errorf("as JSON: exit %d, stdout %q", exit, stdout)
			}
		})
	}
}

func TestInvokeFailures(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()

	tests := []struct {
		name  string
		stdin string
		args  []string
		want  string
	}{
		{"nobody listens", "", []string{"--type", "t", closed.URL}, "is `kontain serve` running there?"},
		{"too slow", "", []string{"--type", "t", "--timeout", (20 * time.Millisecond).String(), slow.URL}, "no answer within 20ms (--timeout)"},
		{"missing file", "", []string{"--event", "/no/such/file", closed.URL}, "read the event: open /no/such/file"},
		{"not JSON", "hello", []string{"--event", "-", closed.URL}, "stdin is not a CloudEvent in structured JSON"},
		{"no id", `{"specversion":"1.0","type":"t","source":"/s"}`, []string{"--event", "-", closed.URL}, "not valid: id: MUST"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			exit, _, stderr := call(test.stdin, append([]string{"invoke"}, test.args...)...)
			if exit != ExitFailure || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, stderr %q; want one line with %q", exit, stderr, test.want)
			}
		})
	}
}
