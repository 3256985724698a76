// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package openwhisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
)

// FuzzResult holds that any result makes an outcome: a failure with one of four
// statuses, or a reply that is an event.
func FuzzResult(f *testing.F) {
	for _, s := range []string{
		"", "null", "{}", "[]", `{"a":1}`, `{"error":"x"}`, `{"error":null}`, `{"error":{"statusCode":404}}`, `{"error":{"statusCode":"404"}}`,
		`{"specversion":"1.0","id":"1","source":"/","type":"t"}`, `{"error":{"statusCode":503}}`, ` [1`, "{\"\xff\":1}",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	e, err := event.DecodeJSON([]byte(`{"specversion":"1.0","id":"1","source":"/test","type":"test.type"}`))
	if err != nil {
		f.Fatal(err)
	}
	a := action{config: contract.Config{Reply: contract.ReplySettings{Type: "t", Source: "/s"}}}
	f.Fuzz(func(t *testing.T, result []byte, ok bool) {
		o := a.outcome(e, ok, result)
		switch {
		case o.Failure != nil && (o.Event != nil || !slices.Contains([]int{422, 429, 502, 503}, o.Failure.Status)):
			t.Errorf("%q: %+v", result, o)
		case o.Event != nil && o.Event.Validate() != nil:
			t.Errorf("%q: %v", result, o.Event.Validate())
		case o.Failure == nil && (!ok || !json.Valid(result)):
			t.Errorf("%q was accepted", result)
		}
	})
}

// FuzzLine holds that a line is read as it was written, in whatever pieces it comes, or
// not at all.
func FuzzLine(f *testing.F) {
	f.Add([]byte("a\nb\n"), 10)
	f.Add([]byte("a"), 1)
	f.Add([]byte("\n"), 0)
	f.Add(bytes.Repeat([]byte("x"), 40<<10), 39<<10)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		most = max(0, min(most, 1<<20))
		want, _, whole := bytes.Cut(b, []byte("\n"))
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
			switch line, err := readLine(r, most); {
			case err == nil && (!whole || len(want) > most || !bytes.Equal(line, want)):
				t.Errorf("%q from %q, of at most %d", line, b, most)
			case errors.Is(err, errLong) && len(want) <= most:
				t.Errorf("%q is too long for %d", want, most)
			case errors.Is(err, io.EOF) && whole:
				t.Errorf("no line in %q", b)
			}
		}
	})
}

func TestCleanLog(t *testing.T) {
	const end = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"
	for _, tt := range []struct{ log, want string }{
		{"", ""},
		{"a\nb", "a\nb"},
		{end, ""},
		{"a\n" + end + "b\n", "a\nb\n"},
		{"a" + end, "a\n"},
		{"XXX_THE_START_OF_A_WHISK_ACTIVATION_XXX with id 1\na\n" + end, "a\n"},
		{end[:len(end)-1], ""},
	} {
		if got := string((&action{}).CleanLog([]byte(tt.log))); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.log, got, tt.want)
		}
	}
}
