// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package openwhisk is the contract of Apache OpenWhisk actions: an action is given its
// code once, before the snapshot, and then parameters, as one JSON object, for which it
// returns another. The event is the parameters, and the result is the data of the reply.
//
// With protocol HTTP the program is a proxy of OpenWhisk, an HTTP server; with ActionLoop
// it is what such a proxy runs, a program that reads lines. There is no OpenWhisk behind
// an action here: the names of its API are empty. Sources:
// https://github.com/apache/openwhisk/blob/master/docs/actions-new.md,
// https://github.com/apache/openwhisk/blob/master/docs/actions-actionloop.md and
// https://github.com/apache/openwhisk-runtime-go/blob/master/docs/ACTION.md
package openwhisk

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/internal/call"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// port is where every proxy of OpenWhisk listens.
const port = 8080

// action is what both protocols have in common.
type action struct {
	config contract.Config
	spec   v1alpha1.OpenWhiskContract
}

// New returns the contract for one sink, whose Spec.OpenWhisk has its defaults. The
// error is that the action's code cannot be had.
func New(c contract.Config) (contract.Contract, error) {
	if c.Spec.OpenWhisk == nil {
		return nil, errors.New("contract openwhisk is not described")
	}
	a := action{config: c, spec: *c.Spec.OpenWhisk}
	switch a.spec.Protocol {
	case v1alpha1.OpenWhiskHTTP:
		code, err := openCode(c.Root, a.spec.Code)
		if err != nil {
			return nil, err
		}
		return &proxy{a, code}, nil
	case v1alpha1.OpenWhiskActionLoop:
		return &loop{a}, nil
	}
	return nil, fmt.Errorf("there is no protocol %q", a.spec.Protocol)
}

// Env is what OpenWhisk gives containers at their start.
func (a *action) Env() []string { return []string{"__OW_API_HOST="} }

// Input is empty: the program's stdin has ended.
func (a *action) Input(*event.Event) (contract.Input, error) { return contract.Input{}, nil }

// Outcome is that of a program that ended before it answered.
func (a *action) Outcome(_ *event.Event, r *vmexec.Result) reply.Outcome {
	return reply.Fail(contract.EndedEarly(r))
}

// name is the action's fully qualified name.
func (a *action) name() string { return "/" + a.config.Namespace + "/" + a.config.Name }

// activation is one line of ActionLoop, and the body of /run. Other than Value all are
// text: launchers put them into the environment as they are.
type activation struct {
	Value         json.RawMessage `json:"value"`
	Namespace     string          `json:"namespace"`
	ActionName    string          `json:"action_name"`
	APIHost       string          `json:"api_host"`
	APIKey        string          `json:"api_key"`
	ActivationID  string          `json:"activation_id"`
	TransactionID string          `json:"transaction_id"`
	Deadline      string          `json:"deadline,omitempty"` // milliseconds since 1970
}

// activate returns the activation for an event, in one line: white space is left out. The error is a
// *reply.Failure when the event has no such form.
func (a *action) activate(e *event.Event) ([]byte, error) {
	value, err := a.value(e)
	if err != nil {
		return nil, err
	}
	var ids [2]uuid.UUID
	for i := range ids {
		if ids[i], err = uuid.NewRandom(); err != nil {
			return nil, fmt.Errorf("make an id: %w", err)
		}
	}
	act := activation{
		Value: value, Namespace: a.config.Namespace, ActionName: a.name(),
		ActivationID: hex.EncodeToString(ids[0][:]), TransactionID: hex.EncodeToString(ids[1][:]),
	}
	if a.config.Timeout > 0 {
		act.Deadline = strconv.FormatInt(time.Now().Add(a.config.Timeout).UnixMilli(), 10)
	}
	return json.Marshal(act) //nolint:gosec // the key is empty
}

func (a *action) value(e *event.Event) (json.RawMessage, error) {
	if a.spec.Payload != v1alpha1.OpenWhiskPayloadData {
		return event.EncodeJSON(e)
	}
	data := bytes.TrimSpace(e.Data())
	switch {
	case len(data) == 0:
		return json.RawMessage("{}"), nil
	case data[0] != '{' || !json.Valid(data):
		return nil, reply.Failf(http.StatusUnprocessableEntity, reply.PermanentFailure, "the event's data is not a JSON object, which the parameters of an action are")
	}
	return data, nil
}

// outcome reads the result of an activation. ok says that the proxy found no fault.
func (a *action) outcome(e *event.Event, ok bool, result []byte) reply.Outcome {
	members, err := decode(result)
	if err != nil {
		if !ok { // what it says is not worth more
			err = errors.New(call.FirstLine(result))
		}
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the action did not return a JSON object: %v", err))
	}
	if said, failed := members["error"]; failed || !ok {
		if !failed {
			said = result
		}
		return reply.Fail(failure(said))
	}
	if members != nil && len(members) == 0 {
		return reply.Outcome{} // an action cannot return less
	}
	return a.config.Reply.Output(e, bytes.TrimSpace(result))
}

