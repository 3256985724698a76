// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
)

// Answer returns the events in what a program answered to a GET:
//
//   - status 204, or no body: none
//   - a CloudEvent, or a batch of them, in one of the modes of HTTP: those
//   - a text, or JSON: as Output has it
//   - another body: one event with it as its data
//
// Another status than 2xx is an error, and what is wrong with the events is an
// *OutputError.
func Answer(r *contract.Answer, a Attributes) ([]*event.Event, error) {
	contentType := r.Header.Get("Content-Type")
	switch {
	case r.Status/100 != 2:
		return nil, fmt.Errorf("the program answered status %d: %q", r.Status, clip(r.Body))
	case r.Status == http.StatusNoContent:
		return nil, nil
	case event.IsMessage(r.Header):
		events, _, err := event.Decode(r.Header, r.Body, MaxEvents)
		if err != nil {
			return nil, &OutputError{Err: err}
		}
		return events, nil
	case len(r.Body) == 0:
		return nil, nil
	}
	a.ContentType = contentType
	if media, _, err := mime.ParseMediaType(contentType); err == nil && media != "application/json" && !strings.HasPrefix(media, "text/") {
		return data(r.Body, a)
	}
	return Output(r.Body, a)
}
