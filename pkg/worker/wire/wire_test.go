// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec"
)

func TestFrames(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 500_000)
	b := Append(nil, KindRun, nil, 0)
	b = Append(b, KindRun, []byte("event"), 0)
	b = append(Append(b, KindRun, big[:7], len(big)-7), big[7:]...)
	r := iotest.HalfReader(bytes.NewReader(b))
	for _, want := range [][]byte{{}, []byte("event"), big} {
		k, got, err := Read(r, Only(KindRun, MaxEvent))
		if err != nil || k != KindRun || !bytes.Equal(got, want) {
			t.Fatalf("kind %d, %d bytes, %v; want %d bytes", k, len(got), err, len(want))
		}
	}
	if _, _, err := Read(r, Only(KindRun, MaxEvent)); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestFramesRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"kind":  Append(nil, KindReady, nil, 0),
		"zero":  make([]byte, 8),
		"long":  Append(nil, KindRun, nil, 101),
		"bytes": {byte(KindRun), 1, 0, 0, 0, 0, 0, 0},
	} {
		_, _, err := Read(bytes.NewReader(b), Only(KindRun, 100))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want an *Error", name, err)
		}
	}
	for name, b := range map[string][]byte{"in the header": {byte(KindRun), 0}, "in the contents": Append(nil, KindRun, []byte("a"), 1)} {
		if _, _, err := Read(bytes.NewReader(b), Only(KindRun, 100)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("end %s: %v", name, err)
		}
	}
}

func TestResult(t *testing.T) {
	for _, want := range []*vmexec.Result{
		{Reason: vmexec.Exited, Stdout: []byte("out"), Stderr: []byte{}, Stats: vmexec.Stats{Exits: 4, Syscalls: map[string]uint64{"read": 2}}},
		{Reason: vmexec.Exited, Status: 65, Message: "no", Stdout: []byte{}, Stderr: []byte("why")},
		{Reason: vmexec.Signaled, Death: &vmexec.Death{Signal: 11, Vector: 14, Addr: 1 << 63}, Stdout: []byte("o"), Stderr: []byte("e")},
		{Reason: vmexec.Exited, Stdout: []byte("o"), Stderr: []byte("e"), State: []byte("cursor")},
		{Reason: vmexec.Answered, Stdout: []byte{}, Stderr: []byte("e"), State: []byte{}},
		{Reason: vmexec.Exited, Stdout: []byte{}, Stderr: []byte{}, BadState: "too much"},
		{Reason: vmexec.OutputLimit, Stdout: []byte{}, Stderr: []byte{}},
	} {
		b, err := AppendResult([]byte("x"), want, []uint64{1, 4096})
		if err != nil {
			t.Fatal(err)
		}
		_, body, err := Read(bytes.NewReader(b[1:]), Only(KindResult, MaxHead))
		if err != nil {
			t.Fatal(err)
		}
		got, used, err := DecodeResult(body)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" || len(used) != 2 || used[1] != 4096 {
			t.Errorf("%v, %s", used, d)
		}
	}
}

func TestResultRefused(t *testing.T) {
	for _, s := range []string{
		"", "\x02\x00\x00\x00{", "\xff\xff\xff\xff{}", "\x02\x00\x00\x00[]",
		"\x0e\x00\x00\x00{\"reason\":200}", "\x14\x00\x00\x00{\"reason\":0,\"stderr\":1}", "\x0c\x00\x00\x00{\"reason\":1}",
		"\x1a\x00\x00\x00{\"reason\":0,\"status\":-1   }", "\x0b\x00\x00\x00{\"state\":1}", "\x0c\x00\x00\x00{\"state\":-1}",
	} {
		_, _, err := DecodeResult([]byte(s))
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "protocol of worker processes: ") {
			t.Errorf("%q: %v, want an *Error", s, err)
		}
	}
}

// Whatever a worker sends, the receiver gets a result within its bounds or an error.
func FuzzDecodeResult(f *testing.F) {
	b, err := AppendResult(nil, &vmexec.Result{Reason: vmexec.Signaled, Death: &vmexec.Death{Signal: 9}, Stdout: []byte("abc"), Stderr: []byte("d"), State: []byte("s")}, []uint64{7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[headerSize:])
	f.Add([]byte("\x02\x00\x00\x00{}out"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := DecodeResult(b)
		if err != nil {
			return
		}
		if len(r.Stdout)+len(r.Stderr)+len(r.State) > len(b) || len(r.Message) > MaxText {
			t.Errorf("%d bytes became %d of output and a message of %d", len(b), len(r.Stdout)+len(r.Stderr), len(r.Message))
		}
		if _, err := AppendResult(nil, r, nil); err != nil {
			t.Error(err)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(Append(nil, KindResult, []byte("abc"), 0))
	f.Add(Append(nil, KindResult, nil, 1<<30))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, got, err := Read(bytes.NewReader(b), Only(KindResult, 1<<30))
		if err == nil && len(got) > len(b) {
			t.Errorf("%d bytes of %d", len(got), len(b))
		}
	})
}
