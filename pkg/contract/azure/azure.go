// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package azure is the contract of custom handlers of Azure Functions: HTTP servers on
// the port that FUNCTIONS_CUSTOMHANDLER_PORT names, which a function is called by, under
// its name, with the data of its trigger, and which answer with a value to return.
//
// The event is the trigger's data, as one JSON object; its attributes are also the
// metadata. The return value is the reply. There are no bindings here, so that outputs
// are the data of the reply when nothing is returned. Where the files of a function app
// are named, they say how the program is started and called, and which form its trigger's
// data and its HTTP response have. Sources:
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
	// port is where the program listens unless host.json says. Any would do: nothing else
	// has it.
	port = 8080
	// portName tells it, and formerPortName does to older programs.
	portName, formerPortName = "FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"
)

type handler struct {
	config  contract.Config
	spec    v1alpha1.AzureContract
	app     *app   // nil: no files are read
	port    uint16 // where the program listens
	forward string // path to which the event is posted as it is; empty: invocations
	trigger binding
}

// New returns the contract for one sink, whose Spec.Azure has its defaults. The error is
// that the files of its function app cannot be used.
func New(c contract.Config) (contract.Contract, error) {
	if c.Spec.Azure == nil || c.Spec.Azure.Function == "" {
		return nil, errors.New("contract azure has no function")
	}
	h := &handler{config: c, spec: *c.Spec.Azure, port: port}
	h.trigger.Name = h.spec.Binding
	if h.spec.EnableForwardingHTTPRequest {
		h.forward = "/api/" + h.spec.Function
	}
	if h.spec.App == "" {
		return h, nil
	}
	var err error
	if h.app, err = openApp(c.Root, h.spec.App, h.spec.Function); err != nil {
		return nil, err
	}
	h.port, h.trigger = h.app.port, h.app.trigger
	if h.app.forward && h.app.alone {
		h.forward, err = h.app.route(h.spec.Function)
	}
	return h, err
}

// Env is what the Functions host sets.
func (h *handler) Env() []string {
	if h.app == nil {
		return nil
	}
	return []string{"FUNCTIONS_APP_ROOT_PATH=" + h.app.dir, "AzureWebJobsScriptRoot=" + h.app.dir, "FUNCTIONS_WORKER_RUNTIME=custom"}
}

// Told implements contract.Teller: where to listen, under its present and its former
// name.
func (h *handler) Told() []string {
	value := strconv.Itoa(int(h.port))
	return []string{portName + "=" + value, formerPortName + "=" + value}
}

// Start implements contract.Starter.
func (h *handler) Start(env []string) *contract.Start {
	if h.app == nil {
		return nil
	}
	return h.app.start(env)
}

// Tag implements contract.Tagger: how the program was started is in its snapshot.
func (h *handler) Tag() string {
	if h.app == nil {
		return ""
	}
	return h.app.sum
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
	return call.Listens(side, h.port, portName+" names")
}

// Talk calls the function.
func (h *handler) Talk(_ context.Context, side *talk.Side, e *event.Event) (reply.Outcome, error) {
	invocation, err := uuid.NewRandom()
	if err != nil {
		return reply.Outcome{}, fmt.Errorf("make an id: %w", err)
	}
	var r *http.Request
	if h.forward != "" {
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
	case h.forward != "":
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
	r, err := h.request(h.forward, body)
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
	value, err := h.data(e)
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
	}{map[string]json.RawMessage{h.trigger.Name: value}, metadata})
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
	said, err := decode(r.Body)
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the function's response is not one JSON object with Outputs, Logs and ReturnValue: %v", err))
	}
	o := h.replied(e, said)
	o.Log = said.log()
	return o
}

// replied makes the outcome of what a function said.
func (h *handler) replied(e *event.Event, said *response) reply.Outcome {
	if h.app != nil && h.app.output.Name != "" {
		value := said.Outputs[h.app.output.Name]
		if h.app.output.Name == returned {
			value = said.ReturnValue
		}
		if !null(value) {
			r, err := httpResponse(value, h.config.MaxReply)
			if err != nil {
				return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the function's HTTP response, %s: %v", h.app.output.Name, err))
			}
			return call.Outcome(&h.config.Reply, e, r)
		}
	}
	data, err := said.data()
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the function's outputs: %v", err))
	}
	return h.config.Reply.Output(e, data)
}

// decode reads a response. One without a body says nothing.
func decode(body []byte) (*response, error) {
	r := &response{}
	if len(body) == 0 {
		return r, nil
	}
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return nil, errors.New("it does not begin with {")
	}
	return r, json.Unmarshal(body, r)
}

// log returns the lines for the log.
func (r *response) log() string {
	lines := make([]string, len(r.Logs))
	for i, l := range r.Logs {
		lines[i] = string(text(l))
	}
	return strings.Join(lines, "\n")
}

// data returns what is the data of the reply; nothing: there is none.
func (r *response) data() ([]byte, error) {
	switch {
	case !null(r.ReturnValue):
		return text(r.ReturnValue), nil
	case len(r.Outputs) > 0:
		return json.Marshal(r.Outputs)
	}
	return nil, nil
}

// null says whether there is no value.
func null(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// text returns what a JSON string holds, and other JSON as it is.
func text(raw json.RawMessage) []byte {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	return raw
}