// decode returns the members of a result; nil of one that is an array.
func decode(result []byte) (map[string]json.RawMessage, error) {
	b := bytes.TrimLeft(result, " \t\r\n")
	switch {
	case len(b) == 0:
		return nil, errors.New("it is empty")
	case !utf8.Valid(b):
		return nil, errors.New("it is not UTF-8")
	case b[0] == '[':
		var elements []json.RawMessage
		return nil, json.Unmarshal(b, &elements)
	case b[0] != '{':
		return nil, errors.New("it does not begin with { or [")
	}
	members := map[string]json.RawMessage{}
	return members, json.Unmarshal(b, &members)
}

// failure is that of an action that returned an error: said is the value of the member
// of that name, or else the whole result. An error may be an object with an HTTP status, as web actions have it:
// https://github.com/apache/openwhisk/blob/master/docs/webactions.md
func failure(said json.RawMessage) *reply.Failure {
	text := string(said)
	_ = json.Unmarshal(said, &text) // when it is a string
	text = call.FirstLine([]byte(text))
	var web struct {
		StatusCode int `json:"statusCode"`
	}
	_ = json.Unmarshal(said, &web) // when it is an object
	switch status := web.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return reply.Failf(status, reply.FunctionBusy, "the action returned an error: %s", text)
	case status/100 == 4:
		return reply.Failf(http.StatusUnprocessableEntity, reply.PermanentFailure, "the action refused the event for good: %s", text)
	}
	return reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "the action returned an error: %s", text)
}

// sentinels are what proxies frame the log of an activation with.
var sentinels = [][]byte{[]byte("XXX_THE_START_OF_A_WHISK_ACTIVATION_XXX"), []byte("XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX")}

// CleanLog takes the lines out that only OpenWhisk reads. Text before a sentinel, on
// the same line, stays.
func (a *action) CleanLog(b []byte) []byte {
	if !bytes.Contains(b, sentinels[0]) && !bytes.Contains(b, sentinels[1]) {
		return b
	}
	var out []byte
	for line := range bytes.Lines(b) {
		for _, s := range sentinels {
			if at := bytes.Index(line, s); at == 0 {
				line = nil
			} else if at > 0 {
				line = append(line[:at:at], '\n')
			}
		}
		out = append(out, line...)
	}
	return out
}

// proxy is an action with protocol HTTP.
type proxy struct {
	action
	code *code
}

// Tag implements contract.Tagger: the code is said before the snapshot.
func (p *proxy) Tag() string { return p.code.digest() }

// Ready waits until the proxy listens and gives it the action's code. It leaves a
// connection behind, on which the action is run in each clone.
func (p *proxy) Ready(_ context.Context, side *talk.Side) error {
	conn, err := side.Await(port)
	if err != nil {
		return fmt.Errorf("no program listens on port %d, as proxies of OpenWhisk do", port)
	}
	body, err := p.initialization()
	if err != nil {
		return err
	}
	r, err := p.request("/init", body)
	if err != nil {
		return err
	}
	r.Close = true
	resp, err := call.Do(conn, r, p.config.MaxReply)
	_ = conn.Close() // it has served
	if err != nil {
		return fmt.Errorf("it did not take the action's code: %w", err)
	}
	if resp.Status != http.StatusOK {
		return fmt.Errorf("it answered status %d to the action's code: %s", resp.Status, call.FirstLine(resp.Body))
	}
	return call.Prepare(side, port)
}

// initialization returns the body of /init.
func (p *proxy) initialization() ([]byte, error) {
	type value struct {
		Name   string            `json:"name"`
		Main   string            `json:"main"`
		Code   string            `json:"code,omitempty"`
		Binary bool              `json:"binary"`
		Env    map[string]string `json:"env"`
	}
	code, err := p.code.read()
	if err != nil {
		return nil, err
	}
	v := value{
		Name: p.config.Name, Main: p.spec.Main, Code: string(code), Binary: p.spec.Binary,
		Env: map[string]string{"__OW_NAMESPACE": p.config.Namespace, "__OW_ACTION_NAME": p.name(), "__OW_API_HOST": ""},
	}
	switch {
	case v.Binary:
		v.Code = base64.StdEncoding.EncodeToString(code)
	case !utf8.Valid(code):
		return nil, fmt.Errorf("the action's code, %s, is not text; write binary: true", p.spec.Code)
	}
	return json.Marshal(struct {
		Value value `json:"value"`
	}{v})
}

func (p *proxy) request(path string, body []byte) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+p.config.Name+"."+p.config.Namespace+path, bytes.NewReader(body))
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// Talk runs the action.
func (p *proxy) Talk(_ context.Context, side *talk.Side, e *event.Event) (reply.Outcome, error) {
	body, err := p.activate(e)
	if err != nil {
		return notActivated(err)
	}
	r, err := p.request("/run", body)
	if err != nil {
		return reply.Outcome{}, err
	}
	resp, err := call.Do(side.Prepared(), r, p.config.MaxReply)
	if err != nil {
		return call.NoAnswer(err)
	}
	return p.outcome(e, resp.Status == http.StatusOK, resp.Body), nil
}

// notActivated makes the outcome of an error of activate.
func notActivated(err error) (reply.Outcome, error) {
	var f *reply.Failure
	if errors.As(err, &f) {
		return reply.Fail(f), nil
	}
	return reply.Outcome{}, err
}
