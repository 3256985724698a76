// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
)

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name        string
		status      int
		contentType string
		body        string
		want        []string // id, content type and data of each event
		err         string
	}{
		{name: "no content", status: 204, body: "ignored"},
		{name: "no body", status: 200},
		{name: "accepted", status: 202},
		{name: "structured", status: 200, contentType: "application/cloudevents+json", body: line("a"), want: []string{`a  {"n":1}`}},
		{name: "batch", status: 200, contentType: "application/cloudevents-batch+json", body: "[" + line("a") + "," + line("b") + "]", want: []string{`a  {"n":1}`, `b  {"n":1}`}},
		{name: "empty batch", status: 200, contentType: "application/cloudevents-batch+json", body: "[]"},
		{name: "lines", status: 200, contentType: "text/plain", body: line("a") + "\n" + line("b"), want: []string{`a  {"n":1}`, `b  {"n":1}`}},
		{name: "JSON", status: 200, contentType: "application/json; charset=utf-8", body: `{"x":1}`, want: []string{`run-1 application/json; charset=utf-8 {"x":1}`}},
		{name: "without a type", status: 200, body: "text", want: []string{"run-1 text/plain; charset=utf-8 text"}},
		{name: "bytes that begin as an event", status: 200, contentType: "image/png", body: line("a")[:30], want: []string{"run-1 image/png " + line("a")[:30]}},

		{name: "not found", status: 404, body: "nothing", err: `status 404: "nothing"`},
		{name: "redirect", status: 302, err: "status 302"},
		{name: "half a batch", status: 200, contentType: "application/cloudevents-batch+json", body: "[" + line("a"), err: "the program's output: "},
		{name: "half an event", status: 200, contentType: "application/json", body: line("a")[:30], err: "is a part of a CloudEvent"},
		{name: "many", status: 200, contentType: "application/cloudevents-batch+json", body: "[" + strings.Repeat(line("a")+",", MaxEvents) + line("b") + "]", err: "at most 10000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if c.contentType != "" {
				h.Set("Content-Type", c.contentType)
			}
			events, err := Answer(&contract.Answer{Status: c.status, Header: h, Body: []byte(c.body)}, attributes)
			var got []string
			for _, e := range events {
				got = append(got, fmt.Sprintf("%s %s %s", e.ID(), e.DataContentType(), e.Data()))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

// Whatever a program answers is events that can be sent, or an error, within bounds.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "text/plain", "1.0", []byte("text"))
	f.Add(200, "application/cloudevents-batch+json", "", []byte("["+line("a")+"]"))
	f.Add(200, "application/json", "1.0", []byte(line("a")))
	f.Add(204, "", "", []byte{})
	f.Fuzz(func(t *testing.T, status int, contentType, version string, body []byte) {
		h := http.Header{"Content-Type": {contentType}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}}
		if version != "" {
			h.Set("Ce-Specversion", version)
		}
		events, err := Answer(&contract.Answer{Status: status, Header: h, Body: body}, attributes)
		if err != nil && len(err.Error()) > 2000 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
		for _, e := range events {
			if _, err := event.EncodeJSON(e); err != nil {
				var invalid *event.Error
				if !errors.As(err, &invalid) {
					t.Fatalf("an event that cannot be sent: %v", err)
				}
			}
		}
		if len(events) > MaxEvents {
			t.Fatalf("%d events", len(events))
		}
	})
}
