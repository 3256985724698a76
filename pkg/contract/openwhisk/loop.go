// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"kontain.dev/eventing/pkg/contract/internal/call"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec/talk"
)

// The descriptors that an ActionLoop program reads activations from and writes results
// to.
const (
	activations = 0
	results     = 3
)

// waitForAck is the variable that has a program say that it is ready. The images of
// OpenWhisk's runtimes set it, some of whose programs say so in any case. Empty: the
// program does not say it.
const waitForAck = "__OW_WAIT_FOR_ACK"

// maxAck is the most bytes of what it then says.
const maxAck = 64 << 10

// loop is an action with protocol ActionLoop.
type loop struct{ action }

// Streams implements contract.Streamer.
func (l *loop) Streams() []int { return []int{activations, results} }

// Env is what OpenWhisk gives programs at their start.
func (l *loop) Env() []string { return append(l.action.Env(), waitForAck+"=1") }

// Ready waits for the acknowledgement. A sink whose program gives none says so; it is
// ready when it rests.
func (l *loop) Ready(_ context.Context, side *talk.Side) error {
	if slices.Contains(l.config.Env, waitForAck+"=") {
		return nil
	}
	line, err := readLine(side.Stream(results), maxAck)
	if err != nil {
		return fmt.Errorf("it did not write {\"ok\":true} to descriptor %d, as %s asks for; a program that never does is given that variable without a value: %w", results, waitForAck, err)
	}
	var ack struct {
		OK bool `json:"ok"`
	}
	if err := json.Unmarshal(line, &ack); err != nil || !ack.OK {
		return fmt.Errorf("it wrote to descriptor %d, where %s asks for {\"ok\":true}: %s", results, waitForAck, call.FirstLine(line))
	}
	return nil
}

// Talk runs the action.
func (l *loop) Talk(_ context.Context, side *talk.Side, e *event.Event) (reply.Outcome, error) {
	line, err := l.activate(e)
	if err != nil {
		return notActivated(err)
	}
	if _, err := side.Stream(activations).Write(append(line, '\n')); err != nil {
		return reply.Outcome{}, err
	}
	result, err := readLine(side.Stream(results), l.config.MaxReply)
	switch {
	case errors.Is(err, errLong):
		return reply.Fail(reply.Failf(http.StatusBadGateway, reply.OutputExceeded, "the action's result has more than the %d bytes it may", l.config.MaxReply)), nil
	case errors.Is(err, io.EOF):
		return reply.Outcome{}, fmt.Errorf("the program closed descriptor %d without a line on it", results)
	case err != nil:
		return reply.Outcome{}, err
	}
	return l.outcome(e, true, result), nil
}

// errLong says that a line is longer than it may be.
var errLong = errors.New("the line is too long")

// readLine reads a line of at most most bytes, which it returns without its end. What
// follows it is lost. Errors: errLong, io.EOF before the end of the line, or that of r.
func readLine(r io.Reader, most int) ([]byte, error) {
	var line []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			if line = append(line, buf[:i]...); len(line) > most {
				return nil, errLong
			}
			return line, nil
		}
		if line = append(line, buf[:n]...); len(line) > most {
			return nil, errLong
		}
		if err != nil {
			return nil, err
		}
	}
}
