// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/json"
	"testing"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/internal/call"
	"kontain.dev/eventing/pkg/event"
)

// FuzzResponse holds that any response makes an outcome: a failure of 502, or a reply
// that is an event.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"", "null", "{}", `{"Outputs":{"a":1},"Logs":["x"],"ReturnValue":null}`, `{"ReturnValue":"{\"specversion\":\"1.0\"}"}`,
		`{"ReturnValue":{"specversion":"1.0","id":"1","source":"/","type":"t"}}`, `{"Logs":[[{}],"\ud800"],"ReturnValue":"\ud800"}`, `{"outputs":{"A":1,"a":2}}`,
	} {
		f.Add([]byte(s))
	}
	e, err := event.DecodeJSON([]byte(`{"specversion":"1.0","id":"1","source":"/test","type":"test.type"}`))
	if err != nil {
		f.Fatal(err)
	}
	h := handler{config: contract.Config{Reply: contract.ReplySettings{Type: "t", Source: "/s"}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		o := h.outcome(e, &call.Response{Status: 200, Body: body})
		switch {
		case o.Failure != nil && (o.Event != nil || o.Failure.Status != 502):
			t.Errorf("%q: %+v", body, o)
		case o.Event != nil && o.Event.Validate() != nil:
			t.Errorf("%q: %v", body, o.Event.Validate())
		case o.Failure == nil && len(body) > 0 && !json.Valid(body):
			t.Errorf("%q was accepted", body)
		}
	})
}
