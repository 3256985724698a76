// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/pkg/event"
)

func TestBodyFits(t *testing.T) {
	tests := []struct{ name, message string }{
		{"short", "exit status 3"},
		{"long", strings.Repeat("x", 5000)},
		{"escapes", strings.Repeat("\x01", 5000)},
		{"wide", strings.Repeat("€", 3000)},
		{"not UTF-8", strings.Repeat("\xffa", 3000)},
		{"quotes", strings.Repeat(`"`, 700)},
		{"empty", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := Failf(502, FunctionFailed, "%s", tt.message).Body()
			if len(b) > MaxBody {
				t.Errorf("%d bytes", len(b))
			}
			var got struct{ Error, Reason string }
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			if got.Reason != "FunctionFailed" || (tt.message != "" && got.Error == "") {
				t.Errorf("%s", b)
			}
			if len(tt.message) < 100 && got.Error != tt.message {
				t.Errorf("message %q was changed to %q", tt.message, got.Error)
			}
			if len(tt.message) > MaxBody && (len(b) < MaxBody*3/4 || !strings.HasSuffix(got.Error, "…")) {
				t.Errorf("cut to %d bytes: %s", len(b), b)
			}
		})
	}
}

func TestWorst(t *testing.T) {
	f := func(status int, after time.Duration) Outcome {
		return Fail(&Failure{Status: status, RetryAfter: after})
	}
	tests := []struct {
		name string
		in   []Outcome
		want *Failure
	}{
		{"none", []Outcome{{}, {}}, nil},
		{"one", []Outcome{{}, f(422, 0)}, &Failure{Status: 422}},
		{"highest", []Outcome{f(422, 0), f(504, 0), f(429, time.Second)}, &Failure{Status: 504}},
		{"longest wait", []Outcome{f(429, time.Second), f(429, 3*time.Second)}, &Failure{Status: 429, RetryAfter: 3 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Worst(tt.in)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestFromError(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		reason Reason
	}{
		{"failure", fmt.Errorf("x: %w", Failf(429, QueueFull, "full")), 429, QueueFull},
		{"event", &event.Error{Status: 400, Message: "m"}, 400, MalformedEvent},
		{"event too large", &event.Error{Status: 413, Message: "m"}, 413, TooLarge},
		{"event media", &event.Error{Status: 415, Message: "m"}, 415, UnsupportedMedia},
		{"other", errors.New("m"), 500, Internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := FromError(tt.err); f.Status != tt.status || f.Reason != tt.reason {
				t.Errorf("%v", f)
			}
		})
	}
}
