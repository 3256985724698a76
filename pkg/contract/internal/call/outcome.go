// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package call

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
)

// Outcome makes the outcome of e of a response to it, as Knative's data plane reads
// that: a CloudEvent is the reply, another body the data of one.
// https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md
func Outcome(s *contract.ReplySettings, e *event.Event, r *Response) reply.Outcome {
	if f := Refused(r); f != nil {
		return reply.Fail(f)
	}
	if event.IsMessage(r.Header) {
		events, _, err := event.Decode(r.Header, r.Body, 1)
		if err != nil {
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the program's response is not one valid CloudEvent: %v", err))
		}
		if len(events) == 0 {
			return reply.Outcome{}
		}
		return reply.Outcome{Event: events[0]}
	}
	if len(r.Body) == 0 {
		return reply.Outcome{}
	}
	answer, err := s.NewReply(e, r.Header.Get("Content-Type"), r.Body)
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "no reply event can be made of the program's response: %v", err))
	}
	return reply.Outcome{Event: answer}
}

// Refused returns the failure that a status other than 2xx is; nil for 2xx.
func Refused(r *Response) *reply.Failure {
	switch {
	case r.Status/100 == 2:
		return nil
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable:
		f := reply.Failf(r.Status, reply.FunctionBusy, "the program answered status %d%s", r.Status, because(r))
		f.RetryAfter = retryAfter(r.Header.Get("Retry-After"))
		return f
	case r.Status/100 == 4:
		// A sender would deliver again after some of these.
		return reply.Failf(http.StatusUnprocessableEntity, reply.PermanentFailure, "the program refused the event for good with status %d%s", r.Status, because(r))
	}
	return reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "the program answered status %d%s", r.Status, because(r))
}

// NoAnswer makes the outcome of an error of Do: one of an answer that is too long, or
// none but the error.
func NoAnswer(err error) (reply.Outcome, error) {
	var large *TooLargeError
	if errors.As(err, &large) {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.OutputExceeded, "%v", large)), nil
	}
	return reply.Outcome{}, err
}

func because(r *Response) string {
	if line := FirstLine(r.Body); line != "" {
		return ": " + line
	}
	return ""
}

// retryAfter reads RFC 9110, section 10.2.3; 0 when it says nothing.
func retryAfter(v string) time.Duration {
	if v == "" {
		return 0
	}
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(n, 0), 1<<20)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}
