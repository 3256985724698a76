// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// Event is one CloudEvent.
type Event = ce.Event

// Media types of events themselves.
const (
	// MediaTypeJSON is one event in the JSON format (structured mode).
	MediaTypeJSON = ce.ApplicationCloudEventsJSON
	// MediaTypeBatchJSON is a JSON array of events (batched mode).
	MediaTypeBatchJSON = ce.ApplicationCloudEventsBatchJSON
)

// MaxAttributes is the most bytes that names and values of all context
// attributes of one event may have together. They become environment variables
// and HTTP headers, which are far more limited than data.
const MaxAttributes = 64 << 10

// specVersion is the only version of CloudEvents that is understood.
const specVersion = "1.0"

// Mode is how events are carried in an HTTP message.
type Mode int

const (
	// Binary mode has attributes in ce- headers and data as the body.
	Binary Mode = iota
	// Structured mode has the whole event in the body.
	Structured
	// Batch mode has an array of events in the body.
	Batch
)

func (m Mode) String() string {
	switch m {
	case Binary:
		return "binary"
	case Structured:
		return "structured"
	case Batch:
		return "batched"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Error says why a message is not an event that can be taken.
type Error struct {
	// Status is the HTTP status that says so: 400, 413 or 415. None of them
	// makes a Knative sender try again.
	Status int
	// Attribute is the attribute at fault; empty when it is the message.
	Attribute string
	// Message says what is wrong and what to do.
	Message string
}

func (e *Error) Error() string {
	if e.Attribute == "" {
		return e.Message
	}
	return "attribute " + e.Attribute + ": " + e.Message
}

func badMessage(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func badAttribute(name, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Attribute: clip(name), Message: fmt.Sprintf(format, args...)}
}

// clip keeps text of a sender short enough for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// DetectMode says how a message with these headers carries its events. The
// error is an *Error with status 400 when they are no event at all, and 415
// when they are one in a format that is not understood.
func DetectMode(h http.Header) (Mode, error) {
	types := h.Values("Content-Type")
	if len(types) > 1 {
		return 0, badMessage("the header Content-Type is given %d times; send it once", len(types))
	}
	if v := h.Get("Content-Encoding"); v != "" && !strings.EqualFold(v, "identity") {
		return 0, &Error{
			Status:  http.StatusUnsupportedMediaType,
			Message: fmt.Sprintf("the content encoding %q is not supported; send the event uncompressed", clip(v)),
		}
	}
	contentType := h.Get("Content-Type")
	media, rest, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	// The name of the batch type begins with that of the single one, so it is
	// tested first.
	batch := strings.HasPrefix(media, "application/cloudevents-batch")
	single := !batch && strings.HasPrefix(media, "application/cloudevents")
	if !batch && !single {
		if h.Get("Ce-Specversion") != "" {
			return Binary, nil
		}
		for k := range h {
			if strings.HasPrefix(http.CanonicalHeaderKey(k), "Ce-") {
				return 0, badAttribute("specversion", "the header ce-specversion is missing; send ce-specversion: 1.0")
			}
		}
		return 0, badMessage("this is not a CloudEvent: there is neither a ce-specversion header (binary mode) nor a Content-Type of %s (structured mode) or %s (batched mode)", MediaTypeJSON, MediaTypeBatchJSON)
	}
	want, mode := MediaTypeJSON, Structured
	if batch {
		want, mode = MediaTypeBatchJSON, Batch
	}
	if media != want {
		return 0, &Error{
			Status:  http.StatusUnsupportedMediaType,
			Message: fmt.Sprintf("the event format %q is not supported; send %s", clip(media), want),
		}
	}
	if strings.TrimSpace(rest) != "" {
		_, params, err := mime.ParseMediaType(contentType)
		if err != nil {
			return 0, badMessage("the Content-Type %q cannot be read: %v", clip(contentType), err)
		}
		if c, ok := params["charset"]; ok && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
			return 0, &Error{
				Status:  http.StatusUnsupportedMediaType,
				Message: fmt.Sprintf("the charset %q is not supported; send the event in UTF-8", clip(c)),
			}
		}
	}
	return mode, nil
}

// IsMessage says whether a message with headers h means to be a CloudEvent, or a batch
// of them, in whatever mode.
func IsMessage(h http.Header) bool {
	if h.Get("Ce-Specversion") != "" {
		return true
	}
	const prefix = "application/cloudevents"
	t := strings.TrimSpace(h.Get("Content-Type"))
	return len(t) >= len(prefix) && strings.EqualFold(t[:len(prefix)], prefix)
}

// Decode reads the events of a message: one in binary and structured mode, up to
// maxBatch in batched mode. body must not change afterwards. Every error is an
// *Error.
func Decode(h http.Header, body []byte, maxBatch int) ([]*Event, Mode, error) {
	mode, err := DetectMode(h)
	if err != nil {
		return nil, 0, err
	}
	switch mode {
	case Batch:
		events, err := DecodeBatch(body, maxBatch)
		return events, mode, err
	case Structured:
		e, err := DecodeJSON(body)
		if err != nil {
			return nil, mode, err
		}
		return []*Event{e}, mode, nil
	default:
		e, err := decodeBinary(h, body)
		if err != nil {
			return nil, mode, err
		}
		return []*Event{e}, mode, nil
	}
}

// requiredAttributes in the order in which a missing one is reported.
var requiredAttributes = []string{"id", "source", "type"}

func missing(name string) *Error {
	return badAttribute(name, "is missing; every CloudEvent needs a non-empty %s", name)
}

// isCore says whether the specification defines an attribute.
func isCore(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema":
		return true
	}
	return false
}

