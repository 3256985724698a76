// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package reply holds what became of an event: accepted, with at most one reply
// event, or a typed failure with the HTTP status that tells a Knative sender
// whether to deliver again.
//
// Senders deliver again after 404, 408, 409, 429 and 5xx, and give up after any
// other 4xx: https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md
package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"kontain.dev/eventing/pkg/event"
)

// Reason names a kind of failure for programs that read error bodies and
// metrics.
type Reason string

// Reasons, with the status each has.
const (
	MalformedEvent   Reason = "MalformedEvent"       // 400
	Unauthorized     Reason = "Unauthorized"         // 401
	Forbidden        Reason = "Forbidden"            // 403
	SinkNotFound     Reason = "SinkNotFound"         // 404
	MethodNotAllowed Reason = "MethodNotAllowed"     // 405
	BodyTimeout      Reason = "BodyTimeout"          // 408
	TooLarge         Reason = "TooLarge"             // 413
	UnsupportedMedia Reason = "UnsupportedMediaType" // 415
	PermanentFailure Reason = "PermanentFailure"     // 422
	QueueFull        Reason = "QueueFull"            // 429
	FunctionBusy     Reason = "FunctionBusy"         // 429 or 503, said by the program
	ClientGone       Reason = "ClientGone"           // 499, never sent
	Internal         Reason = "Internal"             // 500
	FunctionFailed   Reason = "FunctionFailed"       // 502
	BadReply         Reason = "BadReply"             // 502
	MemoryExceeded   Reason = "MemoryExceeded"       // 502
	OutputExceeded   Reason = "OutputExceeded"       // 502
	QueueTimeout     Reason = "QueueTimeout"         // 503
	NotReady         Reason = "NotReady"             // 503
	NoMachine        Reason = "NoMachine"            // 503
	Overloaded       Reason = "Overloaded"           // 503
	Draining         Reason = "Draining"             // 503
	DeadlineExceeded Reason = "DeadlineExceeded"     // 504
)

// StatusClientGone stands for a request whose sender went away. It is for logs;
// nobody is left to read it.
const StatusClientGone = 499

// MaxBody is the most bytes of the body of a failure. A broker stores it in the
// dead letter's knativeerrordata, base64-encoded and cut at 1024 characters.
const MaxBody = 768

// Failure says why an event was not accepted. It is an error.
type Failure struct {
	Status     int           // HTTP status
	Reason     Reason        // kind of the failure
	Message    string        // what failed and why, for people
	RetryAfter time.Duration // when to try again; zero when that is not known
}

// Failf makes a Failure with a formatted message.
func Failf(status int, reason Reason, format string, args ...any) *Failure {
	return &Failure{Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (f *Failure) Error() string { return fmt.Sprintf("%s (%d): %s", f.Reason, f.Status, f.Message) }

// Body returns the failure as JSON, {"error":MESSAGE,"reason":REASON}, of at
// most MaxBody bytes; a longer message is cut.
func (f *Failure) Body() []byte {
	message := strings.ToValidUTF8(f.Message, "\uFFFD")
	for {
		b, err := json.Marshal(struct {
			Error  string `json:"error"`
			Reason Reason `json:"reason"`
		}{message, f.Reason})
		if err != nil {
			return []byte(`{"error":"unknown","reason":"Internal"}`)
		}
		if len(b) <= MaxBody {
			return b
		}
		// A byte of the message is up to six in JSON, so cutting by the
		// surplus can cut too little, and then the loop goes on.
		message = cut(message, max(0, len(message)-max(8, (len(b)-MaxBody)/6+4)))
	}
}

func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSuffix(s[:n], "…") + "…"
}

// FromError gives any error the form of a Failure. Errors of package event keep
// their status.
func FromError(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	var ee *event.Error
	if errors.As(err, &ee) {
		reason := MalformedEvent
		switch ee.Status {
		case http.StatusRequestEntityTooLarge:
			reason = TooLarge
		case http.StatusUnsupportedMediaType:
			reason = UnsupportedMedia
		}
		return Failf(ee.Status, reason, "%v", ee)
	}
	return Failf(http.StatusInternalServerError, Internal, "%v", err)
}

// Outcome is what became of one event: accepted without a reply (the zero
// value), accepted with a reply, or failed. At most one of Event and Failure is set.
type Outcome struct {
	Event   *event.Event // the reply
	Failure *Failure
	Log     string // what the program said of the event, for the log
}

// Fail is the Outcome of a failed event.
func Fail(f *Failure) Outcome { return Outcome{Failure: f} }

// Worst returns the failure with the highest status, or nil when every outcome
// is a success. A batch is accepted as a whole or not at all. The longest
// RetryAfter of equal statuses is kept.
func Worst(outcomes []Outcome) *Failure {
	var worst *Failure
	for _, o := range outcomes {
		f := o.Failure
		if f == nil {
			continue
		}
		if worst == nil || f.Status > worst.Status || (f.Status == worst.Status && f.RetryAfter > worst.RetryAfter) {
			worst = f
		}
	}
	return worst
}
