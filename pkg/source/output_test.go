// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/event"
)

var attributes = Attributes{ID: "run-1", Type: "t.default", Source: "/default", Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}

func line(id string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/s","type":"t","data":{"n":1}}`, id)
}

func TestOutput(t *testing.T) {
	many := strings.Repeat(line("x")+"\n", MaxEvents)
	for _, c := range []struct {
		name, output string
		ids          string // of the events
		data         string // of the only one, when it is made of the output
		contentType  string
		err          string
	}{
		{name: "nothing"},
		{name: "white space", output: " \n\t\r\n"},
		{name: "an event", output: line("a"), ids: "a"},
		{name: "an event over several lines", output: "{\n \"specversion\": \"1.0\",\n \"id\": \"a\",\n \"source\": \"/s\",\n \"type\": \"t\"\n}\n", ids: "a"},
		{name: "lines", output: line("a") + "\n\n" + line("b") + "\r\n" + line("c"), ids: "a b c"},
		{name: "an array", output: "[" + line("a") + ",\n" + line("b") + "]", ids: "a b"},
		{name: "an empty array", output: "[]\n"},
		{name: "lines of arrays and events", output: "[" + line("a") + "," + line("b") + "]\n" + line("c"), ids: "a b c"},
		{name: "as many as may be", output: many, ids: strings.TrimSpace(strings.Repeat("x ", MaxEvents))},
		{name: "JSON", output: `{"n": 1}` + "\n", ids: "run-1", data: `{"n": 1}`, contentType: "application/json"},
		{name: "an array of something else", output: "[1, 2]", ids: "run-1", data: "[1, 2]", contentType: "application/json"},
		{name: "text", output: "hello\nworld\n", ids: "run-1", data: "hello\nworld\n", contentType: "text/plain; charset=utf-8"},
		{name: "lines of other JSON", output: "{\"n\":1}\n{\"n\":2}\n", ids: "run-1", data: "{\"n\":1}\n{\"n\":2}\n", contentType: "text/plain; charset=utf-8"},
		{name: "bytes", output: "\xff\xfe\x00", ids: "run-1", data: "\xff\xfe\x00", contentType: "application/octet-stream"},
		{name: "text before events is text", output: "starting\n" + line("a"), ids: "run-1", data: "starting\n" + line("a"), contentType: "text/plain; charset=utf-8"},

		{name: "half an event", output: line("a") + "\n" + line("b")[:40], err: "line 2"},
		{name: "half an event alone", output: line("a")[:60], err: "the program's output: is a part of a CloudEvent"},
		{name: "half an array", output: "[" + line("a") + ",", err: "is a part of a CloudEvent"},
		{name: "an event that is not JSON", output: `{"specversion":"1.0",id:"a"}`, err: "is a part of a CloudEvent"},
		{name: "half of other JSON", output: `{"data":{"specversion":"1.0"}, "spec`, ids: "run-1", data: `{"data":{"specversion":"1.0"}, "spec`, contentType: "text/plain; charset=utf-8"},
		{name: "half of JSON that tells of it", output: `{"title":"specversion", "x`, ids: "run-1", data: `{"title":"specversion", "x`, contentType: "text/plain; charset=utf-8"},
		{name: "text behind events", output: line("a") + "\n\ndone\n", err: `line 3 of the program's output: is neither a CloudEvent in the JSON format nor an array of them, as the lines before it are: "done"`},
		{name: "an event without a type", output: line("a") + "\n" + `{"specversion":"1.0","id":"b","source":"/s"}`, err: "line 2 of the program's output: attribute type"},
		{name: "the only one without a type", output: `{"specversion":"1.0","id":"b","source":"/s"}`, err: "the program's output: attribute type"},
		{name: "another version", output: `{"specversion":"0.3","id":"b","source":"/s","type":"t"}`, err: "attribute specversion"},
		{name: "an array with something else", output: "[" + line("a") + ",5]", err: "event 2 of 2"},
		{name: "one too many", output: many + line("y"), err: fmt.Sprintf("line %d of the program's output: has more than %d events", MaxEvents+1, MaxEvents)},
		{name: "an array with one too many", output: "[" + strings.ReplaceAll(many, "\n", ",") + line("y") + "]", err: "at most 10000 are taken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, err := Output([]byte(c.output), attributes)
			if c.err != "" {
				var oe *OutputError
				if !errors.As(err, &oe) || !strings.Contains(err.Error(), c.err) || events != nil {
					t.Fatalf("%d events, error %v, want %q", len(events), err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, e := range events {
				ids = append(ids, e.ID())
			}
			if got := strings.Join(ids, " "); got != c.ids {
				t.Errorf("ids %q, want %q", got, c.ids)
			}
			if c.data == "" {
				return
			}
			e := events[0]
			if string(e.Data()) != c.data || e.DataContentType() != c.contentType || e.Type() != "t.default" || e.Source() != "/default" || !e.Time().Equal(attributes.Time) {
				t.Errorf("got %v", e)
			}
		})
	}
}

// Whatever a program writes is events that can be sent, or an error, within bounds.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{"", "[]", line("a"), line("a") + "\n" + line("b"), "[" + line("a") + "]", "text", "\xff", "[1]", line("a") + "\nx"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := Output(b, attributes)
		if err != nil {
			var oe *OutputError
			if !errors.As(err, &oe) || len(err.Error()) > 2000 {
				t.Fatalf("%T of %d bytes", err, len(err.Error()))
			}
		}
		if len(events) > MaxEvents {
			t.Fatalf("%d events", len(events))
		}
		for _, e := range events {
			if _, err := event.EncodeJSON(e); err != nil {
				t.Fatalf("an event that cannot be sent: %v", err)
			}
		}
	})
}
