// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Requests are written byte by byte: net/http's client would not send most of
// them.
const (
	binaryHead = "Ce-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Source: /s\r\nCe-Type: t\r\n"
	oneEvent   = `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`
	jsonType   = "Content-Type: application/cloudevents+json\r\n"
	batchType  = "Content-Type: application/cloudevents-batch+json\r\n"
)

// raw makes a request for the sink ok with these header lines and this body.
func raw(head, body string) string {
	return fmt.Sprintf("POST /ns/ok HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// without drops the line of one header.
func without(head, name string) string {
	var b strings.Builder
	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, name+":") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// headersOf makes n header lines.
func headersOf(n int, prefix string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s%d: v\r\n", prefix, i)
	}
	return b.String()
}

// exchange sends bytes over a connection of its own and reads n responses.
// With half the sender then says that it sends no more.
func exchange(t *testing.T, addr, request string, n int, half bool) ([]*answer, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The server may answer and close before it has read everything.
	if _, err := io.WriteString(conn, request); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if half {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(conn)
	var answers []*answer
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return answers, err
		}
		answers = append(answers, &answer{resp.StatusCode, resp.Header, string(body)})
	}
	return answers, nil
}

// checkFailure holds an answer to what every failure must be: the status, a
// short JSON body that says the reason and what happened, no CloudEvent.
func checkFailure(t *testing.T, a *answer, status int, reason string, says ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d; body %q", a.status, status, a.body)
		return
	}
	if len(a.body) > 768 {
		t.Errorf("the body has %d bytes; a dead letter keeps 768", len(a.body))
	}
	for k := range a.header {
		if strings.HasPrefix(k, "Ce-") {
			t.Errorf("a failure has the CloudEvents header %s", k)
		}
	}
	var body struct{ Error, Reason string }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("the body is no JSON: %v, type %q, %q", err, a.header.Get("Content-Type"), a.body)
		return
	}
	if body.Reason != reason {
		t.Errorf("reason %q, want %q; error %q", body.Reason, reason, body.Error)
	}
	if body.Error == "" {
		t.Error("the failure says nothing")
	}
	for _, s := range says {
		if !strings.Contains(body.Error, s) {
			t.Errorf("error %q does not say %q", body.Error, s)
		}
	}
}

