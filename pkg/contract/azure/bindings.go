// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"kontain.dev/eventing/pkg/contract/internal/call"
	"kontain.dev/eventing/pkg/event"
)

// data gives an event the form that the function's trigger has: an HTTP request, a
// message, or else the event itself, as the trigger of Event Grid has it.
func (h *handler) data(e *event.Event) (json.RawMessage, error) {
	switch {
	case h.app == nil:
	case h.trigger.is("httpTrigger"):
		return h.httpRequest(e)
	case h.trigger.is("queueTrigger"), h.trigger.is("serviceBusTrigger"):
		return message(e.Data(), strings.EqualFold(h.trigger.DataType, "binary"))
	}
	return event.EncodeJSON(e)
}

// message is the text of a message, which the Functions host encodes twice: as JSON, and
// as the text of a member. One that is no text is in base64.
func message(data []byte, binary bool) (json.RawMessage, error) {
	if binary || !utf8.Valid(data) {
		return json.Marshal(base64.StdEncoding.EncodeToString(data))
	}
	once, err := json.Marshal(string(data))
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(once))
}

// httpRequest is a request that posts the event, as an object.
func (h *handler) httpRequest(e *event.Event) (json.RawMessage, error) {
	header := http.Header{}
	body, err := event.EncodeBinary(e, header)
	if err != nil {
		return nil, err
	}
	route, err := h.app.route(h.spec.Function)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		URL           string `json:"Url"`
		Method        string
		Query, Params struct{}
		Headers       http.Header
		Body          string
	}{URL: "http://" + h.config.Name + "." + h.config.Namespace + route, Method: http.MethodPost, Headers: header, Body: string(body)})
}

// maxHeaders bounds the headers of a response that is an object.
const maxHeaders = 1000

// httpResponse reads a response that is an object with a status, headers or a body, or
// else a body alone, of at most most bytes.
func httpResponse(raw json.RawMessage, most int) (*call.Response, error) {
	r := &call.Response{Status: http.StatusOK, Header: http.Header{}, Body: text(raw)}
	var said struct {
		StatusCode, Status loose
		Headers            map[string]json.RawMessage
		Body               json.RawMessage
	}
	if raw[0] == '{' {
		if err := json.Unmarshal(raw, &said); err != nil {
			return nil, err
		}
	}
	if said.StatusCode == "" && said.Headers == nil && said.Body == nil {
		return r, nil // whatever an object holds that is no response
	}
	status := said.StatusCode
	if status == "" {
		status = said.Status
	}
	if status != "" {
		n, err := strconv.Atoi(string(status))
		if err != nil || n < 200 || n > 599 {
			return nil, fmt.Errorf("%.20q is no status", status)
		}
		r.Status = n
	}
	if len(said.Headers) > maxHeaders {
		return nil, fmt.Errorf("it has more than %d headers", maxHeaders)
	}
	for name, value := range said.Headers {
		values := []json.RawMessage{value}
		if json.Unmarshal(value, &values) != nil {
			values = []json.RawMessage{value}
		}
		for _, v := range values {
			if !null(v) {
				r.Header.Add(name, string(text(v)))
			}
		}
	}
	if r.Body = nil; !null(said.Body) {
		r.Body = text(said.Body)
	}
	if len(r.Body) > most {
		return nil, &call.TooLargeError{What: "a body", Most: most}
	}
	return r, nil
}
