// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"kontain.dev/eventing/pkg/event"
)

// sink answers with one status after another, and with the last one from then on.
type sink struct {
	*httptest.Server
	header http.Header

	mu       sync.Mutex
	statuses []int
	got      []*event.Event
	auth     []string
}

func newSink(t *testing.T, tls bool, statuses ...int) *sink {
	s := &sink{statuses: statuses, header: http.Header{}}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		events, _, err := event.Decode(r.Header, body, 1)
		if err != nil {
			t.Errorf("what was sent is no event: %v", err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, events...)
		s.auth = append(s.auth, r.Header.Get("Authorization"))
		for k, v := range s.header {
			w.Header()[k] = v
		}
		status := s.statuses[0]
		if len(s.statuses) > 1 {
			s.statuses = s.statuses[1:]
		}
		w.WriteHeader(status)
		if status >= 300 {
			_, _ = w.Write([]byte("because " + strconv.Itoa(status)))
		}
	})
	if s.Server = httptest.NewUnstartedServer(h); tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func anEvent() *event.Event {
	e := ce.New()
	e.SetID("1")
	e.SetType("t")
	e.SetSource("/s")
	e.SetExtension("name", "Grüße")
	if err := e.SetData("application/json", map[string]int{"n": 1}); err != nil {
		panic(err)
	}
	return &e
}

func send(t *testing.T, to Target, p Policy) error {
	t.Helper()
	s, err := New(to, p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return s.Send(ctx, anEvent())
}

func TestSend(t *testing.T) {
	few := Policy{Retry: 3, Delay: time.Microsecond}
	for _, c := range []struct {
		name     string
		statuses []int
		policy   Policy
		attempts int
		err      string
	}{
		{"taken", []int{200}, few, 1, ""},
		{"accepted", []int{202}, few, 1, ""},
		{"at the last attempt", []int{500, 503, 429, 204}, few, 4, ""},
		{"never", []int{500}, few, 4, "it answered 500 Internal Server Error: \"because 500\" (4 attempts)"},
		{"a sink that is being made ready", []int{404, 408, 409, 200}, few, 4, ""},
		{"for good", []int{400}, few, 1, "it answered 400"},
		{"for good: not permitted", []int{403}, few, 1, "it answered 403"},
		{"a redirect", []int{307}, few, 1, "it answered 307"},
		{"once", []int{500}, Policy{}, 1, "it answered 500"},
		{"without end", slices.Concat(slices.Repeat([]int{502}, 40), []int{200}), Policy{Retry: Forever, Delay: time.Nanosecond, Linear: true}, 41, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t, false, c.statuses...)
			s.header.Set("Location", s.URL+"/elsewhere")
			err := send(t, Target{URL: s.URL}, c.policy)
			var refused *RefusedError
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), c.err) || refused.Status == 0):
				t.Errorf("%v, want %q", err, c.err)
			}
			if len(s.got) != c.attempts {
				t.Errorf("%d attempts, want %d", len(s.got), c.attempts)
			}
			for _, e := range s.got {
				if e.ID() != "1" || e.Extensions()["name"] != "Grüße" || string(e.Data()) != `{"n":1}` {
					t.Errorf("got %v", e)
				}
			}
		})
	}
}

func TestDeadLetter(t *testing.T) {
	s, dead := newSink(t, false, 422), newSink(t, false, 503, 202)
	if err := send(t, Target{URL: s.URL + "/x"}, Policy{Retry: 1, Delay: time.Microsecond, DeadLetter: &Target{URL: dead.URL}}); err != nil {
		t.Fatal(err)
	}
	if len(s.got) != 1 || len(dead.got) != 2 {
		t.Fatalf("%d attempts at the sink, %d at the dead letter sink", len(s.got), len(dead.got))
	}
	x := dead.got[1].Extensions()
	why, _ := base64.StdEncoding.DecodeString(x["knativeerrordata"].(string))
	if x["knativeerrordest"] != s.URL+"/x" || x["knativeerrorcode"] != "422" || string(why) != "because 422" || dead.got[1].ID() != "1" {
		t.Errorf("extensions %v", x)
	}
	dead = newSink(t, false, 400)
	err := send(t, Target{URL: s.URL}, Policy{DeadLetter: &Target{URL: dead.URL}})
	if err == nil || !strings.Contains(err.Error(), "422") || !strings.Contains(err.Error(), "nor did its dead letter sink: "+dead.URL) {
		t.Error(err)
	}
}

// A sink that is down is waited for, and whoever waits can be stopped.
func TestDown(t *testing.T) {
	s := newSink(t, false, 200)
	s.Close()
	err := send(t, Target{URL: s.URL}, Policy{Retry: 2, Delay: time.Microsecond})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Status != 0 || refused.Attempts != 3 {
		t.Error(err)
	}
	sender, err := New(Target{URL: s.URL}, Policy{Retry: Forever, Delay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sender.Failed = func(err error, wait time.Duration) {
		if wait != MaxDelay || !strings.Contains(err.Error(), "refused") {
			t.Errorf("waits for %v after %v", wait, err)
		}
		cancel()
	}
	if err := sender.Send(ctx, anEvent()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTLSAndToken(t *testing.T) {
	s := newSink(t, true, 200)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	tokens := []string{"one", "two"}
	to := Target{URL: s.URL, CACerts: ca, Token: func() (string, error) {
		v := tokens[0]
		tokens = tokens[1:]
		return v, nil
	}}
	s.statuses = []int{503, 200}
	if err := send(t, to, Policy{Retry: 1, Delay: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.auth, []string{"Bearer one", "Bearer two"}) {
		t.Errorf("authorization %q", s.auth)
	}
	if err := send(t, Target{URL: s.URL}, Policy{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its CA: %v", err)
	}
	for _, bad := range []Target{{URL: ""}, {URL: "/x"}, {URL: "ftp://h/"}, {URL: "http://"}, {URL: "http://h", CACerts: []byte("x")}} {
		if _, err := New(bad, Policy{}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestWait(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		n      int
		asked  time.Duration
		want   time.Duration
	}{
		{Policy{}, 1, 0, DefaultDelay},
		{Policy{}, 3, 0, 4 * DefaultDelay},
		{Policy{}, 1 << 40, 0, MaxDelay},
		{Policy{Delay: time.Second, Linear: true}, 1, 0, 0},
		{Policy{Delay: time.Second, Linear: true}, 4, 0, 3 * time.Second},
		{Policy{Delay: time.Hour, Linear: true}, 1 << 40, 0, MaxDelay},
		{Policy{}, 1, time.Hour, DefaultDelay},
		{Policy{RetryAfterMax: 5 * time.Minute}, 1, time.Hour, 5 * time.Minute},
		{Policy{RetryAfterMax: 5 * time.Minute}, 1, time.Second, time.Second},
	} {
		if got := c.policy.wait(c.n, c.asked); got != c.want {
			t.Errorf("%+v: %v before attempt %d, want %v", c.policy, got, c.n, c.want)
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "99999999999999999999": 0,
		"Thu, 01 Jan 2026 00:00:09 GMT": 9 * time.Second, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", v, got, want)
		}
	}
}
