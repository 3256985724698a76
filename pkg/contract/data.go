// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
)

// tracing are the extensions that carry the starting trace of an event. A
// reply that the event caused belongs to the same trace.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md
var tracing = []string{"traceparent", "tracestate"}

// Output makes the outcome of e of what a program gave for an answer: no bytes are no
// reply, a CloudEvent in the JSON format is the reply, and anything else the data of
// one.
func (s *ReplySettings) Output(e *event.Event, data []byte) reply.Outcome {
	if len(data) == 0 {
		return reply.Outcome{}
	}
	if event.IsEventJSON(data) {
		answer, err := event.DecodeJSON(data)
		if err != nil {
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the program wrote a reply that is not a valid CloudEvent: %v", err))
		}
		return reply.Outcome{Event: answer}
	}
	answer, err := s.NewReply(e, "", data)
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "no reply event can be made of the program's output: %v", err))
	}
	return reply.Outcome{Event: answer}
}

// NewReply makes the reply to e of data that is not an event itself, as SetData has it.
func (s *ReplySettings) NewReply(e *event.Event, contentType string, data []byte) (*event.Event, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	answer := ce.New()
	answer.SetID(id.String())
	answer.SetType(s.Type)
	answer.SetSource(s.Source)
	answer.SetTime(time.Now().UTC())
	for _, name := range tracing {
		if v, ok := e.Extensions()[name]; ok {
			answer.SetExtension(name, v)
		}
	}
	for name, value := range s.Extensions {
		answer.SetExtension(name, value)
	}
	SetData(&answer, contentType, data)
	if err := answer.Validate(); err != nil {
		return nil, err
	}
	return &answer, nil
}

// SetData gives e the data that a program wrote. contentType is that of the data;
// empty: it is JSON when it reads so, else text or, when it is not UTF-8, bytes.
func SetData(e *event.Event, contentType string, data []byte) {
	switch {
	case contentType != "":
		e.SetDataContentType(contentType)
		e.DataBase64 = !utf8.Valid(data)
	case !utf8.Valid(data):
		e.SetDataContentType("application/octet-stream")
		e.DataBase64 = true
	case json.Valid(data):
		e.SetDataContentType(ce.ApplicationJSON)
		data = bytes.TrimSpace(data)
	default:
		e.SetDataContentType("text/plain; charset=utf-8")
	}
	e.DataEncoded = data
}
