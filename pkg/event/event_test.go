// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func headers(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Add(kv[i], kv[i+1])
	}
	return h
}

func binaryHeaders(kv ...string) http.Header {
	h := headers("Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/s", "Ce-Type", "t")
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == "" {
			h.Del(kv[i])
		} else {
			h.Set(kv[i], kv[i+1])
		}
	}
	return h
}

func TestDecodeAccepts(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		body   string
		mode   Mode
		attrs  []map[string]string
		data   []string
	}{
		{
			name:   "binary",
			header: binaryHeaders("Content-Type", "application/json", "Ce-Subject", "Euro%20%E2%82%AC%20%F0%9F%98%80", "Ce-Myext", "v", "Ce-Time", "2026-01-02T03:04:05Z"),
			body:   `{"a":1}`, mode: Binary,
			attrs: []map[string]string{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "Euro € 😀", "myext": "v", "datacontenttype": "application/json", "time": "2026-01-02T03:04:05Z"}},
			data:  []string{`{"a":1}`},
		},
		{
			name:   "binary percent-decoded once",
			header: binaryHeaders("Ce-Subject", "a%2520b"), mode: Binary,
			attrs: []map[string]string{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "a%20b"}},
			data:  []string{""},
		},
		{
			name:   "binary quoted string",
			header: binaryHeaders("Ce-Subject", `"a \"b\" %22c%22"`), mode: Binary,
			attrs: []map[string]string{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": `a "b" "c"`}},
			data:  []string{""},
		},
		{
			name:   "binary lone percent from senders that do not encode",
			header: binaryHeaders("Ce-Subject", "50% of"), mode: Binary,
			attrs: []map[string]string{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "50% of"}},
			data:  []string{""},
		},
		{
			name:   "structured case-insensitive with charset",
			header: headers("Content-Type", "Application/CloudEvents+JSON; charset=UTF-8", "Ce-Id", "ignored"),
			body:   `{"data":{"x":[1, 2]},"id":"7","source":"s","type":"t","specversion":"1.0","n":5,"b":true,"subject":null}`, mode: Structured,
			attrs: []map[string]string{{"specversion": "1.0", "id": "7", "source": "s", "type": "t", "n": "5", "b": "true"}},
			data:  []string{`{"x":[1, 2]}`},
		},
		{
			name:   "structured base64 with escapes before specversion",
			header: headers("Content-Type", MediaTypeJSON),
			body:   `{"data_base64":"\/\/8=","id":"7","source":"s","type":"t","specversion":"1.0"}`, mode: Structured,
			attrs: []map[string]string{{"specversion": "1.0", "id": "7", "source": "s", "type": "t"}},
			data:  []string{"\xff\xff"},
		},
		{
			name:   "structured text",
			header: headers("Content-Type", MediaTypeJSON),
			body:   `{"data":"a\nb","datacontenttype":"text/plain","id":"7","source":"s","type":"t","specversion":"1.0"}`, mode: Structured,
			attrs: []map[string]string{{"specversion": "1.0", "id": "7", "source": "s", "type": "t", "datacontenttype": "text/plain"}},
			data:  []string{"a\nb"},
		},
		{
			name:   "structured pairs, and backslashes that are no escape of one",
			header: headers("Content-Type", MediaTypeJSON),
			body:   `{"subject":"\ud83d\ude00\\ud83d\\\\ud83d","id":"7","source":"s","type":"t","specversion":"1.0"}`, mode: Structured,
			attrs: []map[string]string{{"specversion": "1.0", "id": "7", "source": "s", "type": "t", "subject": `😀\ud83d\\ud83d`}},
			data:  []string{""},
		},
		{
			name:   "structured vendor JSON",
			header: headers("Content-Type", MediaTypeJSON),
			body:   `{"data":{"a":1},"datacontenttype":"application/vnd.x+json","id":"7","source":"s","type":"t","specversion":"1.0"}`, mode: Structured,
			attrs: []map[string]string{{"specversion": "1.0", "id": "7", "source": "s", "type": "t", "datacontenttype": "application/vnd.x+json"}},
			data:  []string{`{"a":1}`},
		},
		{
			name:   "batch",
			header: headers("Content-Type", "application/CloudEvents-Batch+json"),
			body:   `[{"specversion":"1.0","id":"1","source":"s","type":"t"},{"specversion":"1.0","id":"2","source":"s","type":"t","data":2}]`, mode: Batch,
			attrs: []map[string]string{{"specversion": "1.0", "id": "1", "source": "s", "type": "t"}, {"specversion": "1.0", "id": "2", "source": "s", "type": "t"}},
			data:  []string{"", "2"},
		},
		{name: "empty batch", header: headers("Content-Type", MediaTypeBatchJSON), body: ` [] `, mode: Batch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, mode, err := Decode(tt.header, []byte(tt.body), 1000)
			if err != nil {
				t.Fatal(err)
			}
			if mode != tt.mode {
				t.Errorf("mode %v, want %v", mode, tt.mode)
			}
			var attrs []map[string]string
			var data []string
			for _, e := range events {
				a, err := Attributes(e)
				if err != nil {
					t.Fatal(err)
				}
				attrs, data = append(attrs, a), append(data, string(e.Data()))
			}
			if d := cmp.Diff(tt.attrs, attrs); d != "" {
				t.Errorf("attributes (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.data, data); d != "" {
				t.Errorf("data (-want +got):\n%s", d)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	structured := headers("Content-Type", MediaTypeJSON)
	repeated := binaryHeaders()
	repeated.Add("Ce-Id", "2")
	twoTypes := binaryHeaders("Content-Type", "text/plain")
	twoTypes.Add("Content-Type", "text/html")
	doc := func(extra string) string {
		return `{"specversion":"1.0","id":"1","source":"s","type":"t"` + extra + `}`
	}
	tests := []struct {
		name      string
		header    http.Header
		body      string
		status    int
		attribute string
		says      string
	}{
		{"not an event", headers("Content-Type", "application/json"), `{}`, 400, "", "neither a ce-specversion header"},
		{"no headers", http.Header{}, ``, 400, "", "not a CloudEvent"},
		{"xml", headers("Content-Type", "application/cloudevents+xml"), `<e/>`, 415, "", "application/cloudevents+json"},
		{"xml batch", headers("Content-Type", "application/cloudevents-batch+xml"), ``, 415, "", "application/cloudevents-batch+json"},
		{"no format", headers("Content-Type", "application/cloudevents"), `{}`, 415, "", "application/cloudevents+json"},
		{"charset", headers("Content-Type", MediaTypeJSON+"; charset=latin1"), `{}`, 415, "", "UTF-8"},
		{"compressed", binaryHeaders("Content-Encoding", "gzip"), ``, 415, "", "uncompressed"},
		{"two content types", twoTypes, ``, 400, "", "2 times"},
		{"binary without specversion", binaryHeaders("Ce-Specversion", ""), ``, 400, "specversion", "ce-specversion"},
		{"binary version", binaryHeaders("Ce-Specversion", "0.3"), ``, 400, "specversion", "only CloudEvents 1.0"},
		{"binary without id", binaryHeaders("Ce-Id", ""), ``, 400, "id", "is missing"},
		{"binary without source", binaryHeaders("Ce-Source", ""), ``, 400, "source", "is missing"},
		{"binary without type", binaryHeaders("Ce-Type", ""), ``, 400, "type", "is missing"},
		{"binary blank id", binaryHeaders("Ce-Id", "%20"), ``, 400, "id", "is empty"},
		{"binary repeated id", repeated, ``, 400, "id", "more than once"},
		{"binary time", binaryHeaders("Ce-Time", "yesterday"), ``, 400, "time", "RFC 3339"},
		{"binary source", binaryHeaders("Ce-Source", "%25zz:"), ``, 400, "source", "URI reference"},
		{"binary dataschema", binaryHeaders("Ce-Dataschema", "relative"), ``, 400, "dataschema", "absolute URI"},
		{"ce-datacontenttype", binaryHeaders("Ce-Datacontenttype", "text/plain"), ``, 400, "datacontenttype", "not allowed"},
		{"ce-data", binaryHeaders("Ce-Data", "x"), ``, 400, "data", "may not be the name"},
		{"ce- alone", binaryHeaders("Ce-", "x"), ``, 400, "", "empty name"},
		{"hyphen in name", binaryHeaders("Ce-My-Ext", "x"), ``, 400, "my-ext", "lower-case letters and digits"},
		{"overlong UTF-8", binaryHeaders("Ce-Subject", "%C0%80"), ``, 400, "subject", "UTF-8"},
		{"surrogate", binaryHeaders("Ce-Subject", "%ED%A0%80"), ``, 400, "subject", "UTF-8"},
		{"control character", binaryHeaders("Ce-Subject", "a%0d%0aX: y"), ``, 400, "subject", "U+000D"},
		{"open quoted string", binaryHeaders("Ce-Subject", `"abc`), ``, 400, "subject", "without an end"},
		{"binary content type", binaryHeaders("Content-Type", "json/"), ``, 400, "datacontenttype", "media type"},
		{"binary content type without subtype", binaryHeaders("Content-Type", "text; x=y"), ``, 400, "datacontenttype", "no subtype"},
		{"large attributes", binaryHeaders("Ce-Big", strings.Repeat("x", MaxAttributes)), ``, 413, "big", "65536"},
		{"structured empty", structured, ``, 400, "", "not valid JSON"},
		{"structured cut", structured, `{"id":"1"`, 400, "", "at byte 9 of 9"},
		{"structured array", structured, `[]`, 400, "", "not a JSON object"},
		{"structured trailing", structured, doc("") + "x", 400, "", "not valid JSON"},
		{"structured not UTF-8", structured, doc(",\"subject\":\"\xff\""), 400, "", "UTF-8"},
		{"structured without specversion", structured, `{"id":"1"}`, 400, "specversion", "is missing"},
		{"structured version", structured, `{"specversion":"2.0"}`, 400, "specversion", "only CloudEvents 1.0"},
		{"structured null id", structured, `{"specversion":"1.0","id":null,"source":"s","type":"t"}`, 400, "id", "is missing"},
		{"structured number id", structured, `{"specversion":"1.0","id":1,"source":"s","type":"t"}`, 400, "id", "not a string"},
		{"structured repeated", structured, doc(`,"id":"2"`), 400, "id", "given twice"},
		{"structured empty name", structured, doc(`,"":"x"`), 400, "", "empty name"},
		{"structured upper case", structured, doc(`,"Foo":"x"`), 400, "Foo", "lower-case"},
		{"structured object extension", structured, doc(`,"foo":{}`), 400, "foo", "belongs into data"},
		{"structured fraction", structured, doc(`,"foo":1.5`), 400, "foo", "whole number"},
		{"structured large number", structured, doc(`,"foo":2147483648`), 400, "foo", "32 bits"},
		{"structured both data", structured, doc(`,"data":1,"data_base64":"AA=="`), 400, "", "both data and data_base64"},
		{"structured base64 number", structured, doc(`,"data_base64":1`), 400, "data_base64", "not a string"},
		{"structured base64 bad", structured, doc(`,"data_base64":"a"`), 400, "data_base64", "not base64"},
		{"structured text data not text", structured, doc(`,"datacontenttype":"text/plain","data":{}`), 400, "data", "send a string, data_base64"},
		{"structured half a pair", structured, doc(`,"subject":"\\\ud83d\\ud83d x"`), 400, "subject", `holds \ud83d, which is half`},
		{"structured second half first", structured, doc(`,"subject":"\ude00\ud83d"`), 400, "subject", `holds \ude00`},
		{"structured half a pair at the end", structured, doc(`,"subject":"\ud83d\ude00\ud83d"`), 400, "subject", "half of a surrogate pair"},
		{"structured half a pair in text data", structured, doc(`,"datacontenttype":"text/plain","data":"\uDFFF"`), 400, "data", "half of a surrogate pair"},
		{"batch object", headers("Content-Type", MediaTypeBatchJSON), doc(""), 400, "", "JSON array"},
		{"batch member", headers("Content-Type", MediaTypeBatchJSON), "[" + doc("") + `,{"specversion":"1.0"}]`, 400, "", "event 2 of 2 in the batch: attribute id: is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Decode(tt.header, []byte(tt.body), 1000)
			var ee *Error
			if !errors.As(err, &ee) {
				t.Fatalf("error %v (%T), want an *Error", err, err)
			}
			if ee.Status != tt.status || ee.Attribute != tt.attribute || !strings.Contains(ee.Error(), tt.says) {
				t.Errorf("status %d attribute %q error %q; want %d, %q and %q in it", ee.Status, ee.Attribute, ee, tt.status, tt.attribute, tt.says)
			}
		})
	}
}

func TestEncodeJSONKeepsDataInItsPlace(t *testing.T) {
	tests := []struct {
		name, contentType, data string
		member                  string // what the JSON has for it
	}{
		{"json", "application/json", "{\"a\":\n 1}", `"data":{"a":1}`},
		{"json suffix", "application/vnd.x+json", `"s"`, `"data":"s"`},
		{"no type, json", "", `[1]`, `"data":[1]`},
		{"no type, bytes", "", "\x00\x01", `"data_base64":"AAE="`},
		{"text", "text/plain", "a\"b\n", `"data":"a\"b\n"`},
		{"text not UTF-8", "text/plain", "\xff", `"data_base64":"/w=="`},
		{"bytes that look like text", "image/png", "abc", `"data_base64":"YWJj"`},
		{"json that would forge attributes", "application/json", `1,"id":"forged"`, `"data_base64":"MSwiaWQiOiJmb3JnZWQi"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, _, err := Decode(binaryHeaders("Content-Type", tt.contentType), []byte(tt.data), 1000)
			if err != nil {
				t.Fatal(err)
			}
			b, err := EncodeJSON(events[0])
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(b), tt.member) {
				t.Errorf("%s: want %s in it", b, tt.member)
			}
			if !json.Valid(b) {
				t.Errorf("not JSON: %s", b)
			}
			back, err := DecodeJSON(b)
			if err != nil {
				t.Fatal(err)
			}
			if back.ID() != "1" {
				t.Errorf("id %q after a round trip", back.ID())
			}
		})
	}
}

func TestEncodeBinary(t *testing.T) {
	e, err := DecodeJSON([]byte(`{"specversion":"1.0","id":"a b\"%","source":"s","type":"täst","n":3,"data":{"x":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	body, err := EncodeBinary(e, h)
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Ce-Specversion": {"1.0"}, "Ce-Id": {"a%20b%22%25"}, "Ce-Source": {"s"}, "Ce-Type": {"t%C3%A4st"}, "Ce-N": {"3"},
		"Content-Type": {"application/json"},
	}
	if d := cmp.Diff(want, h); d != "" {
		t.Errorf("headers (-want +got):\n%s", d)
	}
	if string(body) != `{"x":1}` {
		t.Errorf("body %s", body)
	}
	back, _, err := Decode(h, body, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if back[0].ID() != e.ID() || back[0].Type() != e.Type() {
		t.Errorf("round trip changed the event: %v", back[0])
	}
}

func TestEncodeBatch(t *testing.T) {
	var events []*Event
	for i := range 3 {
		e, err := DecodeJSON(fmt.Appendf(nil, `{"specversion":"1.0","id":"%d","source":"s","type":"t"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	b, err := EncodeBatch(events)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeBatch(b, 1000)
	if err != nil || len(back) != 3 || back[2].ID() != "2" {
		t.Fatalf("%v %v", back, err)
	}
}

// A decoded event must survive both encodings unchanged, whatever its bytes.
func checkRoundTrip(t *testing.T, e *Event) {
	t.Helper()
	want, err := Attributes(e)
	if err != nil {
		t.Fatal(err)
	}
	b, err := EncodeJSON(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeJSON(b)
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	got, err := Attributes(back)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("JSON changed attributes (-want +got):\n%s", d)
	}
	h := http.Header{}
	body, err := EncodeBinary(e, h)
	if err != nil {
		t.Fatal(err)
	}
	events, _, err := Decode(h, body, 1000)
	if err != nil {
		t.Fatalf("%v: %v", err, h)
	}
	if events[0].ID() != e.ID() || events[0].Source() != e.Source() || events[0].Type() != e.Type() {
		t.Fatalf("binary changed the event: %v to %v", e, events[0])
	}
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AA=="}`))
	f.Add([]byte(`{"specversion":"1.0","data_base64":1}`))
	f.Add([]byte(`{"specversion":"1.0","id":"\ud83d\ude00","source":"s","type":"t","subject":"\\ud83d\ud83d"}`))
	f.Add([]byte(`{"data":"x","datacontenttype":"text/plain","specversion":"1.0","id":"1","source":"s","type":"t","x":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeJSON(b)
		if err != nil {
			var ee *Error
			if !errors.As(err, &ee) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		checkRoundTrip(t, e)
	})
}

func FuzzDecodeHeaders(f *testing.F) {
	f.Add("Ce-Subject", "a%20b", "application/json", []byte(`{}`))
	f.Add("Ce-", `"x\"`, "text/plain", []byte("x"))
	f.Add("Ce-Time", "2026-01-02T03:04:05.1+01:00", "", []byte{0})
	f.Fuzz(func(t *testing.T, name, value, contentType string, body []byte) {
		h := binaryHeaders("Content-Type", contentType)
		h[name] = []string{value}
		events, mode, err := Decode(h, body, 1000)
		if err != nil {
			var ee *Error
			if !errors.As(err, &ee) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if mode == Binary {
			checkRoundTrip(t, events[0])
		}
	})
}

// A batch that is too large is refused before its events are read, however small
// they are: what is wrong with them does not come into it.
func TestDecodeBatchTooLarge(t *testing.T) {
	for _, tt := range []struct {
		body string
		n    int
	}{
		{`[]`, 0},
		{" [\n] ", 0},
		{`[0]`, 1},
		{` [ 0 , 1 ] `, 2},
		{`[[1,2],{"a":[3,4],"b":5},"]"]`, 3},
		{`["a,b","\"],[","\\",null]`, 4},
		{`[{}, [], "" ,-1.5e3]`, 4},
		{"[" + strings.Repeat("0,", 99_999) + "0]", 100_000},
	} {
		var all []json.RawMessage
		if err := json.Unmarshal([]byte(tt.body), &all); err != nil || len(all) != tt.n {
			t.Fatalf("%.40q: %d elements, %v", tt.body, len(all), err)
		}
		if n := countElements([]byte(tt.body)); n != tt.n {
			t.Errorf("%.40q: counted %d, want %d", tt.body, n, tt.n)
		}
		_, err := DecodeBatch([]byte(tt.body), tt.n-1)
		var ee *Error
		want := fmt.Sprintf("the batch has %d events; at most %d are taken", tt.n, tt.n-1)
		if !errors.As(err, &ee) || ee.Status != http.StatusRequestEntityTooLarge || !strings.Contains(ee.Message, want) {
			t.Errorf("%.40q: %v, want status 413 and %q", tt.body, err, want)
		}
	}
}