// Every request that is no good event gets the status that makes a Knative
// sender do the right thing, and a text from which its author learns what to do.
func TestBadInput(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	sink(t, dir, "ok", guest, []string{"cat"})
	s := serve(t, dir)

	tests := []struct {
		name    string
		request string
		status  int
		reason  string
		says    []string // in the message; what is wrong, where, what to do
	}{
		// Binary mode.
		{"binary/no specversion", raw(without(binaryHead, "Ce-Specversion"), ""), 400, "MalformedEvent", []string{"specversion", "missing", "send ce-specversion: 1.0"}},
		{"binary/no id", raw(without(binaryHead, "Ce-Id"), ""), 400, "MalformedEvent", []string{"attribute id", "missing"}},
		{"binary/no source", raw(without(binaryHead, "Ce-Source"), ""), 400, "MalformedEvent", []string{"attribute source", "missing"}},
		{"binary/no type", raw(without(binaryHead, "Ce-Type"), ""), 400, "MalformedEvent", []string{"attribute type", "missing"}},
		{"binary/empty id", raw(without(binaryHead, "Ce-Id")+"Ce-Id:\r\n", ""), 400, "MalformedEvent", []string{"attribute id"}},
		{"binary/version 0.3", raw(without(binaryHead, "Ce-Specversion")+"Ce-Specversion: 0.3\r\n", ""), 400, "MalformedEvent", []string{"specversion", "0.3", "1.0"}},
		{"binary/bad time", raw(binaryHead+"Ce-Time: tomorrow\r\n", ""), 400, "MalformedEvent", []string{"attribute time", "tomorrow", "RFC 3339"}},
		{"binary/bad source", raw(without(binaryHead, "Ce-Source")+"Ce-Source: http://[::1\r\n", ""), 400, "MalformedEvent", []string{"attribute source", "URI reference"}},
		{"binary/relative dataschema", raw(binaryHead+"Ce-Dataschema: x/y\r\n", ""), 400, "MalformedEvent", []string{"attribute dataschema", "absolute URI"}},
		{"binary/id twice", raw(binaryHead+"Ce-Id: 2\r\n", ""), 400, "MalformedEvent", []string{"ce-id", "once"}},
		{"binary/ce-datacontenttype", raw(binaryHead+"Ce-Datacontenttype: text/plain\r\n", ""), 400, "MalformedEvent", []string{"ce-datacontenttype", "Content-Type"}},
		{"binary/name with hyphen", raw(binaryHead+"Ce-My-Name: x\r\n", ""), 400, "MalformedEvent", []string{"my-name", "lower-case letters and digits"}},
		{"binary/bad percent-encoding", raw(binaryHead+"Ce-Subject: %C0%AF\r\n", ""), 400, "MalformedEvent", []string{"attribute subject", "UTF-8"}},
		{"binary/cut percent-encoded rune", raw(binaryHead+"Ce-Subject: a%E2%82\r\n", ""), 400, "MalformedEvent", []string{"attribute subject", "UTF-8"}},
		{"binary/bytes that are not UTF-8", raw(binaryHead+"Ce-Subject: \xff\xfe\r\n", ""), 400, "MalformedEvent", []string{"attribute subject", "UTF-8"}},
		{"binary/encoded line break", raw(binaryHead+"Ce-Subject: a%0d%0aX:b\r\n", ""), 400, "MalformedEvent", []string{"attribute subject", "U+000D"}},
		{"binary/open quote", raw(binaryHead+"Ce-Subject: \"abc\r\n", ""), 400, "MalformedEvent", []string{"attribute subject", "quoted string"}},
		{"binary/attributes too large", raw(binaryHead+"Ce-Big: "+strings.Repeat("x", 70<<10)+"\r\n", ""), 413, "TooLarge", []string{"attribute big", "65536"}},
		{"binary/bad content type", raw(binaryHead+"Content-Type: json/\r\n", "{}"), 400, "MalformedEvent", []string{"media type"}},
		{"binary/gzip", raw(binaryHead+"Content-Encoding: gzip\r\n", "\x1f\x8b"), 415, "UnsupportedMediaType", []string{"gzip", "uncompressed"}},

		// Structured mode.
		{"structured/no specversion", raw(jsonType, `{"id":"1","source":"/s","type":"t"}`), 400, "MalformedEvent", []string{"specversion", "missing"}},
		{"structured/no id", raw(jsonType, `{"specversion":"1.0","source":"/s","type":"t"}`), 400, "MalformedEvent", []string{"attribute id", "missing"}},
		{"structured/no source", raw(jsonType, `{"specversion":"1.0","id":"1","type":"t"}`), 400, "MalformedEvent", []string{"attribute source", "missing"}},
		{"structured/no type", raw(jsonType, `{"specversion":"1.0","id":"1","source":"/s"}`), 400, "MalformedEvent", []string{"attribute type", "missing"}},
		{"structured/version 2.0", raw(jsonType, strings.Replace(oneEvent, "1.0", "2.0", 1)), 400, "MalformedEvent", []string{"specversion", "2.0", "1.0"}},
		{"structured/bad time", raw(jsonType, strings.Replace(oneEvent, "{", `{"time":"12:00",`, 1)), 400, "MalformedEvent", []string{"attribute time", "12:00", "RFC 3339"}},
		{"structured/number as id", raw(jsonType, strings.Replace(oneEvent, `"id":"1"`, `"id":1`, 1)), 400, "MalformedEvent", []string{"attribute id", "double quotes"}},
		{"structured/id twice", raw(jsonType, strings.Replace(oneEvent, "{", `{"id":"2",`, 1)), 400, "MalformedEvent", []string{"attribute id", "twice"}},
		{"structured/data twice", raw(jsonType, strings.Replace(oneEvent, "{", `{"data":1,"data":2,`, 1)), 400, "MalformedEvent", []string{"data", "twice"}},
		{"structured/data and base64", raw(jsonType, strings.Replace(oneEvent, "{", `{"data":1,"data_base64":"AA==",`, 1)), 400, "MalformedEvent", []string{"both data and data_base64"}},
		{"structured/bad base64", raw(jsonType, strings.Replace(oneEvent, "{", `{"data_base64":"!",`, 1)), 400, "MalformedEvent", []string{"data_base64", "RFC 4648"}},
		{"structured/object as extension", raw(jsonType, strings.Replace(oneEvent, "{", `{"ext":{},`, 1)), 400, "MalformedEvent", []string{"attribute ext", "data"}},
		{"structured/bad JSON", raw(jsonType, `{"specversion":"1.0",`), 400, "MalformedEvent", []string{"not valid JSON", "byte 21 of 21"}},
		{"structured/array", raw(jsonType, "["+oneEvent+"]"), 400, "MalformedEvent", []string{"not a JSON object"}},
		{"structured/deep", raw(jsonType, strings.Replace(oneEvent, "{", `{"data":`+strings.Repeat("[", 400000)+strings.Repeat("]", 400000)+",", 1)), 400, "MalformedEvent", []string{"depth"}},
		{"structured/empty body", raw(jsonType, ""), 400, "MalformedEvent", []string{"JSON"}},
		{"structured/not UTF-8", raw(jsonType, strings.Replace(oneEvent, "/s", "\xff", 1)), 400, "MalformedEvent", []string{"UTF-8"}},
		{"structured/latin1", raw("Content-Type: application/cloudevents+json; charset=latin1\r\n", oneEvent), 415, "UnsupportedMediaType", []string{"latin1", "UTF-8"}},

		// Batched mode.
		{"batch/no specversion", raw(batchType, "["+oneEvent+`,{"id":"1","source":"/s","type":"t"}]`), 400, "MalformedEvent", []string{"event 2 of 2", "specversion"}},
		{"batch/no id", raw(batchType, `[{"specversion":"1.0","source":"/s","type":"t"}]`), 400, "MalformedEvent", []string{"event 1 of 1", "attribute id"}},
		{"batch/no source", raw(batchType, `[{"specversion":"1.0","id":"1","type":"t"}]`), 400, "MalformedEvent", []string{"event 1 of 1", "attribute source"}},
		{"batch/no type", raw(batchType, `[{"specversion":"1.0","id":"1","source":"/s"}]`), 400, "MalformedEvent", []string{"event 1 of 1", "attribute type"}},
		{"batch/single event", raw(batchType, oneEvent), 400, "MalformedEvent", []string{"JSON array", "application/cloudevents+json"}},
		{"batch/too many", raw(batchType, "["+strings.Repeat(oneEvent+",", 1000)+oneEvent+"]"), 413, "TooLarge", []string{"1001 events", "1000", "smaller"}},
		{"batch/empty body", raw(batchType, ""), 400, "MalformedEvent", []string{"JSON"}},

		// Not an event, or not in a form that is understood.
		{"plain JSON", raw("Content-Type: application/json\r\n", "{}"), 400, "MalformedEvent", []string{"not a CloudEvent", "ce-specversion", "application/cloudevents+json"}},
		{"nothing at all", raw("", ""), 400, "MalformedEvent", []string{"not a CloudEvent"}},
		{"two content types", raw(binaryHead+"Content-Type: a/b\r\nContent-Type: c/d\r\n", ""), 400, "MalformedEvent", []string{"2 times", "once"}},
		{"XML", raw("Content-Type: application/cloudevents+xml\r\n", "<event/>"), 415, "UnsupportedMediaType", []string{"application/cloudevents+xml", "application/cloudevents+json"}},
		{"XML batch", raw("Content-Type: application/cloudevents-batch+xml\r\n", "<batch/>"), 415, "UnsupportedMediaType", []string{"application/cloudevents-batch+json"}},
		{"Avro", raw("Content-Type: application/cloudevents+avro\r\n", "x"), 415, "UnsupportedMediaType", []string{"avro"}},

		// Where it is sent, and how.
		{"unknown sink", strings.Replace(raw(binaryHead, ""), "/ns/ok", "/ns/other", 1), 404, "SinkNotFound", []string{"/ns/other", "/NAMESPACE/NAME"}},
		{"no sink", strings.Replace(raw(binaryHead, ""), "/ns/ok", "/", 1), 404, "SinkNotFound", []string{"/NAMESPACE/NAME"}},
		{"long path", strings.Replace(raw(binaryHead, ""), "/ns/ok", "/"+strings.Repeat("%22", 20000), 1), 404, "SinkNotFound", []string{"…"}},
		{"GET", strings.Replace(raw(binaryHead, ""), "POST", "GET", 1), 405, "MethodNotAllowed", []string{"GET", "POST"}},
		{"PUT", strings.Replace(raw(binaryHead, ""), "POST", "PUT", 1), 405, "MethodNotAllowed", []string{"PUT", "POST"}},
		{"DELETE", strings.Replace(raw(binaryHead, ""), "POST", "DELETE", 1), 405, "MethodNotAllowed", []string{"DELETE", "POST"}},
		{"announced as too large", "POST /ns/ok HTTP/1.1\r\nHost: h\r\n" + binaryHead + "Content-Length: 1048577\r\n\r\n", 413, "TooLarge", []string{"1048576", "by reference"}},
		{"absurd length", "POST /ns/ok HTTP/1.1\r\nHost: h\r\n" + binaryHead + "Content-Length: 9223372036854775807\r\n\r\n", 413, "TooLarge", []string{"1048576"}},
		{"too large in chunks", "POST /ns/ok HTTP/1.1\r\nHost: h\r\n" + binaryHead + "Transfer-Encoding: chunked\r\n\r\n100001\r\n" + strings.Repeat("x", 1<<20+1) + "\r\n0\r\n\r\n", 413, "TooLarge", []string{"1048576", "by reference"}},
		{"too large, expecting 100", "POST /ns/ok HTTP/1.1\r\nHost: h\r\n" + binaryHead + "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n", 413, "TooLarge", []string{"1048576"}},
		{"bad chunk", "POST /ns/ok HTTP/1.1\r\nHost: h\r\n" + binaryHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "MalformedEvent", []string{"body", "cannot be read"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers, err := exchange(t, s.addr, tt.request, 1, false)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			checkFailure(t, answers[0], tt.status, tt.reason, tt.says...)
			if tt.status == 405 && answers[0].header.Get("Allow") != "POST, OPTIONS" {
				t.Errorf("405 with Allow %q", answers[0].header.Get("Allow"))
			}
		})
	}

	// The body ends before it was to: the sender died, or says it is done.
	t.Run("truncated body", func(t *testing.T) {
		answers, err := exchange(t, s.addr, "POST /ns/ok HTTP/1.1\r\nHost: h\r\n"+binaryHead+"Content-Length: 100\r\n\r\n{", 1, true)
		// A sender that has gone gets no answer; it must not be a success.
		if err == nil && answers[0].status == 200 {
			t.Errorf("an event that was cut short was taken: %q", answers[0].body)
		}
	})
	// These are refused by net/http, before there is a request.
	for name, tt := range map[string]struct {
		request string
		status  int
	}{
		"huge header":        {raw(binaryHead+"X-Big: "+strings.Repeat("x", 1<<20)+"\r\n", ""), 431},
		"10000 long headers": {raw(binaryHead+headersOf(10000, "X-Some-Header-"), ""), 431},
		"no HTTP":            {"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n", 400},
		"no host":            {"POST /ns/ok HTTP/1.1\r\n\r\n", 400},
		"two lengths":        {"POST /ns/ok HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"bad header name":    {raw("Ce Id: 1\r\n", ""), 400},
	} {
		t.Run(name, func(t *testing.T) {
			answers, err := exchange(t, s.addr, tt.request, 1, false)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if a := answers[0]; a.status != tt.status || len(a.body) > 768 {
				t.Errorf("%d %q, want %d and a short body", a.status, a.body, tt.status)
			}
		})
	}

	// What looks odd and is right.
	accepted := []struct {
		name    string
		request string
		n       int
	}{
		{"HTTP/1.0", strings.Replace(raw(binaryHead, ""), "HTTP/1.1", "HTTP/1.0", 1), 1},
		{"pipelined", raw(binaryHead, "") + raw(binaryHead+"Content-Type: text/plain\r\n", "x") + raw(jsonType, oneEvent), 3},
		{"10000 short headers", raw(binaryHead+headersOf(10000, "x"), ""), 1},
		{"lone percent sign", raw(binaryHead+"Ce-Subject: 100%\r\n", ""), 1},
		{"lower case and blanks", raw("ce-specversion:1.0\r\nce-id:  1 \r\nce-source:\t/s\r\nce-type:t\r\n", ""), 1},
		{"half closed", raw(binaryHead, "{}"), 1},
	}
	for _, tt := range accepted {
		t.Run(tt.name, func(t *testing.T) {
			answers, err := exchange(t, s.addr, tt.request, tt.n, tt.name == "half closed")
			if tt.name == "half closed" && err != nil {
				return // net/http takes it for a sender that is gone, which the end of a stream cannot tell from
			}
			if err != nil {
				t.Fatalf("%d answers, then %v", len(answers), err)
			}
			for _, a := range answers {
				if a.status != 200 || a.header.Get("Ce-Id") != "1" {
					t.Errorf("%d %v %q", a.status, a.header, a.body)
				}
			}
		})
	}
	t.Run("100-continue", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "POST /ns/ok HTTP/1.1\r\nHost: h\r\n%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", jsonType, len(oneEvent))
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 100 {
			t.Fatalf("%v %v, want 100", resp, err)
		}
		fmt.Fprint(conn, oneEvent)
		if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v, want 200", resp, err)
		}
	})
	t.Run("OPTIONS", func(t *testing.T) {
		answers, err := exchange(t, s.addr, "OPTIONS /ns/ok HTTP/1.1\r\nHost: h\r\nWebHook-Request-Origin: sender.example\r\nWebHook-Request-Rate: 100\r\n\r\n", 1, false)
		if err != nil {
			t.Fatal(err)
		}
		a := answers[0]
		if a.status != 200 || a.body != "" || a.header.Get("Allow") != "POST" || a.header.Get("WebHook-Allowed-Origin") != "sender.example" || a.header.Get("WebHook-Allowed-Rate") != "*" {
			t.Errorf("%d %v %q", a.status, a.header, a.body)
		}
	})
	s.stop()
}

