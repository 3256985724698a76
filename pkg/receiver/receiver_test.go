// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Dispatcher with the sinks ns/NAME, where NAME is what it does.
type fake struct {
	gone chan error // of ns/hang: why it ended
}

func (f *fake) Has(namespace, name string) bool { return namespace == "ns" && name != "unknown" }

func (f *fake) Dispatch(ctx context.Context, _, name string, events []*event.Event) ([]*event.Event, *reply.Failure) {
	switch name {
	case "echo":
		var replies []*event.Event
		for _, e := range events {
			if e.Type() != "silent" {
				replies = append(replies, e)
			}
		}
		return replies, nil
	case "silent":
		return nil, nil
	case "full":
		f := reply.Failf(429, reply.QueueFull, "the queue is full")
		f.RetryAfter = 1500 * time.Millisecond
		return nil, f
	case "long":
		return nil, reply.Failf(502, reply.FunctionFailed, "%s", strings.Repeat("\"é", 3000))
	case "hang":
		<-ctx.Done()
		f.gone <- ctx.Err()
		return nil, reply.Failf(reply.StatusClientGone, reply.ClientGone, "gone")
	case "panic":
		panic("bug")
	}
	return nil, reply.Failf(500, reply.Internal, "no such behaviour %q", name)
}

func newServer(t *testing.T, o Options) (*httptest.Server, *fake) {
	t.Helper()
	f := &fake{gone: make(chan error, 1)}
	s := httptest.NewServer(New(f, o))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, f
}

