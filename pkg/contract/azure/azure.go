// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package azure is the contract of custom handlers of Azure Functions: HTTP servers on
// the port that FUNCTIONS_CUSTOMHANDLER_PORT names, which a function is called by, under
// its name, with the data of its trigger, and which answer with a value to return.
//
// The event is the trigger's data, as one JSON object; its attributes are also the
// metadata. The return value is the reply. There are no bindings here, so that outputs
// are the data of the reply when nothing is returned. Sources:
// https://learn.microsoft.com/en-us/azure/azure-functions/functions-custom-handlers and,
// for what that leaves open, DefaultHttpWorkerService of
// https://github.com/Azure/azure-functions-host
package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/internal/call"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

const (
	// port is where the program listens. Any would do: nothing else has it.
	port = 8080
	// portName tells it.
	portName = "FUNCTIONS_CUSTOMHANDLER_PORT"
)

type handler struct {
	config contract.Config
	spec   v1alpha1.AzureContract
}

// New returns the contract for one sink, whose Spec.Azure has its defaults.
func New(c contract.Config) (contract.Contract, error) {
	if c.Spec.Azure == nil || c.Spec.Azure.Function == "" {
		return nil, errors.New("contract azure has no function")
	}
	return &handler{config: c, spec: *c.Spec.Azure}, nil
}

// Env is what the Functions host sets, under its present and its former name.
func (h *handler) Env() []string {
	value := strconv.Itoa(port)
	return []string{portName + "=" + value, "FUNCTIONS_HTTPWORKER_PORT=" + value}
}

// Input is empty: the program's stdin has ended.
func (h *handler) Input(*event.Event) (contract.Input, error) { return contract.Input{}, nil }

// Outcome is that of a program that ended before it answered.
func (h *handler) Outcome(_ *event.Event, r *vmexec.Result) reply.Outcome {
	return reply.Fail(contract.EndedEarly(r))
}

// Ready waits until the program listens. It leaves a connection behind, on which the
// function is called in each clone.
func (h *handler) Ready(_ context.Context, side *talk.Side) error {
	return call.Listens(side, port, portName+" names")
}

// Talk calls the function.
func (h *handler) Talk(_ context.Context, side *talk.Side, e *event.Event) (reply.Outcome, error) {
	invocation, err := uuid.NewRandom()
	if err != nil {
		return reply.Outcome{}, fmt.Errorf("make an id: %w", err)
	}
	var r *http.Request
	if h.spec.EnableForwardingHTTPRequest {
		r, err = h.forwarded(e)
	} else {
		r, err = h.invocation(e, invocation.String())
	}
	if err != nil {
		return reply.Outcome{}, err
	}
	r.Header.Set("X-Azure-Functions-InvocationId", invocation.String())
	resp, err := call.Do(side.Prepared(), r, h.config.MaxReply)
	switch {
	case err != nil:
		return call.NoAnswer(err)
	case h.spec.EnableForwardingHTTPRequest:
		return call.Outcome(&h.config.Reply, e, resp), nil
	}
	return h.outcome(e, resp), nil
}

// forwarded is the request of an HTTP trigger, which was posted the event.
func (h *handler) forwarded(e *event.Event) (*http.Request, error) {
	header := http.Header{}
	body, err := event.EncodeBinary(e, header)
	if err != nil {
		return nil, err
	}
	r, err := h.request("/api/"+h.spec.Function, body)
	if err == nil {
		r.Header = header
	}
	return r, err
}

func (h *handler) request(path string, body []byte) (*http.Request, error) {
	return http.NewRequest(http.MethodPost, "http://"+h.config.Name+"."+h.config.Namespace+path, bytes.NewReader(body))
}

// invocation is the request of a trigger of any other kind.
func (h *handler) invocation(e *event.Event, id string) (*http.Request, error) {
	whole, err := event.EncodeJSON(e)
	if err != nil {
		return nil, err
	}
	attributes, err := event.Attributes(e)
	if err != nil {
		return nil, err
	}
	metadata := map[string]any{}
	for name, value := range attributes {
		metadata[name] = value
	}
	metadata["sys"] = map[string]string{"MethodName": h.spec.Function, "UtcNow": time.Now().UTC().Format(time.RFC3339Nano), "RandGuid": id}
	body, err := json.Marshal(struct {
		Data     map[string]json.RawMessage
		Metadata map[string]any
	}{map[string]json.RawMessage{h.spec.Binding: whole}, metadata})
	if err != nil {
		return nil, err
	}
	r, err := h.request("/"+h.spec.Function, body)
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// response is what a function answers.
type response struct {
	Outputs     map[string]json.RawMessage
	Logs        []json.RawMessage
	ReturnValue json.RawMessage
}

// outcome reads the response to an invocation.
func (h *handler) outcome(e *event.Event, r *call.Response) reply.Outcome {
	if f := call.Refused(r); f != nil {
		return reply.Fail(f)
	}
	data, log, err := decode(r.Body)
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the function's response is not one JSON object with Outputs, Logs and ReturnValue: %v", err))
	}
	o := h.config.Reply.Output(e, data)
	o.Log = log
	return o
}

// decode returns what of a response is the reply's data, and its lines for the log. A
// response without a body has neither.
func decode(body []byte) (data []byte, log string, err error) {
	if len(body) == 0 {
		return nil, "", nil
	}
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return nil, "", errors.New("it does not begin with {")
	}
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, "", err
	}
	lines := make([]string, len(r.Logs))
	for i, l := range r.Logs {
		lines[i] = string(text(l))
	}
	log = strings.Join(lines, "\n")
	switch {
	case len(r.ReturnValue) > 0 && string(r.ReturnValue) != "null":
		return text(r.ReturnValue), log, nil
	case len(r.Outputs) > 0:
		data, err = json.Marshal(r.Outputs)
	}
	return data, log, err
}

// text returns what a JSON string holds, and other JSON as it is.
func text(raw json.RawMessage) []byte {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	return raw
}
