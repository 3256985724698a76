// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package stdio is the contract of programs that read one event from standard
// input, answer on standard output, and end.
//
// The event is a CloudEvent in the JSON format. Where the program is started for
// each event, and does not come from a snapshot, its attributes are also in the
// environment: CE_ID, CE_SOURCE, CE_TYPE, CE_SUBJECT, CE_TIME and CE_<NAME> of
// each extension. Standard output is the reply: nothing for none, a CloudEvent
// in the JSON format (an object with a specversion member), or anything else,
// which becomes the data of a reply event. Exit status 0 accepts the event, 65
// (EX_DATAERR of sysexits.h) refuses it for good, and any other asks for a new
// attempt.
package stdio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// ExitPermanent is the exit status by which a program says that it will never
// accept the event.
const ExitPermanent = 65

// Config completes the contract for one sink.
type Config struct {
	Reply contract.ReplySettings // Type and Source must not be empty
}

type stdio struct{ config Config }

// New returns the contract for one sink.
func New(c Config) contract.Contract { return &stdio{config: c} }

// Input returns the event as JSON, with its attributes as variables.
func (s *stdio) Input(e *event.Event) (contract.Input, error) {
	stdin, err := event.EncodeJSON(e)
	if err != nil {
		return contract.Input{}, err
	}
	attributes, err := event.Attributes(e)
	if err != nil {
		return contract.Input{}, err
	}
	env := make([]string, 0, len(attributes))
	for name, value := range attributes {
		env = append(env, "CE_"+strings.ToUpper(name)+"="+value)
	}
	sort.Strings(env)
	return contract.Input{Stdin: stdin, Env: env}, nil
}

// Outcome reads the program's exit and output.
func (s *stdio) Outcome(e *event.Event, r *vmexec.Result) reply.Outcome {
	if f := failure(r); f != nil {
		if line := lastLine(r.Stderr); line != "" {
			f.Message += "; last line of stderr: " + line
		}
		return reply.Fail(f)
	}
	if len(r.Stdout) == 0 {
		return reply.Outcome{}
	}
	if event.IsEventJSON(r.Stdout) {
		answer, err := event.DecodeJSON(r.Stdout)
		if err != nil {
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the program wrote a reply that is not a valid CloudEvent: %v", err))
		}
		return reply.Outcome{Event: answer}
	}
	answer, err := s.dataReply(e, r.Stdout)
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "no reply event can be made of the program's output: %v", err))
	}
	return reply.Outcome{Event: answer}
}

// failure returns nil when the program accepted the event. The words are those
// of the monitor, which knows the limits and the state of the machine.
func failure(r *vmexec.Result) *reply.Failure {
	status, reason := http.StatusBadGateway, reply.FunctionFailed
	switch r.Reason {
	case vmexec.Exited:
		switch r.Status {
		case 0:
			return nil
		case ExitPermanent:
			return reply.Failf(http.StatusUnprocessableEntity, reply.PermanentFailure, "the program refused the event for good (exit status %d)", r.Status)
		}
	case vmexec.Signaled, vmexec.Deadlock:
	case vmexec.WallLimit, vmexec.CPULimit:
		status, reason = http.StatusGatewayTimeout, reply.DeadlineExceeded
	case vmexec.MemoryLimit:
		reason = reply.MemoryExceeded
	case vmexec.OutputLimit:
		reason = reply.OutputExceeded
	case vmexec.Canceled:
		status, reason = http.StatusServiceUnavailable, reply.Draining
	default:
		status, reason = http.StatusInternalServerError, reply.Internal
	}
	message := r.Message
	if message == "" {
		message = "the program ended: " + r.Reason.String()
	}
	return &reply.Failure{Status: status, Reason: reason, Message: message}
}

// lastLine returns the last line of b that is not blank, as printable text of
// at most 256 bytes.
func lastLine(b []byte) string {
	const most = 256
	b = bytes.TrimSpace(b)
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	cut := len(b) > most
	if cut {
		b = b[:most]
	}
	line := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
	line = strings.TrimSpace(line)
	if cut {
		line += "…"
	}
	return line
}

// tracing are the extensions that carry the starting trace of an event. A
// reply that the event caused belongs to the same trace.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md
var tracing = []string{"traceparent", "tracestate"}

// dataReply makes an event of output that is not one.
func (s *stdio) dataReply(e *event.Event, out []byte) (*event.Event, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	answer := ce.New()
	answer.SetID(id.String())
	answer.SetType(s.config.Reply.Type)
	answer.SetSource(s.config.Reply.Source)
	answer.SetTime(time.Now().UTC())
	for _, name := range tracing {
		if v, ok := e.Extensions()[name]; ok {
			answer.SetExtension(name, v)
		}
	}
	for name, value := range s.config.Reply.Extensions {
		answer.SetExtension(name, value)
	}
	switch {
	case !utf8.Valid(out):
		answer.SetDataContentType("application/octet-stream")
		answer.DataBase64 = true
	case json.Valid(out):
		answer.SetDataContentType(ce.ApplicationJSON)
		out = bytes.TrimSpace(out)
	default:
		answer.SetDataContentType("text/plain; charset=utf-8")
	}
	answer.DataEncoded = out
	if err := answer.Validate(); err != nil {
		return nil, err
	}
	return &answer, nil
}
