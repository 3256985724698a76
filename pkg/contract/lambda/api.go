// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lambda

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/vmexec/talk"
)

// base is the path of the API's version.
const base = "/2018-06-01/runtime"

// accepted is the body of an answer with status 202.
const accepted = `{"status":"OK"}`

const (
	maxHead    = 64 << 10 // bytes of a request's line and headers
	maxFailure = 64 << 10 // bytes of the body that describes an error
)

// kind is what a function asks for.
type kind uint8

const (
	callUnknown   kind = iota
	callNext           // GET /invocation/next
	callResponse       // POST /invocation/{id}/response
	callError          // POST /invocation/{id}/error
	callInitError      // POST /init/error
)

// route finds out what a request asks for, and for which event.
func route(method, path string) (k kind, id string) {
	rest, ok := strings.CutPrefix(path, base)
	switch {
	case !ok:
		return callUnknown, ""
	case method == http.MethodGet && rest == "/invocation/next":
		return callNext, ""
	case method == http.MethodPost && rest == "/init/error":
		return callInitError, ""
	case method != http.MethodPost:
		return callUnknown, ""
	}
	rest, ok = strings.CutPrefix(rest, "/invocation/")
	id, what, found := strings.Cut(rest, "/")
	switch {
	case !ok || !found || id == "":
		return callUnknown, ""
	case what == "response":
		return callResponse, id
	case what == "error":
		return callError, id
	}
	return callUnknown, ""
}

// call is a request of the function.
type call struct {
	conn     *talk.Conn
	done     chan bool // whether the connection serves another one
	kind     kind
	id       string
	header   http.Header
	body     []byte
	tooLarge bool
}

// answer answers the request with JSON.
func (c *call) answer(status int, body string) {
	c.write(status, http.Header{"Content-Type": {"application/json"}}, []byte(body))
}

func (c *call) refuse(status int, kind, message string) {
	b, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message}) // strings are always JSON
	c.answer(status, string(b))
}

// write answers the request. An error of the connection meets the one who reads next.
func (c *call) write(status int, h http.Header, body []byte) {
	_ = respond(c.conn, status, h, body)
	c.done <- true
}

// respond writes a response.
func respond(conn *talk.Conn, status int, h http.Header, body []byte) error {
	r := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return err
	}
	_, err := conn.Write(b.Bytes())
	return err
}

// failure says what the function has said of an error.
func (c *call) failure() string {
	var e struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if json.Unmarshal(c.body, &e) != nil || e.Message == "" && e.Type == "" {
		e.Message = strings.ToValidUTF8(string(c.body[:min(len(c.body), 256)]), "\uFFFD")
	}
	if e.Type == "" {
		e.Type = c.header.Get("Lambda-Runtime-Function-Error-Type")
	}
	if e.Type == "" {
		return e.Message
	}
	return e.Type + ": " + e.Message
}

// api serves the connections of a function during one run, until it is stopped.
type api struct {
	listener *talk.Listener
	max      int // bytes of a response
	calls    chan *call
	over     chan struct{}

	mu      sync.Mutex
	stopped bool
	conns   []*talk.Conn
}

// serve makes the API, and has its port served.
func (f *function) serve(s *talk.Side) (*api, error) {
	l, err := s.Listen(port)
	if err != nil {
		return nil, err
	}
	return &api{listener: l, max: f.config.MaxReply, calls: make(chan *call), over: make(chan struct{})}, nil
}

// accept serves the connections that come.
func (a *api) accept() {
	for {
		c, err := a.listener.AcceptConn()
		if err != nil { // the run has ended
			a.stop()
			return
		}
		a.mu.Lock()
		if a.stopped {
			a.listener.PutBack(c)
			a.mu.Unlock()
			return
		}
		a.conns = append(a.conns, c)
		a.mu.Unlock()
		go a.read(c)
	}
}

// stop ends the waiting for calls.
func (a *api) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopped {
		a.stopped = true
		close(a.over)
	}
}

// keep leaves the connection of a call that waits for an event, and closes all others.
func (a *api) keep(c *call) {
	c.done <- false
	a.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.conns {
		if other != c.conn {
			_ = other.Close() // it served its time
		}
	}
	a.listener.PutBack(c.conn)
}

// deliver answers the call that waits for an event since the snapshot.
func (a *api) deliver(h http.Header, payload []byte) error {
	conn, err := a.listener.AcceptConn()
	if err != nil {
		return err
	}
	if err := respond(conn, http.StatusOK, h, payload); err != nil {
		return err
	}
	go a.read(conn)
	go a.accept()
	return nil
}

// next waits for a call. io.EOF when there will be none.
func (a *api) next() (*call, error) {
	select {
	case c := <-a.calls:
		return c, nil
	case <-a.over:
		return nil, io.EOF
	}
}

// read reads the calls of a connection.
func (a *api) read(conn *talk.Conn) {
	limited := &io.LimitedReader{R: conn}
	in := bufio.NewReader(limited)
	for {
		limited.N = maxHead
		r, err := http.ReadRequest(in)
		if err != nil {
			_ = conn.Close() // the function sees that, and nobody else can do anything
			return
		}
		c := a.call(conn, r, limited)
		if c == nil {
			_ = conn.Close()
			return
		}
		select {
		case a.calls <- c:
		case <-a.over:
			return
		}
		if !<-c.done {
			return
		}
		if r.Close || c.tooLarge {
			_ = conn.Close()
			return
		}
	}
}

// call reads the rest of a request; nil when it ends early.
func (a *api) call(conn *talk.Conn, r *http.Request, limited *io.LimitedReader) *call {
	c := &call{conn: conn, done: make(chan bool, 1), header: r.Header}
	c.kind, c.id = route(r.Method, r.URL.Path)
	most := maxFailure
	if c.kind == callResponse {
		most = a.max
	}
	limited.N += int64(most) + maxHead // chunks have headers
	if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
	if len(body) > most {
		body, c.tooLarge = body[:most], true
	} else if err != nil {
		return nil
	}
	c.body = body
	// A streamed response tells of an error behind it.
	if t := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); c.kind == callResponse && t != "" {
		c.kind, c.header = callError, http.Header{"Lambda-Runtime-Function-Error-Type": {t}}
		if b, err := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body")); err == nil {
			c.body = b[:min(len(b), maxFailure)]
		}
	}
	return c
}

// traceID is the X-Ray trace of an event: that of its traceparent, or a new one.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
func traceID(e *event.Event) string {
	if v, ok := e.Extensions()["traceparent"].(string); ok {
		parts := strings.Split(v, "-")
		if len(parts) >= 4 && len(parts[1]) == 32 && len(parts[2]) == 16 {
			if flags, err := strconv.ParseUint(parts[3], 16, 8); err == nil {
				return fmt.Sprintf("Root=1-%s-%s;Parent=%s;Sampled=%d", parts[1][:8], parts[1][8:], parts[2], flags&1)
			}
		}
	}
	id := uuid.New()
	s := hex.EncodeToString(id[:])
	return "Root=1-" + s[:8] + "-" + s[8:] + ";Sampled=0"
}
