// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// DecodeJSON reads one event in the JSON format. Every error is an *Error.
func DecodeJSON(b []byte) (*Event, error) {
	context, data, err := splitJSON(b)
	if err != nil {
		return nil, err
	}
	e := ce.New()
	if err := json.Unmarshal(context, &e); err != nil {
		return nil, badMessage("the event cannot be read: %v", err)
	}
	if err := e.Validate(); err != nil {
		return nil, badMessage("the event is not valid: %v", err)
	}
	if err := setData(&e, data); err != nil {
		return nil, err
	}
	return &e, nil
}

// setData gives an event the data that its JSON has. The SDK would take
// anything but a string for an error when the type is one of those that end in
// +json.
func setData(e *Event, m member) error {
	switch {
	case m.name == "":
		return nil
	case m.name == "data" && isJSON(e.DataContentType()):
		e.DataEncoded = bytes.Clone(m.raw)
		return nil
	}
	var text string
	if m.raw[0] != '"' {
		if m.name == "data" {
			return badAttribute(m.name, "is not a string although datacontenttype is %q; send a string, data_base64, or a datacontenttype of JSON", clip(e.DataContentType()))
		}
		return badAttribute(m.name, "is not a string; it holds the data in base64 (RFC 4648, section 4)")
	}
	if err := m.text(&text); err != nil {
		return err
	}
	if m.name == "data" {
		e.DataEncoded = []byte(text)
		return nil
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return badAttribute(m.name, "is not base64 (RFC 4648, section 4, with padding): %v", err)
	}
	e.DataEncoded, e.DataBase64 = decoded, true
	return nil
}

// DecodeBatch reads a JSON array of at most the given number of events; a larger one
// is refused, with status 413, before any of them takes memory. Every error is an
// *Error that says which event of the batch is at fault, counted from 1.
func DecodeBatch(b []byte, most int) ([]*Event, error) {
	if err := checkJSON(b); err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	if first := bytes.TrimLeft(b, " \t\r\n"); first[0] != '[' {
		return nil, badMessage("a batch is a JSON array of events; send one event as %s", MediaTypeJSON)
	}
	if n := countElements(b); n > most {
		return nil, &Error{
			Status:  http.StatusRequestEntityTooLarge,
			Message: fmt.Sprintf("the batch has %d events; at most %d are taken, send smaller batches", n, most),
		}
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, badMessage("the batch is not a JSON array: %v", err)
	}
	events := make([]*Event, 0, len(raw))
	for i, r := range raw {
		e, err := DecodeJSON(r)
		if err != nil {
			var ee *Error
			if errors.As(err, &ee) {
				return nil, &Error{Status: ee.Status, Message: fmt.Sprintf("event %d of %d in the batch: %v", i+1, len(raw), ee)}
			}
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// countElements returns how many elements a JSON array has, which is valid.
func countElements(b []byte) int {
	n, depth := 0, 0
	text, content := false, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		if text {
			switch c {
			case '\\':
				i++
			case '"':
				text = false
			}
			continue
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case ',':
			if depth == 1 {
				n++
			}
			continue
		case ']', '}':
			depth--
			continue
		}
		content = content || depth == 1
		switch c {
		case '[', '{':
			depth++
		case '"':
			text = true
		}
	}
	if content {
		n++
	}
	return n
}

// checkJSON makes sure that b is one JSON text in UTF-8.
func checkJSON(b []byte) *Error {
	if !utf8.Valid(b) {
		return badMessage("the body is not valid UTF-8, so it is not JSON")
	}
	if !json.Valid(b) {
		var v json.RawMessage
		err := json.Unmarshal(b, &v)
		var se *json.SyntaxError
		if errors.As(err, &se) {
			return badMessage("the body is not valid JSON: %v (at byte %d of %d)", se, se.Offset, len(b))
		}
		return badMessage("the body is not valid JSON: %v", err)
	}
	return nil
}

// IsEventJSON says whether b is a JSON object with a specversion member, which
// is what tells an event from other JSON.
func IsEventJSON(b []byte) bool {
	t := bytes.TrimLeft(b, " \t\r\n")
	if len(t) == 0 || t[0] != '{' {
		return false
	}
	var probe map[string]json.RawMessage
	if json.Unmarshal(b, &probe) != nil {
		return false
	}
	_, ok := probe["specversion"]
	return ok
}

type member struct {
	name string
	raw  json.RawMessage
}

// text reads a member that is a string. A string with half of a surrogate pair is no
// text (RFC 8259, section 8.2; CloudEvents, section 3.1), and encoding/json would put
// another character in its place.
func (m *member) text(to *string) error {
	if half := loneSurrogate(m.raw); half != "" {
		return badAttribute(m.name, "holds %s, which is half of a surrogate pair; send both halves or the character itself", half)
	}
	if err := json.Unmarshal(m.raw, to); err != nil {
		return badAttribute(m.name, "cannot be read: %v", err)
	}
	return nil
}

// loneSurrogate returns the first escape of half of a surrogate pair without the
// other half in a JSON string, which is valid; "" when there is none.
func loneSurrogate(raw []byte) string {
	const escape = len(`\uXXXX`)
	unit := func(i int) rune {
		if i+escape > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
			return 0
		}
		n, err := strconv.ParseUint(string(raw[i+2:i+escape]), 16, 16)
		if err != nil {
			return 0
		}
		return rune(n)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		r := unit(i)
		switch {
		case !utf16.IsSurrogate(r):
			i++ // what is escaped is no backslash of its own
		case utf16.DecodeRune(r, unit(i+escape)) == utf8.RuneError:
			return string(raw[i : i+escape])
		default:
			i += 2*escape - 1
		}
	}
	return ""
}

// members lists the members of a JSON object in their order.
func members(b []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	t, err := dec.Token()
	if err != nil {
		return nil, badMessage("the event is not valid JSON: %v", err)
	}
	if t != json.Delim('{') {
		return nil, badMessage("the event is not a JSON object; an event begins with { and has a specversion member")
	}
	var list []member
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, badMessage("the event is not valid JSON: %v", err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, badMessage("the event is not valid JSON: a member has no name")
		}
		if seen[name] {
			return nil, badAttribute(name, "is given twice; send it once")
		}
		seen[name] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, badMessage("the event is not valid JSON: %v", err)
		}
		list = append(list, member{name, raw})
	}
	return list, nil
}

