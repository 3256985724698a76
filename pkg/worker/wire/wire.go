// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire is what the receiver and a worker process say to each other: frames
// of a kind, a length and that many bytes on a stream socket. What a worker sends
// is not trusted: a guest may have taken it over.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"kontain.dev/eventing/vmexec"
)

// Kind says what a frame is.
type Kind uint8

// The kinds of frames.
const (
	KindSetup  Kind = iota + 1 // to the worker, the first: Setup as JSON
	KindReady                  // from it: it waits for an event; the first time with Ready as JSON
	KindEnv                    // to it, before the event of a program without a snapshot: its environment as JSON
	KindRun                    // to it: an event; of a program that is frozen and talked to, that it may start
	KindBegun                  // from it: the program is about to run
	KindResult                 // from it: a result
	KindFailed                 // from it, the last: why it cannot go on
	KindFrozen                 // from it, the last: Frozen as JSON, with the snapshot's two files if there is one
	KindTalk                   // a talk.Message, in either direction
	KindDone                   // to it: the talk of this event, or of the start, is over
	KindState                  // to it, before the event of a program with a state file: the contents of that
	KindSeat                   // to it, the first of a seat but the first one: Seat as JSON; the answer is KindReady
)

// Bounds of frames in bytes. That of a result is MaxHead and twice the sink's
// limit of output.
const (
	MaxSetup = 1 << 20
	MaxReady = 64 << 10
	MaxEnv   = 1 << 20
	MaxEvent = 1 << 30
	MaxText  = 8 << 10
	MaxHead  = 8 << 20
)

// Descriptors that a worker is started with: its socket, the files of the program, and
// the sockets of its seats. The numbers of both are its arguments. With seats its own
// socket is for Setup alone, and to know that the receiver is there; each machine has its
// events on the socket of a seat, and ends when that is closed.
const (
	SocketFD = 3
	FilesFD  = 4
)

// Setup says what a worker does.
type Setup struct {
	// Program is the text of a vmexec.Handover: a program and, most often, its
	// snapshot.
	Program json.RawMessage `json:"program"`
	// Limits are those of each event.
	Limits vmexec.Limits `json:"limits"`
	// Reuse says what becomes of the worker after an event that succeeded.
	Reuse Reuse `json:"reuse"`
	// Used are the pages that an event uses, when that is known.
	Used []uint64 `json:"used,omitempty"`
	// Talk: the program is talked to. Before the run of an event, and during it, come
	// frames of KindTalk, and then one of KindDone, also after the result.
	Talk bool `json:"talk,omitempty"`
	// Outward: the program may ask for connections to the network outside. Frames of
	// KindTalk and KindDone come as with Talk; of a program that is frozen frames of
	// KindTalk may follow that of KindDone.
	Outward bool `json:"outward,omitempty"`
	// Seats is how many machines the worker may have; 0: one, on its own socket. The
	// machine of the first seat is made without being asked for.
	Seats int `json:"seats,omitempty"`
	// SameBuild: the worker's program is known to be of the receiver's build.
	SameBuild bool `json:"sameBuild,omitempty"`
	// User is that of the worker's cell; 0: it is in none. Tasks is the most processes
	// and threads that the user may have.
	User  uint32 `json:"user,omitempty"`
	Tasks int    `json:"tasks,omitempty"`
}

// Reuse says what a worker does after an event.
type Reuse string

const (
	// Once: the worker ends.
	Once Reuse = "once"
	// Fresh: the next event gets a new machine in the same worker.
	Fresh Reuse = "fresh"
	// Reset: the machine is reset for the next event.
	Reset Reuse = "reset"
	// Freeze: there are no events. The worker makes a snapshot of the program and ends.
	Freeze Reuse = "freeze"
)

// Seat asks for another machine.
type Seat struct {
	Used []uint64 `json:"used,omitempty"` // as in Setup
}

// Frozen is what came of running a program until it waits for its event.
type Frozen struct {
	// Snapshot is the text of a vmexec.Handover; nil when there is no snapshot.
	Snapshot json.RawMessage `json:"snapshot,omitempty"`
	// Took, Stdout and Stderr are those of the vmexec.Snapshot.
	Took   time.Duration `json:"tookNs,omitempty"`
	Stdout []byte        `json:"stdout,omitempty"`
	Stderr []byte        `json:"stderr,omitempty"`
	// Result and Asked are of a vmexec.NoWaitError, Reason of another one.
	Result *vmexec.Result `json:"result,omitempty"`
	Asked  bool           `json:"asked,omitempty"`
	Talked bool           `json:"talked,omitempty"`
	Reason string         `json:"reason,omitempty"`
}

// Ready is what a worker says when it waits for its first event.
type Ready struct {
	Jail  vmexec.JailReport `json:"jail"`
	Load  time.Duration     `json:"loadNs"`  // reading the program or its snapshot
	Clone time.Duration     `json:"cloneNs"` // making the first machine
}

// Error says that what came is no frame, or not one that may come now.
type Error struct{ Reason string }

func (e *Error) Error() string { return "protocol of worker processes: " + e.Reason }

func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

const headerSize = 8

// Append appends a frame with the contents body, of which more bytes follow that
// the caller sends.
func Append(b []byte, k Kind, body []byte, more int) []byte {
	b = append(b, byte(k), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)+more))
	return append(b, body...)
}

