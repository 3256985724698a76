// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// decodeBinary reads an event whose attributes are headers.
func decodeBinary(h http.Header, body []byte) (*Event, error) {
	clean := make(http.Header, len(h))
	var budget attributeBudget
	for _, key := range sortedKeys(h) {
		canonical := http.CanonicalHeaderKey(key)
		if !strings.HasPrefix(canonical, "Ce-") {
			continue
		}
		name := strings.ToLower(canonical[len("Ce-"):])
		if err := CheckName(name); err != nil {
			return nil, err
		}
		if name == "datacontenttype" {
			return nil, badAttribute(name, "the header ce-datacontenttype is not allowed; in binary mode Content-Type holds the type of the data")
		}
		values := h[key]
		if len(values) != 1 || clean[canonical] != nil {
			return nil, badAttribute(name, "the header ce-%s is given more than once; send it once", clip(name))
		}
		value, err := decodeHeaderValue(values[0])
		if err != nil {
			return nil, badAttribute(name, "%v", err)
		}
		if err := budget.add(name, value); err != nil {
			return nil, err
		}
		if err := checkValue(name, value); err != nil {
			return nil, err
		}
		clean[canonical] = []string{value}
	}
	for _, name := range requiredAttributes {
		if clean.Get("Ce-"+name) == "" {
			return nil, missing(name)
		}
	}
	contentType := h.Get("Content-Type")
	if contentType != "" {
		if err := checkMediaType(contentType); err != nil {
			return nil, err
		}
		clean.Set("Content-Type", contentType)
	}
	message := cehttp.NewMessage(clean, io.NopCloser(bytes.NewReader(body)))
	e, err := binding.ToEvent(context.Background(), message)
	if err != nil {
		return nil, badMessage("the event cannot be read: %v", err)
	}
	if err := e.Validate(); err != nil {
		return nil, badMessage("the event is not valid: %v", err)
	}
	// The type decides, not the bytes, whether JSON shows such data as text:
	// a function then sees images always as data_base64.
	e.DataBase64 = !isJSON(contentType) && !isText(contentType)
	return e, nil
}

func sortedKeys(h http.Header) []string {
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// decodeHeaderValue undoes what a sender did to put text into a header: a
// quoted string first (RFC 7230, section 3.2.6), then percent-encoding, once
// (HTTP protocol binding, section 3.1.3.2). A percent sign that no two
// hexadecimal digits follow stands for itself: widespread senders, Knative's
// among them, do not encode.
func decodeHeaderValue(s string) (string, error) {
	s = strings.Trim(s, " \t")
	if strings.HasPrefix(s, `"`) {
		var err error
		if s, err = unquote(s); err != nil {
			return "", err
		}
	}
	if strings.IndexByte(s, '%') >= 0 {
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			if s[i] == '%' && i+2 < len(s) {
				hi, ok1 := unhex(s[i+1])
				lo, ok2 := unhex(s[i+2])
				if ok1 && ok2 {
					b = append(b, hi<<4|lo)
					i += 2
					continue
				}
			}
			b = append(b, s[i])
		}
		s = string(b)
	}
	// Go's UTF-8 is strict: overlong forms and surrogates are invalid.
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("is not valid UTF-8 after percent-decoding")
	}
	return s, nil
}

func unquote(s string) (string, error) {
	b := make([]byte, 0, len(s))
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i != len(s)-1 {
				return "", fmt.Errorf("has text after a quoted string")
			}
			return string(b), nil
		case '\\':
			i++
			if i == len(s) {
				return "", fmt.Errorf("is a quoted string without an end")
			}
		}
		b = append(b, s[i])
	}
	return "", fmt.Errorf("is a quoted string without an end")
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// encodeHeaderValue percent-encodes what a header may not hold: space, the
// double quote, the percent sign and all outside U+0021 to U+007E (HTTP
// protocol binding, section 3.1.3.2).
func encodeHeaderValue(s string) string {
	const digits = "0123456789ABCDEF"
	clean := true
	for i := range len(s) {
		if mustEncode(s[i]) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; mustEncode(c) {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func mustEncode(c byte) bool { return c <= 0x20 || c >= 0x7f || c == '"' || c == '%' }

// Attributes returns all context attributes of an event by name, in their
// canonical text form. datacontenttype is among them.
func Attributes(e *Event) (map[string]string, error) {
	m := make(map[string]string, 8+len(e.Extensions()))
	set := func(name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	set("specversion", e.SpecVersion())
	set("id", e.ID())
	set("source", e.Source())
	set("type", e.Type())
	set("subject", e.Subject())
	set("datacontenttype", e.DataContentType())
	set("dataschema", e.DataSchema())
	if t := e.Time(); !t.IsZero() {
		set("time", types.FormatTime(t))
	}
	for name, value := range e.Extensions() {
		s, err := types.Format(value)
		if err != nil {
			return nil, badAttribute(name, "%v", err)
		}
		m[name] = s
	}
	return m, nil
}

// EncodeBinary sets the headers of an event in binary mode and returns the
// body.
func EncodeBinary(e *Event, h http.Header) ([]byte, error) {
	attributes, err := Attributes(e)
	if err != nil {
		return nil, err
	}
	for name, value := range attributes {
		if name != "datacontenttype" {
			h.Set("Ce-"+name, encodeHeaderValue(value))
		}
	}
	data := e.Data()
	contentType := attributes["datacontenttype"]
	if contentType == "" && len(data) > 0 && json.Valid(data) {
		// The JSON format implies this type; another carrier must name it.
		contentType = "application/json"
	}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	} else {
		// A nil value keeps net/http from guessing a type.
		h["Content-Type"] = nil
	}
	return data, nil
}
