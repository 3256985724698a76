// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cloudevents

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/pkg/event"
)

// request is a POST to a sink as its bytes go over the wire, so that it can be one
// that no HTTP client makes.
func request(sink string, headers []string, body string) string {
	return fmt.Sprintf("POST /ns/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n\r\n%s",
		sink, len(body), strings.Join(headers, "\r\n"), body)
}

// send writes a request and reads the answer, with its body.
func send(t *testing.T, url, raw string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// with returns the headers of an event in binary mode, with more of them.
func with(more ...string) []string {
	return append([]string{"ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"}, more...)
}

// attributes returns the attributes of an event and its data, without those that all
// events of the tables have.
func attributes(t *testing.T, e *event.Event) map[string]string {
	t.Helper()
	m, err := event.Attributes(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, usual := range map[string]string{"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} {
		if m[name] == usual {
			delete(m, name)
		}
	}
	if len(e.Data()) > 0 {
		m["(data)"] = string(e.Data())
	}
	return m
}

type attrs = map[string]string

// doc returns an event in the JSON format.
func doc(more string) string {
	return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + more + `}`
}

const (
	structured = "content-type: application/cloudevents+json"
	batched    = "content-type: application/cloudevents-batch+json"
)

// TestTaken holds which requests are events, and what they say.
func TestTaken(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string
		body    string
		want    []attrs
	}{
		// Percent-encoding: HTTP protocol binding, section 3.1.3.2.
		{"percent-encoding of space, quote and percent", with("ce-subject: a%20b%22c%25d"), "", []attrs{{"subject": `a b"c%d`}}},
		{"percent-encoding in lower case", with("ce-subject: %e2%82%ac"), "", []attrs{{"subject": "€"}}},
		{"percent-encoding of what needs none", with("ce-subject: %41%7e"), "", []attrs{{"subject": "A~"}}},
		{"percent-encoding beyond the first plane", with("ce-subject: %F0%9F%98%80"), "", []attrs{{"subject": "😀"}}},
		{"percent-encoding is undone once", with("ce-subject: %2541"), "", []attrs{{"subject": "%41"}}},
		{"percent-encoding of an extension", with("ce-comexample: %C3%A4"), "", []attrs{{"comexample": "ä"}}},
		{"percent-encoding of the id", []string{"ce-specversion: 1.0", "ce-id: %C3%A4", "ce-source: /s", "ce-type: t"}, "", []attrs{{"id": "ä"}}},
		{"percent sign of a sender that does not encode", with("ce-subject: 100%"), "", []attrs{{"subject": "100%"}}},
		{"percent sign before what is no digit", with("ce-subject: %zz%4"), "", []attrs{{"subject": "%zz%4"}}},
		{"plus is no space", with("ce-subject: a+b"), "", []attrs{{"subject": "a+b"}}},
		{"quoted string", with(`ce-subject: "a b"`), "", []attrs{{"subject": "a b"}}},
		{"quoted string with escapes", with(`ce-subject: "a\"b\\c"`), "", []attrs{{"subject": `a"b\c`}}},
		{"quoted string with percent-encoding", with(`ce-subject: "%E2%82%AC"`), "", []attrs{{"subject": "€"}}},
		{"spaces around a value", with("ce-subject: \t a "), "", []attrs{{"subject": "a"}}},
		{"raw UTF-8 of a sender that does not encode", with("ce-subject: ä"), "", []attrs{{"subject": "ä"}}},

		// Header names are the same in any case (RFC 9110, section 5.1).
		{"header names in upper case", []string{"CE-SPECVERSION: 1.0", "CE-ID: 1", "CE-SOURCE: /s", "CE-TYPE: t", "CE-ComExample: x"}, "", []attrs{{"comexample": "x"}}},
		{"other headers are no attributes", with("x-ce-subject: no", "prefer: reply"), "", []attrs{{}}},

		// Content-Type and its parameters.
		{"binary without content type", with(), "x", []attrs{{"(data)": "x"}}},
		{"binary content type with parameters", with(`content-type: text/plain; charset="utf-8"; x=y`), "x", []attrs{{"datacontenttype": `text/plain; charset="utf-8"; x=y`, "(data)": "x"}}},
		{"binary data that is no JSON though it says so", with("content-type: application/json"), "{", []attrs{{"datacontenttype": "application/json", "(data)": "{"}}},
		{"binary data of all bytes", with("content-type: application/octet-stream"), "\x00\xff\r\n", []attrs{{"datacontenttype": "application/octet-stream", "(data)": "\x00\xff\r\n"}}},
		{"structured with charset", []string{structured + "; charset=utf-8"}, doc(""), []attrs{{}}},
		{"structured with charset in quotes and upper case", []string{structured + `;charset="UTF-8"`}, doc(""), []attrs{{}}},
		{"structured with another parameter", []string{structured + "; profile=x"}, doc(""), []attrs{{}}},
		{"structured in upper case", []string{"Content-Type: APPLICATION/CLOUDEVENTS+JSON"}, doc(""), []attrs{{}}},
		{"structured wins over binary headers", append(with("ce-subject: no"), structured), doc(`,"subject":"yes"`), []attrs{{"subject": "yes"}}},

		// JSON event format, sections 2 and 3.
		{"structured text", []string{structured}, doc(`,"datacontenttype":"text/plain","data":"x\ny"`), []attrs{{"datacontenttype": "text/plain", "(data)": "x\ny"}}},
		{"structured JSON without content type", []string{structured}, doc(`,"data":[1, "x"]`), []attrs{{"(data)": `[1, "x"]`}}},
		{"structured JSON false", []string{structured}, doc(`,"data":false`), []attrs{{"(data)": "false"}}},
		{"structured data null is no data", []string{structured}, doc(`,"data":null`), []attrs{{}}},
		{"structured base64", []string{structured}, doc(`,"data_base64":"AP8="`), []attrs{{"(data)": "\x00\xff"}}},
		{"structured base64 of JSON", []string{structured}, doc(`,"datacontenttype":"application/json","data_base64":"e30="`), []attrs{{"datacontenttype": "application/json", "(data)": "{}"}}},
		{"structured attribute null is not set", []string{structured}, doc(`,"subject":null,"comexample":null`), []attrs{{}}},
		{"structured boolean and integer extensions", []string{structured}, doc(`,"yes":true,"n":-2147483648`), []attrs{{"yes": "true", "n": "-2147483648"}}},
		{"structured escapes", []string{structured}, doc(`,"subject":"\u20ac\ud83d\ude00"`), []attrs{{"subject": "€😀"}}},
		{"structured over several lines", []string{structured}, " {\r\n\t\"specversion\": \"1.0\", \"id\":\"1\",\n\"source\":\"/s\", \"type\":\"t\" }\n", []attrs{{}}},

		// Batches: JSON event format, section 4.
		{"batch", []string{batched}, "[" + doc("") + "," + doc(`,"subject":"2"`) + "]", []attrs{{}, {"subject": "2"}}},
		{"batch with charset", []string{batched + "; charset=utf-8"}, "[" + doc("") + "]", []attrs{{}}},
		{"batch in upper case", []string{"Content-Type: APPLICATION/CLOUDEVENTS-BATCH+JSON"}, "[" + doc("") + "]", []attrs{{}}},
		{"batch of kinds of data", []string{batched}, "[" + doc(`,"data":1`) + "," + doc(`,"data_base64":"AA=="`) + "]", []attrs{{"(data)": "1"}, {"(data)": "\x00"}}},
		{"batch of nothing", []string{batched}, "[]", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sinks{}
			resp, body := send(t, start(t, s), request(echo, tt.headers, tt.body))
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", resp.Status, body)
			}
			var got []attrs
			for _, e := range s.take() {
				got = append(got, attributes(t, e))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
		})
	}
}

