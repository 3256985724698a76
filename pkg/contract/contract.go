// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package contract says how a program takes an event and gives its answer. Each
// contract is a package of its own below this one.
package contract

import (
	"context"
	"net/http"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// Config is what a contract needs to know of its sink. Two values that are deeply
// equal mean the same contract.
type Config struct {
	Spec      v1alpha1.Contract // with its defaults
	Namespace string
	Name      string
	Root      string   // absolute path of the folder the guest sees as /; empty: the program alone
	Env       []string // NAME=value, what the sink says of it
	Reply     ReplySettings
	Timeout   time.Duration // of one event; 0: none
	Memory    uint64        // of a machine, in bytes
	MaxReply  int           // bytes of a reply's data
}

// Input is an event in the form that a program takes.
type Input struct {
	Stdin []byte   // the whole of standard input
	Env   []string // NAME=value, for this event alone; a program from a snapshot does not see it
}

// Contract translates between events and one program. Its methods may be
// called from several goroutines.
type Contract interface {
	// Env is what the program finds in its environment, NAME=value, unless the sink
	// says otherwise.
	Env() []string
	// Input gives an event the form that the program takes.
	Input(e *event.Event) (Input, error)
	// Outcome makes what the program did with e the outcome of e. The Result
	// is not one of a canceled run.
	Outcome(e *event.Event, r *vmexec.Result) reply.Outcome
}

// Talker is a contract whose program is talked to, over connections in its virtual
// machine, while it runs. Outcome is then asked only when the program has ended
// before it answered.
type Talker interface {
	Contract
	// Ready talks with a program that has been started, until it can take an event.
	// The error is why it cannot: it completes the sentence "the program was not
	// ready for events: …". The snapshot is taken behind it.
	Ready(ctx context.Context, s *talk.Side) error
	// Talk hands e to a program that is ready and returns what it answered. The error
	// says that there was no answer: it is a whole sentence without its stop.
	Talk(ctx context.Context, s *talk.Side, e *event.Event) (reply.Outcome, error)
}

// Poller is a Talker whose programs can be asked for events, where there is none to hand
// over.
type Poller interface {
	Talker
	// Poll asks a program that is ready for events and returns its answer; e says what it
	// is asked for. The error says that there was no answer, as that of Talk does.
	Poll(ctx context.Context, s *talk.Side, e *event.Event) (*Answer, error)
}

// Answer is what a program that was asked has answered, as HTTP has it.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Streamer is a Talker that talks on descriptors which its programs begin with.
type Streamer interface {
	// Streams are those descriptors; see vmexec.ProgramSpec.
	Streams() []int
}

// Teller is a contract whose programs must find some variables as it has them: it talks
// to them by what these say. A manifest that sets them to something else is not valid;
// what an image says of them does not count.
type Teller interface {
	// Told are those variables, NAME=value.
	Told() []string
}

// Start is how a program is started, found in its root. It goes before what an image
// says, and behind what a manifest does.
type Start struct {
	Command []string // the executable, as in a manifest's command, and its arguments; may be empty
	Dir     string   // the working directory, absolute in the root
}

// Starter is a contract that finds in the root how its program is started.
type Starter interface {
	// Start returns that; nil: the root is not asked. env is the environment of the
	// program, NAME=value.
	Start(env []string) *Start
}

// LogCleaner is a contract whose programs write to their logs what only their
// platform reads.
type LogCleaner interface {
	// CleanLog returns what of a log is for people.
	CleanLog(b []byte) []byte
}

// Tagger is a contract that says more to a program before its snapshot than its
// Config.Spec tells.
type Tagger interface {
	// Tag stands for that: it changes when what is said does.
	Tag() string
}

// ReplySettings complete a reply whose program gave data alone.
type ReplySettings struct {
	Type       string            // attribute type
	Source     string            // attribute source
	Extensions map[string]string // extension attributes
}