// splitJSON checks an event in the JSON format. It returns the context alone,
// as JSON that the SDK reads without surprises (no member is repeated, null or
// of a type that its name does not allow), and the member that holds the data.
func splitJSON(b []byte) (context []byte, data member, err error) {
	if err := checkJSON(b); err != nil {
		return nil, data, err
	}
	list, err := members(b)
	if err != nil {
		return nil, data, err
	}
	var budget attributeBudget
	var out bytes.Buffer
	out.WriteString(`{"specversion":"` + specVersion + `"`)
	present := make(map[string]bool, len(list))
	for _, m := range list {
		null := string(m.raw) == "null"
		if m.name == "data" || m.name == "data_base64" {
			if null {
				continue
			}
			if data.name != "" {
				return nil, data, badMessage("the event has both data and data_base64; send one of them")
			}
			data = m
			continue
		}
		if err := CheckName(m.name); err != nil {
			return nil, data, err
		}
		if null {
			// An attribute that is null is not set (JSON format, section 2.2).
			continue
		}
		if err := budget.add(m.name, string(m.raw)); err != nil {
			return nil, data, err
		}
		if err := checkMember(m); err != nil {
			return nil, data, err
		}
		present[m.name] = true
		if m.name != "specversion" {
			fmt.Fprintf(&out, ",%q:", m.name)
			out.Write(m.raw)
		}
	}
	if !present["specversion"] {
		return nil, data, badAttribute("specversion", `is missing; add "specversion":"1.0"`)
	}
	for _, name := range requiredAttributes {
		if !present[name] {
			return nil, data, missing(name)
		}
	}
	out.WriteByte('}')
	return out.Bytes(), data, nil
}

// checkMember holds an attribute in JSON to its type: text for those of the
// specification; text, boolean or integer for extensions.
func checkMember(m member) error {
	switch c := m.raw[0]; {
	case c == '"':
		var text string
		if err := m.text(&text); err != nil {
			return err
		}
		return checkValue(m.name, text)
	case isCore(m.name):
		return badAttribute(m.name, "is not a string; put it in double quotes")
	case c == 't' || c == 'f':
		return nil
	case c == '-' || (c >= '0' && c <= '9'):
		if _, err := strconv.ParseInt(string(m.raw), 10, 32); err != nil {
			return badAttribute(m.name, "the number %s is not a whole number of 32 bits; send it as a string", clip(string(m.raw)))
		}
		return nil
	}
	return badAttribute(m.name, "is an object or an array; extension attributes are strings, booleans or integers, and other content belongs into data")
}

// EncodeJSON writes an event in the JSON format, on one line.
func EncodeJSON(e *Event) ([]byte, error) {
	context := *e
	context.DataEncoded = nil
	var buf bytes.Buffer
	buf.Grow(len(e.Data()) + 512)
	if err := ce.WriteJson(&context, &buf); err != nil {
		return nil, fmt.Errorf("encode event %q: %w", clip(e.ID()), err)
	}
	if len(e.Data()) > 0 {
		buf.Truncate(buf.Len() - 1)
		buf.WriteByte(',')
		if err := writeData(&buf, e); err != nil {
			return nil, fmt.Errorf("encode the data of event %q: %w", clip(e.ID()), err)
		}
		buf.WriteByte('}')
	}
	return buf.Bytes(), nil
}

// writeData picks how data stands in JSON. Data that claims to be JSON and is
// not would become members of the event if it were copied as it is.
func writeData(buf *bytes.Buffer, e *Event) error {
	data := e.Data()
	if isJSON(e.DataContentType()) {
		if utf8.Valid(data) && json.Valid(data) {
			buf.WriteString(`"data":`)
			return json.Compact(buf, data)
		}
	} else if !e.DataBase64 && utf8.Valid(data) {
		buf.WriteString(`"data":`)
		enc := json.NewEncoder(buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(string(data)); err != nil {
			return err
		}
		buf.Truncate(buf.Len() - 1) // the newline of Encode
		return nil
	}
	buf.WriteString(`"data_base64":"`)
	buf.WriteString(base64.StdEncoding.EncodeToString(data))
	buf.WriteByte('"')
	return nil
}

// EncodeBatch writes events as a JSON array.
func EncodeBatch(events []*Event) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('[')
	for i, e := range events {
		if i > 0 {
			buf.WriteByte(',')
		}
		b, err := EncodeJSON(e)
		if err != nil {
			return nil, err
		}
		buf.Write(b)
	}
	buf.WriteByte(']')
	return buf.Bytes(), nil
}
