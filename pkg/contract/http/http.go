// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package http is the contract of programs that are HTTP servers, as containers for
// Knative Serving are: the program listens on the TCP port that $PORT names, an event
// is posted to it as a CloudEvent, and its response is the reply.
//
// The server runs inside a virtual machine and is reached there: no socket of the
// host is part of it. Sources:
// https://github.com/knative/specs/blob/main/specs/serving/runtime-contract.md and
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/internal/call"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

type server struct {
	config contract.Config
	spec   v1alpha1.HTTPContract
	port   uint16
	http2  atomic.Bool // the program speaks that alone
}

// New returns the contract for one sink, whose Spec.HTTP has its defaults.
func New(c contract.Config) (contract.Contract, error) {
	if c.Spec.HTTP == nil || c.Spec.HTTP.Port == nil {
		return nil, errors.New("contract http has no port")
	}
	return &server{config: c, spec: *c.Spec.HTTP, port: uint16(*c.Spec.HTTP.Port)}, nil
}

// Env is that of the Knative runtime contract.
func (s *server) Env() []string {
	name := s.config.Name
	return []string{"K_SERVICE=" + name, "K_CONFIGURATION=" + name, "K_REVISION=" + name + "-00001"}
}

// Told implements contract.Teller.
func (s *server) Told() []string { return []string{"PORT=" + strconv.Itoa(int(s.port))} }

// Input is empty: the program's stdin has ended.
func (s *server) Input(*event.Event) (contract.Input, error) { return contract.Input{}, nil }

// Outcome is that of a program that ended before it answered.
func (s *server) Outcome(_ *event.Event, r *vmexec.Result) reply.Outcome {
	return reply.Fail(contract.EndedEarly(r))
}

// Ready waits until the program listens and, when the sink has a readiness path, until
// that is answered with 2xx. It leaves a connection behind, on which the event of each
// clone is posted.
func (s *server) Ready(ctx context.Context, side *talk.Side) error {
	probe, err := side.Await(s.port)
	if err != nil {
		return fmt.Errorf("no program listens on port %d, which PORT names", s.port)
	}
	if err := s.probe(ctx, side, probe); err != nil {
		return err
	}
	return call.Prepare(side, s.port)
}

// firstProbe and lastProbe bound the time between two requests to the readiness path.
const firstProbe, lastProbe = 10 * time.Millisecond, 200 * time.Millisecond

// probe asks for the readiness path until it is answered with 2xx.
func (s *server) probe(ctx context.Context, side *talk.Side, conn *talk.Conn) error {
	if s.spec.Readiness == "" {
		return conn.Close()
	}
	for wait := firstProbe; ; wait = min(2*wait, lastProbe) {
		r, err := s.request(http.MethodGet, s.spec.Readiness, nil)
		if err != nil {
			return err
		}
		r.Close = true
		resp, err := s.do(ctx, side, conn, r)
		_ = conn.Close() // it has served
		switch {
		case err == nil && resp.Status/100 == 2:
			return nil
		case err == nil:
			err = fmt.Errorf("the last answer was status %d", resp.Status)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return s.notReady(err)
		}
		var dialErr error
		if conn, dialErr = side.Dial(s.port); dialErr != nil {
			return s.notReady(err)
		}
	}
}

func (s *server) notReady(err error) error {
	return fmt.Errorf("its readiness path %s was not answered with 2xx: %w", s.spec.Readiness, err)
}

// restored returns a connection to a program that is ready, once it knows that it is a
// copy. It may have failed at that.
func (s *server) restored(ctx context.Context, side *talk.Side) (*talk.Conn, *reply.Failure, error) {
	conn := side.Prepared()
	if s.spec.AfterRestore == "" {
		return conn, nil, nil
	}
	r, err := s.request(http.MethodPost, s.spec.AfterRestore, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := s.do(ctx, side, conn, r)
	switch {
	case err != nil:
		return nil, nil, err
	case resp.Status/100 != 2:
		return nil, reply.Failf(http.StatusBadGateway, reply.FunctionFailed,
			"the program answered status %d at its path %s, which is called after each restore; 2xx is expected", resp.Status, s.spec.AfterRestore), nil
	case !resp.Reusable:
		conn, err = side.Dial(s.port)
	}
	return conn, nil, err
}

// Poll asks for events with GET. The headers are those of e in binary mode.
func (s *server) Poll(ctx context.Context, side *talk.Side, e *event.Event) (*contract.Answer, error) {
	conn, f, err := s.restored(ctx, side)
	switch {
	case err != nil:
		return nil, err
	case f != nil:
		return nil, f
	}
	r, err := s.request(http.MethodGet, s.spec.Path, nil)
	if err != nil {
		return nil, err
	}
	if _, err := event.EncodeBinary(e, r.Header); err != nil {
		return nil, err
	}
	r.Header.Del("Content-Type") // there is no body
	resp, err := s.do(ctx, side, conn, r)
	if err != nil {
		return nil, err
	}
	return &contract.Answer{Status: resp.Status, Header: resp.Header, Body: resp.Body}, nil
}

// Talk posts the event.
func (s *server) Talk(ctx context.Context, side *talk.Side, e *event.Event) (reply.Outcome, error) {
	conn, f, err := s.restored(ctx, side)
	switch {
	case err != nil:
		return reply.Outcome{}, err
	case f != nil:
		return reply.Fail(f), nil
	}
	r, err := s.eventRequest(e)
	if err != nil {
		return reply.Outcome{}, err
	}
	resp, err := s.do(ctx, side, conn, r)
	if err != nil {
		return call.NoAnswer(err)
	}
	return call.Outcome(&s.config.Reply, e, resp), nil
}

// do makes a request on conn, or on another connection when the program turns out to
// speak HTTP/2 alone.
func (s *server) do(ctx context.Context, side *talk.Side, conn *talk.Conn, r *http.Request) (*call.Response, error) {
	if !s.http2.Load() {
		resp, err := call.Do(conn, r, s.config.MaxReply)
		if !call.IsHTTP2(err) {
			return resp, err
		}
		s.http2.Store(true)
		if conn, err = side.Dial(s.port); err != nil {
			return nil, err
		}
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
	return call.DoHTTP2(ctx, conn, r, s.config.MaxReply)
}

// request makes a request to the program.
func (s *server) request(method, path string, body *bytes.Reader) (*http.Request, error) {
	url := "http://" + s.config.Name + "." + s.config.Namespace + path
	if body == nil {
		return http.NewRequest(method, url, nil)
	}
	return http.NewRequest(method, url, body)
}

func (s *server) eventRequest(e *event.Event) (*http.Request, error) {
	if s.spec.Mode == v1alpha1.HTTPModeStructured {
		body, err := event.EncodeJSON(e)
		if err != nil {
			return nil, err
		}
		r, err := s.request(http.MethodPost, s.spec.Path, bytes.NewReader(body))
		if err == nil {
			r.Header.Set("Content-Type", event.MediaTypeJSON)
		}
		return r, err
	}
	h := http.Header{}
	body, err := event.EncodeBinary(e, h)
	if err != nil {
		return nil, err
	}
	r, err := s.request(http.MethodPost, s.spec.Path, bytes.NewReader(body))
	if err == nil {
		r.Header = h
	}
	return r, err
}