// A sender that takes its time holds nothing for long. The time it has is 30 s
// and no flag changes it, so this runs beside other tests.
func TestSlowBody(t *testing.T) {
	needKVM(t)
	if testing.Short() {
		t.Skip("takes 30 seconds")
	}
	t.Parallel()
	dir := t.TempDir()
	sink(t, dir, "ok", guest, []string{"silent"})
	s := serve(t, dir)
	start := time.Now()
	answers, err := exchange(t, s.addr, "POST /ns/ok HTTP/1.1\r\nHost: h\r\n"+binaryHead+"Content-Length: 100\r\n\r\n{", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	checkFailure(t, answers[0], 408, "BodyTimeout", "30s", "1 bytes did")
	if took := time.Since(start); took < 25*time.Second {
		t.Errorf("the sender had %v, and the message says 30s", took)
	}
	s.stop()
}

// What a program does wrong is the answer to its event and leaves the server
// as it was.
func TestBadPrograms(t *testing.T) {
	needKVM(t)
	type program struct {
		name   string
		c      bool // the C program rather than the Go one
		args   []string
		spec   []string
		status int // 200: reply is wanted
		reason string
		says   []string
		reply  string
	}
	tests := []program{
		{name: "memory", args: []string{"memory"}, spec: []string{"resources: {limits: {memory: 32Mi}}"}, status: 502, reason: "MemoryExceeded", says: []string{"32 MiB"}},
		{name: "memory in c", c: true, args: []string{"memory"}, spec: []string{"resources: {limits: {memory: 16Mi}}"}, status: 502, reason: "MemoryExceeded", says: []string{"16 MiB"}},
		{name: "time computing", args: []string{"spin"}, spec: []string{"timeout: 400ms"}, status: 504, reason: "DeadlineExceeded", says: []string{"400ms"}},
		{name: "time sleeping", args: []string{"sleep"}, spec: []string{"timeout: 400ms"}, status: 504, reason: "DeadlineExceeded", says: []string{"400ms"}},
		{name: "exit 65", args: []string{"exit", "65"}, status: 422, reason: "PermanentFailure", says: []string{"65", "the reason why"}},
		{name: "exit 1", args: []string{"exit", "1"}, status: 502, reason: "FunctionFailed", says: []string{"exit status 1", "the reason why"}},
		{name: "exit 255", args: []string{"exit", "255"}, status: 502, reason: "FunctionFailed", says: []string{"exit status 255"}},
		{name: "Go nil pointer", args: []string{"nil"}, status: 502, reason: "FunctionFailed", says: []string{"exit status 2"}},
		{name: "bad address", c: true, args: []string{"store"}, status: 502, reason: "FunctionFailed", says: []string{"SIGSEGV", "0x1230"}},
		{name: "output", args: []string{"output"}, status: 502, reason: "OutputExceeded", says: []string{"1048576 bytes"}},
		{name: "much on stderr", args: []string{"stderr"}, status: 502, reason: "FunctionFailed", says: []string{"exit status 9"}},
		{name: "no output", args: []string{"silent"}, status: 200},
		{name: "not an event", args: []string{"print", `{"specversion":"1.0","id":"1"}`}, status: 502, reason: "BadReply", says: []string{"not a valid CloudEvent", "attribute source"}},
		{name: "version of reply", args: []string{"print", `{"specversion":"9","id":"1","source":"/s","type":"t"}`}, status: 502, reason: "BadReply", says: []string{"specversion", "only CloudEvents 1.0"}},
		{name: "name in reply", args: []string{"print", `{"specversion":"1.0","id":"1","source":"/s","type":"t","Bad-Name":"x"}`}, status: 502, reason: "BadReply", says: []string{"Bad-Name", "lower-case"}},
		{name: "time in reply", args: []string{"print", `{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"now"}`}, status: 502, reason: "BadReply", says: []string{"attribute time", "RFC 3339"}},
		{name: "line break in reply", args: []string{"print", `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a\r\nSet-Cookie: x"}`}, status: 502, reason: "BadReply", says: []string{"subject", "U+000D"}},
		{name: "half an event", args: []string{"print", `{"specversion":"1.0","id":`}, status: 200, reply: `{"specversion":"1.0","id":`},
		{name: "binary output", args: []string{"binary"}, status: 200, reply: "\x00\xff\xfe\x80 not text"},
	}
	for n := 1; n <= 31; n++ {
		sig := unix.Signal(n)
		switch sig {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH: // do nothing
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU: // stop, which is for test/guests
		default:
			tests = append(tests, program{name: unix.SignalName(sig), c: true, args: []string{"raise", fmt.Sprint(n)}, status: 502, reason: "FunctionFailed", says: []string{unix.SignalName(sig)}})
		}
	}
	dir := t.TempDir()
	id := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "-")) }
	for _, tt := range tests {
		program := guest
		if tt.c {
			program = cGuest
		}
		if program != "" {
			sink(t, dir, id(tt.name), program, tt.args, tt.spec...)
		}
	}
	s := serve(t, dir)
	c := newClient(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c {
				needC(t)
			}
			a, err := do(c, newEvent(t.Context(), s.sink(id(tt.name)), "1", `"x"`))
			if err != nil {
				t.Fatal(err)
			}
			if tt.status != 200 {
				checkFailure(t, a, tt.status, tt.reason, tt.says...)
				return
			}
			if a.status != 200 || a.body != tt.reply || (a.header.Get("Ce-Id") != "") != (tt.reply != "") {
				t.Errorf("%d %v %q, want 200 %q", a.status, a.header, a.body, tt.reply)
			}
		})
	}
	s.stop()
}

