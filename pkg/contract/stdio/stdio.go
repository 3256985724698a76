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
	"net/http"
	"sort"
	"strings"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// ExitPermanent is the exit status by which a program says that it will never
// accept the event.
const ExitPermanent = 65

type stdio struct{ config contract.Config }

// New returns the contract for one sink.
func New(c contract.Config) (contract.Contract, error) { return &stdio{config: c}, nil }

// Env is what a JobSink of Knative sets, so that its programs find the file with their
// event, and those that can also be servers know that they are none here:
// https://github.com/knative/eventing/blob/main/cmd/jobsink/main.go and
// job_sink_defaults.go of pkg/apis/sinks/v1alpha1 there.
func (s *stdio) Env() []string {
	return []string{"K_EVENT_PATH=" + vmexec.EventFolder, "K_EXECUTION_MODE=batch"}
}

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
	if r.Reason == vmexec.Exited && r.Status == ExitPermanent {
		f := reply.Failf(http.StatusUnprocessableEntity, reply.PermanentFailure, "the program refused the event for good (exit status %d)", r.Status)
		contract.AddStderr(f, r)
		return reply.Fail(f)
	}
	if f := contract.Ended(r); f != nil {
		return reply.Fail(f)
	}
	return s.config.Reply.Output(e, r.Stdout)
}