// TestRefused holds which requests are no events, and that the answer says why in a
// way that makes no sender try again.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string
		body    string
		status  int
		says    string
	}{
		// Invalid UTF-8: CloudEvents, section 3.1.1, and RFC 8259, section 8.1.
		{"invalid UTF-8 raw in a header", with("ce-subject: \xff"), "", 400, "subject: is not valid UTF-8"},
		{"invalid UTF-8 percent-encoded", with("ce-subject: %FF"), "", 400, "subject: is not valid UTF-8"},
		{"invalid UTF-8 cut off", with("ce-subject: %E2%82"), "", 400, "subject: is not valid UTF-8"},
		{"invalid UTF-8 overlong", with("ce-subject: %C0%AF"), "", 400, "subject: is not valid UTF-8"},
		{"invalid UTF-8 surrogate", with("ce-subject: %ED%A0%80"), "", 400, "subject: is not valid UTF-8"},
		{"invalid UTF-8 beyond Unicode", with("ce-subject: %F4%90%80%80"), "", 400, "subject: is not valid UTF-8"},
		{"invalid UTF-8 in an extension", with("ce-comexample: %80"), "", 400, "comexample: is not valid UTF-8"},
		{"invalid UTF-8 in structured mode", []string{structured}, doc(",\"subject\":\"\xff\""), 400, "UTF-8"},
		{"invalid UTF-8 in structured data", []string{structured}, doc(",\"data\":\"\xe2\x82\""), 400, "UTF-8"},
		{"invalid UTF-8 in a batch", []string{batched}, "[" + doc(",\"subject\":\"\xc0\xaf\"") + "]", 400, "UTF-8"},
		{"control character percent-encoded", with("ce-subject: a%0Ab"), "", 400, "subject: holds the character U+000A"},
		{"noncharacter percent-encoded", with("ce-subject: %EF%BF%BE"), "", 400, "subject: holds the character U+FFFE"},
		{"control character in structured mode", []string{structured}, doc(`,"subject":"a\u0000"`), 400, "subject: holds the character U+0000"},
		{"lone surrogate in structured mode", []string{structured}, doc(`,"subject":"\ud83d"`), 400, "subject"},

		// Headers that are given twice: no attribute has two values.
		{"duplicate attribute", with("ce-id: 2"), "", 400, "id: the header ce-id is given more than once"},
		{"duplicate attribute with the same value", with("ce-id: 1"), "", 400, "id: the header ce-id is given more than once"},
		{"duplicate attribute in another case", with("CE-ID: 1"), "", 400, "id: the header ce-id is given more than once"},
		{"duplicate extension", with("ce-comexample: 1", "ce-comexample: 2"), "", 400, "comexample: the header ce-comexample is given more than once"},
		{"duplicate specversion", with("ce-specversion: 1.0"), "", 400, "specversion: the header ce-specversion is given more than once"},
		{"duplicate content type", with("content-type: text/plain", "content-type: text/html"), "", 400, "Content-Type is given 2 times"},
		{"duplicate content type of another mode", with(structured, "content-type: text/plain"), doc(""), 400, "Content-Type is given 2 times"},
		{"duplicate member", []string{structured}, doc(`,"id":"2"`), 400, "id: is given twice"},
		{"duplicate member of data", []string{structured}, doc(`,"data":1,"data":2`), 400, "data: is given twice"},

		// Content-Type and its parameters.
		{"charset of a structured event", []string{structured + "; charset=utf-16"}, doc(""), 415, "utf-16"},
		{"charset of a batch", []string{batched + "; charset=iso-8859-1"}, "[]", 415, "iso-8859-1"},
		{"parameter twice", []string{structured + "; charset=utf-8; charset=utf-16"}, doc(""), 400, "Content-Type"},
		{"parameter cut off", []string{structured + `; charset="utf-8`}, doc(""), 400, "Content-Type"},
		{"another format", []string{"content-type: application/cloudevents+avro"}, "x", 415, "application/cloudevents+json"},
		{"another format of batches", []string{"content-type: application/cloudevents-batch+protobuf"}, "x", 415, "application/cloudevents-batch+json"},
		{"a format of a longer name", []string{"content-type: application/cloudevents+json2"}, doc(""), 415, "application/cloudevents+json"},
		{"no format", []string{"content-type: application/cloudevents"}, doc(""), 415, "application/cloudevents+json"},
		{"content encoding", with("content-encoding: gzip"), "x", 415, "uncompressed"},
		{"binary content type that is none", with("content-type: text"), "x", 400, ""},
		{"ce-datacontenttype", with("ce-datacontenttype: text/plain"), "x", 400, "Content-Type holds the type"},

		// Attributes: CloudEvents, section 3.
		{"no event", []string{"content-type: application/json"}, "{}", 400, "neither a ce-specversion header"},
		{"no headers", []string{"x: y"}, "", 400, "neither a ce-specversion header"},
		{"binary without specversion", with()[1:], "", 400, "ce-specversion is missing"},
		{"binary without id", append(with()[:1:1], with()[2:]...), "", 400, "id: is missing"},
		{"binary with an empty id", append(with()[:1:1], "ce-id:", "ce-source: /s", "ce-type: t"), "", 400, "id: is empty"},
		{"binary with a hyphen in a name", with("ce-com-example: x"), "", 400, "com-example: is not a name"},
		{"binary with an underscore in a name", with("ce-com_example: x"), "", 400, "com_example: is not a name"},
		{"binary without a name", with("ce-: x"), "", 400, "empty name"},
		{"binary time", with("ce-time: 2018-04-05"), "", 400, "time"},
		{"structured upper-case name", []string{structured}, doc(`,"comExample":"x"`), 400, "comExample: is not a name"},
		{"structured object", []string{structured}, doc(`,"comexample":{}`), 400, "comexample: is an object"},
		{"structured number for text", []string{structured}, doc(`,"subject":1`), 400, "subject: is not a string"},
		{"structured fraction", []string{structured}, doc(`,"n":1.0`), 400, "whole number"},
		{"structured integer of more than 32 bits", []string{structured}, doc(`,"n":2147483648`), 400, "32 bits"},
		{"structured data and data_base64", []string{structured}, doc(`,"data":1,"data_base64":"AA=="`), 400, "both data and data_base64"},
		{"structured base64 of the URL alphabet", []string{structured}, doc(`,"data_base64":"_w=="`), 400, "base64"},
		{"structured base64 without padding", []string{structured}, doc(`,"data_base64":"AA"`), 400, "base64"},
		{"structured array", []string{structured}, "[" + doc("") + "]", 400, "not a JSON object"},
		{"structured with more behind it", []string{structured}, doc("") + doc(""), 400, "not valid JSON"},
		{"structured with a byte order mark", []string{structured}, "\ufeff" + doc(""), 400, "not valid JSON"},
		{"structured empty", []string{structured}, "", 400, "not valid JSON"},

		// Batches: all of it or nothing.
		{"batch that is one event", []string{batched}, doc(""), 400, "JSON array"},
		{"batch with one that is none", []string{batched}, "[" + doc("") + ",{}]", 400, "event 2 of 2"},
		{"batch in a batch", []string{batched}, "[[" + doc("") + "]]", 400, "event 1 of 1"},
		{"batch with null", []string{batched}, "[null]", 400, "event 1 of 1"},
		{"batch cut off", []string{batched}, "[" + doc("") + ",", 400, "not valid JSON"},
		{"batch of too many", []string{batched}, "[" + strings.Repeat(doc("")+",", 1000) + doc("") + "]", 413, "1001 events"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sinks{}
			resp, body := send(t, start(t, s), request(echo, tt.headers, tt.body))
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%s %s; want %d and %q", resp.Status, body, tt.status, tt.says)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Ce-") {
					t.Errorf("the answer has the header %s: its sender would take it for a reply", name)
				}
			}
			if got := s.take(); len(got) != 0 {
				t.Errorf("%d events were dispatched", len(got))
			}
		})
	}
}