func request(t *testing.T, method, url string, h http.Header, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if h != nil {
		r.Header = h
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func binary(kv ...string) http.Header {
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

func ceHeaders(h http.Header) map[string]string {
	m := map[string]string{}
	for k, v := range h {
		if strings.HasPrefix(k, "Ce-") {
			m[k] = v[0]
		}
	}
	return m
}

func TestReply(t *testing.T) {
	s, _ := newServer(t, Options{})
	h := binary("Ce-Subject", "a%20b", "Prefer", "reply", "X-Request-Id", "r1",
		"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
		"Ce-Traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
	resp, body := request(t, "POST", s.URL+"/ns/echo", h, `{"a":1}`)
	if resp.StatusCode != 200 || body != `{"a":1}` || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v %q %q", resp.Status, resp.Header.Get("Content-Type"), body)
	}
	want := map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/s", "Ce-Type": "t", "Ce-Subject": "a%20b",
		"Ce-Traceparent": "00-11111111111111111111111111111111-2222222222222222-01",
	}
	if d := cmp.Diff(want, ceHeaders(resp.Header)); d != "" {
		t.Errorf("attributes (-want +got):\n%s", d)
	}
	if resp.Header.Get("X-Request-Id") != "r1" {
		t.Error("X-Request-Id is lost")
	}
	tp := resp.Header.Get("Traceparent")
	if !strings.HasPrefix(tp, "00-4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.HasSuffix(tp, "-00") || strings.Contains(tp, "00f067aa0ba902b7") {
		t.Errorf("traceparent %q must be of the same trace with a span of its own", tp)
	}
}

func TestReplyModes(t *testing.T) {
	s, _ := newServer(t, Options{})
	structured := http.Header{"Content-Type": {event.MediaTypeJSON}}
	batch := http.Header{"Content-Type": {event.MediaTypeBatchJSON}}
	one := `{"specversion":"1.0","id":"1","source":"s","type":"t","data":"x"}`
	silent := `{"specversion":"1.0","id":"2","source":"s","type":"silent"}`
	tests := []struct {
		name, sink  string
		header      http.Header
		body        string
		contentType string
		attributes  int
		want        string
	}{
		{"structured is answered in binary", "echo", structured, one, "application/json", 4, `"x"`},
		{"no reply", "silent", structured, one, "", 0, ""},
		{"batch", "echo", batch, "[" + one + "," + silent + "]", event.MediaTypeBatchJSON, 0, "[" + one + "]"},
		{"batch without replies", "echo", batch, "[" + silent + "]", "", 0, ""},
		{"empty batch", "echo", batch, "[]", "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := request(t, "POST", s.URL+"/ns/"+tt.sink, tt.header, tt.body)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != tt.contentType || body != tt.want {
				t.Errorf("%s, type %q, body %q", resp.Status, resp.Header.Get("Content-Type"), body)
			}
			if n := len(ceHeaders(resp.Header)); n != tt.attributes {
				t.Errorf("%d CloudEvents headers, want %d", n, tt.attributes)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	var mu sync.Mutex
	var refused []string // since the last look
	s, _ := newServer(t, Options{MaxBody: 100, MaxBatch: 2, Refused: func(namespace, name string, f *reply.Failure) {
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, fmt.Sprintf("%s/%s %d %s", namespace, name, f.Status, f.Reason))
	}})
	tests := []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		reason             reply.Reason
		says               string
		headers            map[string]string
	}{
		{"unknown sink", "POST", "/ns/unknown", binary(), "", 404, reply.SinkNotFound, "/ns/unknown", nil},
		{"root", "POST", "/", binary(), "", 404, reply.SinkNotFound, "/NAMESPACE/NAME", nil},
		{"too deep", "POST", "/ns/echo/x", binary(), "", 404, reply.SinkNotFound, "/ns/echo/x", nil},
		{"long path", "POST", "/" + strings.Repeat("x", 5000), binary(), "", 404, reply.SinkNotFound, "…", nil},
		{"get", "GET", "/ns/echo", nil, "", 405, reply.MethodNotAllowed, "GET", map[string]string{"Allow": "POST, OPTIONS"}},
		{"put", "PUT", "/ns/echo", binary(), "", 405, reply.MethodNotAllowed, "PUT", map[string]string{"Allow": "POST, OPTIONS"}},
		{"no event", "POST", "/ns/echo", http.Header{}, "{}", 400, reply.MalformedEvent, "neither", nil},
		{"missing attribute", "POST", "/ns/echo", http.Header{"Ce-Specversion": {"1.0"}}, "", 400, reply.MalformedEvent, "attribute id", nil},
		{"xml", "POST", "/ns/echo", http.Header{"Content-Type": {"application/cloudevents+xml"}}, "", 415, reply.UnsupportedMedia, "xml", nil},
		{"too large", "POST", "/ns/echo", binary(), strings.Repeat("x", 101), 413, reply.TooLarge, "100 bytes", nil},
		{"batch of no events", "POST", "/ns/echo", http.Header{"Content-Type": {event.MediaTypeBatchJSON}}, "[1,2]", 400, reply.MalformedEvent, "event 1 of 2", nil},
		{"large batch of no events", "POST", "/ns/echo", http.Header{"Content-Type": {event.MediaTypeBatchJSON}}, "[1,2,3]", 413, reply.TooLarge, "3 events; at most 2", nil},
		{"full", "POST", "/ns/full", binary(), "", 429, reply.QueueFull, "full", map[string]string{"Retry-After": "2"}},
		{"long message", "POST", "/ns/long", binary(), "", 502, reply.FunctionFailed, "…", nil},
		{"panic", "POST", "/ns/panic", binary(), "", 500, reply.Internal, "log", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := request(t, tt.method, s.URL+tt.path, tt.header, tt.body)
			var got struct{ Error, Reason string }
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%v: %q", err, body)
			}
			if resp.StatusCode != tt.status || got.Reason != string(tt.reason) || !strings.Contains(got.Error, tt.says) {
				t.Errorf("%s %s; want %d %s and %q", resp.Status, body, tt.status, tt.reason, tt.says)
			}
			if len(body) > reply.MaxBody || resp.Header.Get("Content-Type") != "application/json" || len(ceHeaders(resp.Header)) != 0 {
				t.Errorf("%d bytes, headers %v", len(body), resp.Header)
			}
			for k, v := range tt.headers {
				if resp.Header.Get(k) != v {
					t.Errorf("%s: %q, want %q", k, resp.Header.Get(k), v)
				}
			}
			// What no sink was given is counted here, and what one was given is not.
			want := []string{fmt.Sprintf("ns/echo %d %s", tt.status, tt.reason)}
			switch {
			case tt.status == http.StatusNotFound:
				want = []string{"/ 404 SinkNotFound"}
			case tt.path != "/ns/echo":
				want = nil
			}
			mu.Lock()
			defer mu.Unlock()
			if d := cmp.Diff(want, refused); d != "" {
				t.Errorf("refused (-want +got):\n%s", d)
			}
			refused = nil
		})
	}
}

func TestBatchTooLong(t *testing.T) {
	s, _ := newServer(t, Options{MaxBatch: 2})
	one := `{"specversion":"1.0","id":"1","source":"s","type":"t"}`
	resp, body := request(t, "POST", s.URL+"/ns/echo", http.Header{"Content-Type": {event.MediaTypeBatchJSON}}, "["+one+","+one+","+one+"]")
	if resp.StatusCode != 413 || !strings.Contains(body, "3 events; at most 2") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestChunkedTooLarge(t *testing.T) {
	s, _ := newServer(t, Options{MaxBody: 1000})
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/ns/echo", io.MultiReader(bytes.NewReader(make([]byte, 600)), bytes.NewReader(make([]byte, 600))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = binary()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != 413 {
		t.Errorf("%s", resp.Status)
	}
}

