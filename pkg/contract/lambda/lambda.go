// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package lambda is the contract of programs written for AWS Lambda: the program asks
// the Lambda Runtime API for its next event, and posts the answer there. The API is
// served inside the program's virtual machine; the snapshot is taken while the program
// waits for its first event. Source:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package lambda

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// port is where the API is served, as by AWS's own emulator.
const port = 9001

type function struct {
	config contract.Config
	arn    string
}

// New returns the contract for one sink, whose Spec.Lambda has its defaults.
func New(c contract.Config) (contract.Contract, error) {
	if c.Spec.Lambda == nil {
		return nil, errors.New("contract lambda has no settings")
	}
	return &function{config: c, arn: "arn:aws:lambda:" + region + ":000000000000:function:" + c.Name}, nil
}

// region is what functions are told; there is none.
const region = "us-east-1"

// Env is that of a Lambda function:
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func (f *function) Env() []string {
	name := f.config.Name
	return []string{
		"AWS_LAMBDA_FUNCTION_NAME=" + name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.FormatUint(f.config.Memory>>20, 10), "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + name,
		"AWS_LAMBDA_LOG_STREAM_NAME=" + name, "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023",
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "LAMBDA_TASK_ROOT=/var/task", "LAMBDA_RUNTIME_DIR=/var/runtime",
		"_HANDLER=bootstrap", "TZ=:UTC", "LANG=en_US.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin",
	}
}

// Told implements contract.Teller: where the API is.
func (f *function) Told() []string {
	return []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:" + strconv.Itoa(port)}
}

// Input is empty: the event is asked for.
func (f *function) Input(*event.Event) (contract.Input, error) { return contract.Input{}, nil }

// Outcome is that of a program that ended before it answered.
func (f *function) Outcome(_ *event.Event, r *vmexec.Result) reply.Outcome {
	return reply.Fail(contract.EndedEarly(r))
}

// Ready serves the API until the program asks for its first event. The connection on
// which it asked is the one that stays open.
func (f *function) Ready(_ context.Context, s *talk.Side) error {
	a, err := f.serve(s)
	if err != nil {
		return err
	}
	defer a.stop()
	go a.accept()
	for {
		c, err := a.next()
		if err != nil {
			return errors.New("the function never asked for an event: GET " + base + "/invocation/next on $AWS_LAMBDA_RUNTIME_API")
		}
		switch c.kind {
		case callNext:
			a.keep(c)
			return nil
		case callInitError:
			c.answer(http.StatusAccepted, accepted)
			return errors.New("the function could not be initialized: " + c.failure())
		default:
			c.refuse(http.StatusForbidden, "InvalidStateTransition", "there is no event yet")
		}
	}
}

// Talk answers the call that waits for an event, and takes the function's answer.
func (f *function) Talk(_ context.Context, s *talk.Side, e *event.Event) (reply.Outcome, error) {
	payload, err := f.payload(e)
	if err != nil {
		return reply.Outcome{}, err
	}
	a, err := f.serve(s)
	if err != nil {
		return reply.Outcome{}, err
	}
	defer a.stop()
	id := uuid.NewString()
	if err := a.deliver(f.headers(id, e), payload); err != nil {
		return reply.Outcome{}, err
	}
	for {
		c, err := a.next()
		if err != nil {
			return reply.Outcome{}, errors.New("the function ended before it answered")
		}
		switch {
		case c.kind == callNext:
			// It has not answered the event that it has; there is no other one.
			c.refuse(http.StatusForbidden, "InvalidStateTransition", "the event before was not answered")
			return reply.Outcome{}, errors.New("the function asked for another event before it answered this one")
		case c.kind == callInitError:
			c.answer(http.StatusAccepted, accepted)
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "the function could not be initialized: %s", c.failure())), nil
		case c.kind == callUnknown:
			c.refuse(http.StatusNotFound, "InvalidRequest", "there is no such path")
		case c.id != id:
			c.refuse(http.StatusBadRequest, "InvalidRequestID", "there is no event with this request id")
		case c.kind == callError:
			c.answer(http.StatusAccepted, accepted)
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "the function failed: %s", c.failure())), nil
		case c.tooLarge:
			c.refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "the response is too large")
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.OutputExceeded, "the function's response has more than the %d bytes it may", f.config.MaxReply)), nil
		default:
			c.answer(http.StatusAccepted, accepted)
			return f.outcome(e, c), nil
		}
	}
}

// payload is what the function is given.
func (f *function) payload(e *event.Event) ([]byte, error) {
	if f.config.Spec.Lambda.Payload == v1alpha1.LambdaPayloadData {
		return e.Data(), nil
	}
	return event.EncodeJSON(e)
}

// headers are those of an invocation.
func (f *function) headers(id string, e *event.Event) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", id)
	h.Set("Lambda-Runtime-Invoked-Function-Arn", f.arn)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(f.timeout()).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Trace-Id", traceID(e))
	return h
}

func (f *function) timeout() time.Duration {
	if f.config.Timeout > 0 {
		return f.config.Timeout
	}
	return 15 * time.Minute // the most that Lambda gives
}

// outcome reads the response: null, or nothing, is no reply.
func (f *function) outcome(e *event.Event, c *call) reply.Outcome {
	if len(c.body) == 0 || string(c.body) == "null" {
		return reply.Outcome{}
	}
	if event.IsEventJSON(c.body) {
		answer, err := event.DecodeJSON(c.body)
		if err != nil {
			return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "the function's response is not a valid CloudEvent: %v", err))
		}
		return reply.Outcome{Event: answer}
	}
	answer, err := f.config.Reply.NewReply(e, "", c.body)
	if err != nil {
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.BadReply, "no reply event can be made of the function's response: %v", err))
	}
	return reply.Outcome{Event: answer}
}