// TestReplies holds how replies are written, by reading the headers as they are.
func TestReplies(t *testing.T) {
	one := with()
	for _, tt := range []struct {
		name    string
		reply   string // as JSON; none when empty
		headers []string
		body    string
		want    attrs // headers of the answer, with its body
	}{
		{"none", "", one, "", attrs{"(data)": ""}},
		{"none to a structured event", "", []string{structured}, doc(""), attrs{"(data)": ""}},
		{"none to a batch", "", []string{batched}, "[" + doc("") + "]", attrs{"(data)": ""}},
		{
			"JSON", `{"specversion":"1.0","id":"r","source":"/r","type":"tr","datacontenttype":"application/json","data":{"a":1}}`, one, "",
			attrs{"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/r", "Ce-Type": "tr", "Content-Type": "application/json", "(data)": `{"a":1}`},
		},
		{
			"JSON to a structured event is binary", `{"specversion":"1.0","id":"r","source":"/r","type":"tr","data":{"a":1}}`,
			[]string{structured},
			doc(""),
			attrs{"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/r", "Ce-Type": "tr", "Content-Type": "application/json", "(data)": `{"a":1}`},
		},
		{
			"bytes", `{"specversion":"1.0","id":"r","source":"/r","type":"tr","datacontenttype":"image/png","data_base64":"AP8="}`, one, "",
			attrs{"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/r", "Ce-Type": "tr", "Content-Type": "image/png", "(data)": "\x00\xff"},
		},
		{
			"bytes without a type", `{"specversion":"1.0","id":"r","source":"/r","type":"tr","data_base64":"AP8="}`, one, "",
			attrs{"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/r", "Ce-Type": "tr", "(data)": "\x00\xff"},
		},
		{
			"no data", `{"specversion":"1.0","id":"r","source":"/r","type":"tr"}`, one, "",
			attrs{"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/r", "Ce-Type": "tr", "(data)": ""},
		},
		{
			"percent-encoding", `{"specversion":"1.0","id":"a b","source":"/r","type":"t%r\"","subject":"€😀","comexample":"~\u00a0"}`, one, "",
			attrs{"Ce-Specversion": "1.0", "Ce-Id": "a%20b", "Ce-Source": "/r", "Ce-Type": "t%25r%22", "Ce-Subject": "%E2%82%AC%F0%9F%98%80", "Ce-Comexample": "~%C2%A0", "(data)": ""},
		},
		{
			"all attributes", `{"specversion":"1.0","id":"r","source":"/r","type":"tr","subject":"s","time":"2018-04-05T17:31:00.5Z","dataschema":"http://x/y","datacontenttype":"text/plain; charset=utf-8","yes":true,"n":7,"data":"x"}`, one, "",
			attrs{
				"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/r", "Ce-Type": "tr", "Ce-Subject": "s", "Ce-Time": "2018-04-05T17:31:00.5Z", "Ce-Dataschema": "http://x/y",
				"Ce-Yes": "true", "Ce-N": "7", "Content-Type": "text/plain; charset=utf-8", "(data)": "x",
			},
		},
		{
			"batch", `{"specversion":"1.0","id":"r","source":"/r","type":"tr"}`,
			[]string{batched},
			"[" + doc("") + "," + doc("") + "]",
			attrs{"Content-Type": "application/cloudevents-batch+json", "(data)": `[{"specversion":"1.0","id":"r","source":"/r","type":"tr"},{"specversion":"1.0","id":"r","source":"/r","type":"tr"}]`},
		},
		{
			"batch of one is a batch", `{"specversion":"1.0","id":"r","source":"/r","type":"tr"}`,
			[]string{batched},
			"[" + doc("") + "]",
			attrs{"Content-Type": "application/cloudevents-batch+json", "(data)": `[{"specversion":"1.0","id":"r","source":"/r","type":"tr"}]`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sinks{replies: map[string]string{"reply": tt.reply}}
			resp, body := send(t, start(t, s), request("reply", tt.headers, tt.body))
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", resp.Status, body)
			}
			got := attrs{"(data)": body}
			for name, values := range resp.Header {
				if strings.HasPrefix(name, "Ce-") || name == "Content-Type" {
					got[name] = strings.Join(values, " and ")
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("answer (-want +got):\n%s", d)
			}
		})
	}
}