func TestHandshake(t *testing.T) {
	tests := []struct {
		name    string
		origins []string
		header  http.Header
		want    map[string]string
	}{
		{"no web hook", nil, nil, map[string]string{"Allow": "POST"}},
		{
			"any origin", nil,
			http.Header{"Webhook-Request-Origin": {"eventgrid.example"}, "Webhook-Request-Callback": {"http://192.0.2.1/"}},
			map[string]string{"Allow": "POST", "Webhook-Allowed-Origin": "eventgrid.example"},
		},
		{
			"rate", nil,
			http.Header{"Webhook-Request-Origin": {"eventgrid.example"}, "Webhook-Request-Rate": {"120"}},
			map[string]string{"Allow": "POST", "Webhook-Allowed-Origin": "eventgrid.example", "Webhook-Allowed-Rate": "*"},
		},
		{
			"listed",
			[]string{"EventGrid.example"},
			http.Header{"Webhook-Request-Origin": {"eventgrid.example"}},
			map[string]string{"Allow": "POST", "Webhook-Allowed-Origin": "eventgrid.example"},
		},
		{
			"not listed",
			[]string{"other.example"},
			http.Header{"Webhook-Request-Origin": {"eventgrid.example"}, "Webhook-Request-Rate": {"1"}},
			map[string]string{"Allow": "POST"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newServer(t, Options{WebhookOrigins: tt.origins})
			resp, body := request(t, "OPTIONS", s.URL+"/ns/echo", tt.header, "")
			got := map[string]string{}
			for k, v := range resp.Header {
				if k == "Allow" || strings.HasPrefix(k, "Webhook-") {
					got[k] = v[0]
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" || resp.StatusCode != 200 || body != "" {
				t.Errorf("%s %q (-want +got):\n%s", resp.Status, body, d)
			}
		})
	}
}

func TestSlowBody(t *testing.T) {
	s, _ := newServer(t, Options{BodyTimeout: 50 * time.Millisecond})
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fmt.Fprintf(c, "POST /ns/echo HTTP/1.1\r\nHost: x\r\nCe-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Source: s\r\nCe-Type: t\r\nContent-Length: 10\r\n\r\nabc")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 408 || !strings.Contains(string(b), "3 bytes did") {
		t.Errorf("%s %s %v", resp.Status, b, err)
	}
}

// A body that is refused unread must not hold its connection for ever.
func TestSlowBodyOfRefusedRequest(t *testing.T) {
	s, _ := newServer(t, Options{BodyTimeout: 50 * time.Millisecond})
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fmt.Fprintf(c, "POST /ns/unknown HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	b, err := io.ReadAll(c) // ends when the server closes the connection
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 404 ") {
		t.Errorf("%s %v", b, err)
	}
}

func TestMaxBuffered(t *testing.T) {
	s, f := newServer(t, Options{MaxBuffered: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	first, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/ns/hang", strings.NewReader(strings.Repeat("x", 600)))
	if err != nil {
		t.Fatal(err)
	}
	first.Header = binary()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.DefaultClient.Do(first); err == nil {
			_ = resp.Body.Close()
		}
	}()
	rc := s.Config.Handler.(*Receiver)
	for deadline := time.Now().Add(30 * time.Second); rc.buffered.Load() != 600; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held", rc.buffered.Load())
		}
	}
	resp, body := request(t, "POST", s.URL+"/ns/echo", binary(), strings.Repeat("x", 600))
	if resp.StatusCode != 503 || !strings.Contains(body, "Overloaded") {
		t.Errorf("%s %s", resp.Status, body)
	}
	cancel()
	if err := <-f.gone; err == nil {
		t.Error("the leaving of the sender was not seen")
	}
	<-done
	for deadline := time.Now().Add(30 * time.Second); rc.buffered.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held", rc.buffered.Load())
		}
	}
	if resp, _ := request(t, "POST", s.URL+"/ns/echo", binary(), "x"); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
}

// After the body has arrived its deadline must no longer count.
func TestBodyDeadlineIsLifted(t *testing.T) {
	s, f := newServer(t, Options{BodyTimeout: 30 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/ns/hang", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = binary()
	done := make(chan error)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	select {
	case err := <-f.gone:
		t.Errorf("the request ended by itself: %v", err)
	case <-time.After(200 * time.Millisecond):
		cancel()
		if err := <-f.gone; err == nil {
			t.Error("the leaving of the sender was not seen")
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a request without an answer succeeded")
	}
}

func TestNextHop(t *testing.T) {
	tests := []struct {
		in string
		ok bool
	}{
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
		{"", false},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
		{"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
	}
	for _, tt := range tests {
		if _, ok := nextHop(tt.in); ok != tt.ok {
			t.Errorf("%q: %v", tt.in, ok)
		}
	}
}