// edit returns the program with a change.
func edit(t *testing.T, program string, f func([]byte) []byte) string {
	t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	return string(f(b))
}

// programHeader returns the n-th program header of a 64-bit ELF file.
func programHeader(b []byte, n int) []byte {
	at := binary.LittleEndian.Uint64(b[32:]) + uint64(n)*56
	return b[at : at+56]
}

// A sink whose program cannot run says why, at the start and to each event, and
// the others serve. Without any other the server does not start.
func TestNotAProgram(t *testing.T) {
	needKVM(t)
	le := binary.LittleEndian
	header := func(f func(b []byte)) string {
		return edit(t, guest, func(b []byte) []byte { f(b); return b })
	}
	// The first PT_LOAD, and where a field of it is.
	load := func(f func(ph []byte)) string {
		return header(func(b []byte) {
			for i := range int(le.Uint16(b[56:])) {
				if ph := programHeader(b, i); le.Uint32(ph) == 1 {
					f(ph)
					return
				}
			}
		})
	}
	const offset, vaddr, filesz, memsz = 8, 16, 32, 40
	tests := []struct {
		name    string
		content string // of the program
		says    []string
	}{
		{"text", "hello\n", []string{"ELF"}},
		{"empty", "", []string{"the file is empty"}},
		{"script", "#!/bin/sh\necho hello\n", []string{"it is a script for /bin/sh"}},
		{"text", "hello\n", []string{"ELF"}},
		{"aarch64", header(func(b []byte) { le.PutUint16(b[18:], 183) }), []string{"x86-64"}},
		{"elf32", header(func(b []byte) { b[4] = 1 }), []string{"64"}},
		{"big-endian", header(func(b []byte) { b[5] = 2 }), []string{"big-endian"}},
		{"object", header(func(b []byte) { le.PutUint16(b[16:], 1) }), []string{"link it first"}},
		{"magic-only", "\x7fELF", []string{"truncated: the file ends at 4"}},
		{"half-header", edit(t, guest, func(b []byte) []byte { return b[:40] }), []string{"truncated: the file ends at 40"}},
		{"headers-only", edit(t, guest, func(b []byte) []byte { return b[:64] }), []string{"truncated: the file ends at 64"}},
		{"truncated", edit(t, guest, func(b []byte) []byte { return b[:len(b)/2] }), []string{"truncated"}},
		{"no-segments", header(func(b []byte) { le.PutUint16(b[56:], 0) }), []string{"no program headers"}},
		{"65535-segments", header(func(b []byte) { le.PutUint16(b[56:], 65535) }), []string{"65535 program headers"}},
		{"headers-far", header(func(b []byte) { le.PutUint64(b[32:], 1<<40) }), []string{"truncated"}},
		{"headers-wrap", header(func(b []byte) { le.PutUint64(b[32:], ^uint64(0)-8) }), []string{"truncated"}},
		{"entry-nowhere", header(func(b []byte) { le.PutUint64(b[24:], 0x7000_0000_0000) }), []string{"entry point 0x700000000000"}},
		{"entry-not-canonical", header(func(b []byte) { le.PutUint64(b[24:], 1<<63) }), []string{"entry point 0x8000000000000000"}},
		{"address-of-kernel", load(func(p []byte) { le.PutUint64(p[vaddr:], 0xffff_8000_0000_0000) }), []string{"above the user address space"}},
		{"address-zero", load(func(p []byte) { le.PutUint64(p[vaddr:], 0) }), []string{"below the lowest"}},
		{"address-wraps", load(func(p []byte) { le.PutUint64(p[vaddr:], ^uint64(0)&^0xfff) }), []string{"above the user address space"}},
		{"huge-in-memory", load(func(p []byte) { le.PutUint64(p[memsz:], 1<<46) }), []string{"overlap"}},
		{"wraps-in-memory", load(func(p []byte) { le.PutUint64(p[memsz:], ^uint64(0)) }), []string{"above the user address space"}},
		{"more-in-file", load(func(p []byte) { le.PutUint64(p[filesz:], le.Uint64(p[memsz:])+1) }), []string{"in the file but only"}},
		{"huge-in-file", load(func(p []byte) { le.PutUint64(p[filesz:], 1<<40); le.PutUint64(p[memsz:], 1<<40) }), []string{"truncated"}},
		{"offset-far", load(func(p []byte) { le.PutUint64(p[offset:], 1<<40) }), []string{"truncated"}},
		{"offset-wraps", load(func(p []byte) { le.PutUint64(p[offset:], ^uint64(0)&^0xfff) }), []string{"truncated"}},
		{"offset-not-congruent", load(func(p []byte) { le.PutUint64(p[offset:], 1) }), []string{"cannot be mapped"}},
	}
	bss := header(func(b []byte) {
		var last []byte
		for i := range int(le.Uint16(b[56:])) {
			if ph := programHeader(b, i); le.Uint32(ph) == 1 {
				last = ph
			}
		}
		le.PutUint64(last[memsz:], 1<<40)
	})
	dir := t.TempDir()
	sink(t, dir, "good", guest, []string{"silent"})
	if err := os.WriteFile(filepath.Join(dir, "large-bss"), []byte(bss), 0o755); err != nil {
		t.Fatal(err)
	}
	sink(t, dir, "large-bss", "large-bss", []string{"silent"})
	for _, tt := range tests {
		if err := os.WriteFile(filepath.Join(dir, tt.name), []byte(tt.content), 0o755); err != nil {
			t.Fatal(err)
		}
		sink(t, dir, tt.name, tt.name, []string{"silent"})
	}
	special := map[string][]string{"missing": {"no such file"}, "folder": {"directory"}, "not-executable": {"chmod +x"}, "pipe": {"a named pipe"}}
	for name := range special {
		sink(t, dir, name, name, nil)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o755), unix.Mkfifo(filepath.Join(dir, "pipe"), 0o755)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "not-executable"), "x")

	s := serve(t, dir)
	c := newClient(t)
	check := func(name string, says []string) {
		t.Run(name, func(t *testing.T) {
			a, err := do(c, newEvent(t.Context(), s.sink(name), "1", "{}"))
			if err != nil {
				t.Fatal(err)
			}
			checkFailure(t, a, 503, "NotReady", append(says, "ns/"+name, filepath.Join(dir, name))...)
			if !strings.Contains(s.stderr.String(), "sink ns/"+name+":") {
				t.Errorf("the log does not name the sink")
			}
		})
	}
	for _, tt := range tests {
		check(tt.name, tt.says)
	}
	for name, says := range special {
		check(name, says)
	}
	// Memory counts when it is touched, and nothing of a TiB of zeros is.
	if a, err := do(c, newEvent(t.Context(), s.sink("large-bss"), "1", "{}")); err != nil || a.status != 200 {
		t.Errorf("a program with a large .bss: %v %v", a, err)
	}
	if a, err := do(c, newEvent(t.Context(), s.sink("good"), "1", "{}")); err != nil || a.status != 200 {
		t.Errorf("the good sink: %v %v", a, err)
	}
	s.stop()

	t.Run("none is good", func(t *testing.T) {
		only := t.TempDir()
		sink(t, only, "bad", filepath.Join(dir, "text"), nil)
		cmd := exec.CommandContext(t.Context(), kontain, "serve", "-f", only, "--listen", "127.0.0.1:0")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "ns/bad") || !strings.Contains(stderr.String(), "ELF") {
			t.Errorf("%v; stdout %q, stderr %q", err, &stdout, &stderr)
		}
	})
}