// CheckName says whether name may be that of an extension attribute.
func CheckName(name string) error {
	if name == "" {
		return badMessage("an attribute has an empty name")
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return badAttribute(name, "is not a name for an attribute; names consist of lower-case letters and digits (a-z, 0-9)")
		}
	}
	if name == "data" {
		return badAttribute(name, "may not be the name of an attribute; the data of an event is its body or its data member")
	}
	return nil
}

// checkValue holds a value that is text to the rules of its attribute.
func checkValue(name, value string) error {
	if !utf8.ValidString(value) {
		return badAttribute(name, "is not valid UTF-8")
	}
	for _, r := range value {
		if r < 0x20 || (r >= 0x7f && r <= 0x9f) || (r >= 0xfdd0 && r <= 0xfdef) || r&0xfffe == 0xfffe {
			return badAttribute(name, "holds the character U+%04X, which attributes may not have; remove it", r)
		}
	}
	if !isCore(name) {
		return nil
	}
	if strings.TrimSpace(value) == "" {
		switch name {
		case "id", "source", "type":
			return badAttribute(name, "is empty; every CloudEvent needs a non-empty %s", name)
		case "specversion":
			return badAttribute(name, "is empty; send 1.0")
		}
		return badAttribute(name, "is empty; leave it out or give it a value")
	}
	switch name {
	case "specversion":
		if value != specVersion {
			return badAttribute(name, "is %q; only CloudEvents 1.0 is supported", clip(value))
		}
	case "source":
		if types.ParseURIRef(value) == nil {
			return badAttribute(name, "%q is not a URI reference (RFC 3986)", clip(value))
		}
	case "dataschema":
		if u := types.ParseURI(value); u == nil || !u.IsAbs() {
			return badAttribute(name, "%q is not an absolute URI (RFC 3986, section 4.3)", clip(value))
		}
	case "time":
		if _, err := types.ParseTime(value); err != nil {
			return badAttribute(name, "%q is not a timestamp (RFC 3339), such as 2006-01-02T15:04:05Z", clip(value))
		}
	case "datacontenttype":
		return checkMediaType(value)
	}
	return nil
}

func checkMediaType(value string) error {
	const name = "datacontenttype"
	for i := range len(value) {
		if value[i] < 0x20 || value[i] > 0x7e {
			return badAttribute(name, "%q is not a media type: it holds more than ASCII", clip(value))
		}
	}
	media, _, err := mime.ParseMediaType(value)
	if err != nil {
		return badAttribute(name, "%q is not a media type (RFC 2046), such as application/json: %v", clip(value), err)
	}
	// The parser is also that of Content-Disposition, whose values have no slash.
	if !strings.Contains(media, "/") {
		return badAttribute(name, "%q is not a media type (RFC 2046), such as application/json: it has no subtype", clip(value))
	}
	return nil
}

// attributeBudget counts the bytes of attributes.
type attributeBudget int

func (b *attributeBudget) add(name, value string) error {
	*b += attributeBudget(len(name) + len(value))
	if *b > MaxAttributes {
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Attribute: clip(name),
			Message: fmt.Sprintf("the attributes of the event are larger than %d bytes together; put large content into the data", MaxAttributes),
		}
	}
	return nil
}

// isJSON says whether a datacontenttype declares JSON. Absent means JSON, as
// the JSON format rules.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "" || media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// isText says whether a datacontenttype declares characters rather than bytes.
func isText(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	if c, ok := params["charset"]; ok && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return false
	}
	switch media {
	case "application/xml", "application/yaml", "application/x-yaml", "application/javascript", "application/x-www-form-urlencoded", "application/x-ndjson":
		return true
	}
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+xml") || strings.HasSuffix(media, "+yaml")
}
