// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package sinkstatus

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

var full = Status{
	Generation: 3, Image: "registry.example.com:5000/team/app@" + digest, Ready: false,
	Reason: ReasonNoKVM, Message: "no /dev/kvm",
	ImageResolved: Condition{Ready: yes()},
	Snapshot:      Condition{Reason: ReasonPending, Message: "the program starts"},
	Isolated:      Condition{Ready: no(), Reason: "JailLevel", Message: "level 1"},
	Platform:      PlatformKVM, Jail: 2,
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestGet(t *testing.T) {
	addr := serve(t, Handler(func(namespace, name string) (Status, bool) {
		return full, namespace == "default" && name == "a"
	}))
	client := NewClient(30 * time.Second)
	got, err := client.Get(t.Context(), addr, "default", "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&full, got); diff != "" {
		t.Errorf("other than what was served (-want +got):\n%s", diff)
	}
	if _, err := client.Get(t.Context(), addr, "default", "b"); !errors.Is(err, ErrUnknownSink) {
		t.Errorf("a sink that is not there: %v", err)
	}
	if _, err := client.Get(t.Context(), addr, "default/a/..", "../x"); err == nil {
		t.Error("a name that is none was answered")
	}
}

func TestGetRefuses(t *testing.T) {
	body := func(code int, contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
	}
	for name, h := range map[string]http.Handler{
		"redirect":     http.RedirectHandler("/elsewhere", http.StatusFound),
		"error":        body(http.StatusInternalServerError, "application/json", "{}"),
		"content type": body(http.StatusOK, "text/html", "{}"),
		"no JSON":      body(http.StatusOK, "application/json", "ok"),
		"too large":    body(http.StatusOK, "application/json", `{"message":"`+strings.Repeat("x", MaxBytes)+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := NewClient(30*time.Second).Get(t.Context(), serve(t, h), "default", "a"); err == nil {
				t.Errorf("taken: %+v", s)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	for name, data := range map[string]string{
		"generation": `{"generation":-1}`,
		"tag":        `{"image":"app:latest"}`,
		"image":      `{"image":"` + strings.Repeat("a", MaxImageBytes) + "@" + digest + `"}`,
		"newline":    `{"image":"a\n@` + digest + `"}`,
		"platform":   `{"platform":"Xen"}`,
		"jail":       `{"jail":3}`,
		"reason":     `{"snapshot":{"reason":"two words"}}`,
		"long":       `{"reason":"` + strings.Repeat("a", MaxReasonBytes+1) + `"}`,
		"type":       `{"ready":"yes"}`,
	} {
		if s, err := Decode([]byte(data)); err == nil {
			t.Errorf("%s: taken: %+v", name, s)
		}
	}
	s, err := Decode([]byte(`{"message":"a\u0000b\r\nc` + strings.Repeat("é", MaxMessageBytes) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Message, "a b  c") || len(s.Message) > MaxMessageBytes || !utf8.ValidString(s.Message) {
		t.Errorf("the message is %q, of %d bytes", s.Message, len(s.Message))
	}
}

func FuzzDecode(f *testing.F) {
	seed, err := json.Marshal(full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"generation":1,"message":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			return
		}
		for _, m := range []string{s.Message, s.ImageResolved.Message, s.Snapshot.Message, s.Isolated.Message} {
			if len(m) > MaxMessageBytes || !utf8.ValidString(m) {
				t.Errorf("message %q", m)
			}
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > MaxBytes {
			return // escapes made it longer
		}
		if s2, err := Decode(again); err != nil {
			t.Errorf("%s: %v", again, err)
		} else if diff := cmp.Diff(s, s2); diff != "" {
			t.Errorf("decoded twice (-once +twice):\n%s", diff)
		}
	})
}