// ReadHeader reads the header of a frame and returns its kind and the length of its
// contents, which follow. most returns the most bytes that a frame of a kind may
// have, -1 when it may not come. The error is an *Error, or the reader's.
func ReadHeader(r io.Reader, most func(Kind) int) (Kind, int, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, err
	}
	k, n := Kind(h[0]), binary.LittleEndian.Uint32(h[4:])
	if h[1] != 0 || h[2] != 0 || h[3] != 0 {
		return 0, 0, errorf("a frame begins with %x", h)
	}
	m := most(k)
	if m < 0 {
		return 0, 0, errorf("a frame of kind %d has no place here", k)
	}
	if uint64(n) > uint64(m) {
		return 0, 0, errorf("a frame of kind %d and %d bytes, where %d is the most", k, n, m)
	}
	return k, int(n), nil
}

// Read reads a frame; see ReadHeader.
func Read(r io.Reader, most func(Kind) int) (Kind, []byte, error) {
	k, n, err := ReadHeader(r, most)
	if err != nil {
		return 0, nil, err
	}
	b, err := ReadBody(r, nil, n)
	return k, b, err
}

// firstPart is how much is allocated for a frame before any of it has come.
const firstPart = 1 << 20

// ReadBody reads the n bytes of a frame's contents, into b where they fit. Memory
// is given as they come.
func ReadBody(r io.Reader, b []byte, n int) ([]byte, error) {
	b = b[:0]
	for len(b) < n {
		part := min(n-len(b), max(firstPart, len(b)))
		if cap(b)-len(b) < part {
			b = append(make([]byte, 0, len(b)+part), b...)
		}
		if _, err := io.ReadFull(r, b[len(b):len(b)+part]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		b = b[:len(b)+part]
	}
	return b, nil
}

// Only allows frames of one kind, of at most n bytes.
func Only(want Kind, n int) func(Kind) int {
	return func(k Kind) int {
		if k == want {
			return n
		}
		return -1
	}
}

// head is a result without its output.
type head struct {
	Reason  vmexec.Reason `json:"reason"`
	Status  int           `json:"status,omitempty"`
	Death   *vmexec.Death `json:"death,omitempty"`
	Message string        `json:"message,omitempty"`
	Stats   vmexec.Stats  `json:"stats"`
	Stderr  int           `json:"stderr,omitempty"` // bytes of stderr behind stdout
	State   *int          `json:"state,omitempty"`  // bytes of the state file behind that; nil: there is none
	Bad     string        `json:"badState,omitempty"`
	Used    []uint64      `json:"used,omitempty"`
}

// AppendResult appends the frame of a result, with the pages that the event used
// where that was to be learned.
func AppendResult(b []byte, r *vmexec.Result, used []uint64) ([]byte, error) {
	d := head{Reason: r.Reason, Status: r.Status, Death: r.Death, Message: r.Message, Stats: r.Stats, Stderr: len(r.Stderr), Bad: r.BadState, Used: used}
	if r.State != nil {
		n := len(r.State)
		d.State = &n
	}
	h, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	b = Append(b, KindResult, binary.LittleEndian.AppendUint32(nil, uint32(len(h))), len(h)+len(r.Stdout)+len(r.Stderr)+len(r.State))
	b = append(b, h...)
	b = append(b, r.Stdout...)
	return append(append(b, r.Stderr...), r.State...), nil
}

// DecodeResult reads the contents of a result's frame, which it keeps. The error is
// an *Error.
func DecodeResult(b []byte) (r *vmexec.Result, used []uint64, err error) {
	if len(b) < 4 {
		return nil, nil, errorf("a result of %d bytes", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if uint64(n) > uint64(min(len(b), MaxHead)) {
		return nil, nil, errorf("a result of %d bytes has a head of %d", len(b), n)
	}
	var h head
	if err := json.Unmarshal(b[:n], &h); err != nil {
		return nil, nil, errorf("the head of a result: %v", err)
	}
	b = b[n:]
	var state []byte
	if s := h.State; s != nil {
		if *s < 0 || *s > min(len(b), vmexec.MaxState) {
			return nil, nil, errorf("a result with %d bytes of output has a state of %d", len(b), *s)
		}
		at := len(b) - *s
		b, state = b[:at:at], b[at:]
	}
	switch {
	case h.Stderr < 0 || h.Stderr > len(b):
		return nil, nil, errorf("a result with %d bytes of output has %d of stderr", len(b), h.Stderr)
	case h.Reason > vmexec.Answered:
		return nil, nil, errorf("a result with %v", h.Reason)
	case h.Status < 0 || h.Status > 255:
		return nil, nil, errorf("a result with exit status %d", h.Status)
	case (h.Reason == vmexec.Signaled) != (h.Death != nil):
		return nil, nil, errorf("a result with %v and death %v", h.Reason, h.Death)
	}
	out := len(b) - h.Stderr
	return &vmexec.Result{
		Reason: h.Reason, Status: h.Status, Death: h.Death, Message: Cut(h.Message), Stats: h.Stats,
		Stdout: b[:out:out], Stderr: b[out:], State: state, BadState: Cut(h.Bad),
	}, h.Used, nil
}

// Cut bounds a text that goes to a log.
func Cut(s string) string { return s[:min(len(s), MaxText)] }
