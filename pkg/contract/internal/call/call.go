// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package call makes HTTP requests to a server inside a virtual machine. What that
// answers is not trusted: every part of it is bounded.
package call

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/http2"

	"kontain.dev/eventing/vmexec/talk"
)

const (
	// maxHead is the most bytes of a status line and headers, interim responses and
	// chunk headers included: that of net/http's client is ten times as much.
	maxHead = 1 << 20
	// maxInterim is how many interim responses (1xx) are read before the final one.
	maxInterim = 16
)

// Response is what a server answered.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Reusable: another request may follow on the connection.
	Reusable bool
}

// TooLargeError says that an answer is longer than it may be.
type TooLargeError struct {
	What string
	Most int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the program's HTTP response has %s of more than the %d bytes it may", e.What, e.Most)
}

// NoHTTPError says that what came is no HTTP response.
type NoHTTPError struct{ Err error }

func (e *NoHTTPError) Error() string {
	return "the program did not answer in HTTP: " + e.Err.Error()
}

func (e *NoHTTPError) Unwrap() error { return e.Err }

// errHTTP2 says that the server speaks HTTP/2 alone.
var errHTTP2 = errors.New("the server speaks HTTP/2")

// Do sends a request and returns the whole response, with a body of at most maxBody
// bytes. It sends with HTTP/1.1. The error is a *TooLargeError, a *NoHTTPError, or
// that of the connection.
func Do(conn *talk.Conn, r *http.Request, maxBody int) (*Response, error) {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, fmt.Errorf("make an HTTP request: %w", err)
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		return nil, err
	}
	limited := &limitedReader{r: conn, left: maxHead}
	in := bufio.NewReader(limited)
	for range maxInterim {
		if first, err := in.Peek(frameHeader); isHTTP2(first) {
			return nil, errHTTP2
		} else if err != nil && len(first) == 0 {
			return nil, noAnswer(err)
		}
		resp, err := http.ReadResponse(in, r)
		if err != nil {
			return nil, explain(err, limited)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode >= 200 {
			return finish(resp, limited, maxBody)
		}
	}
	return nil, &NoHTTPError{fmt.Errorf("more than %d interim responses", maxInterim)}
}

// finish reads the body.
func finish(resp *http.Response, limited *limitedReader, maxBody int) (*Response, error) {
	// Chunks have headers, and trailers may follow.
	limited.left += int64(maxBody) + 1
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(maxBody)+1))
	if len(body) > maxBody {
		return nil, &TooLargeError{"a body", maxBody}
	}
	if err != nil {
		return nil, explain(err, limited)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body, Reusable: !resp.Close}, nil
}

// noAnswer says why not one byte came.
func noAnswer(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the program closed the connection without an answer")
	}
	return err
}

// explain finds out what is behind an error of reading a response.
func explain(err error, l *limitedReader) error {
	switch {
	case l.over:
		return &TooLargeError{"headers", maxHead}
	case l.err != nil && !errors.Is(l.err, io.EOF):
		return l.err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &NoHTTPError{errors.New("the response is cut off: the program closed the connection before its end")}
	}
	return &NoHTTPError{err}
}

// limitedReader reads at most left bytes.
type limitedReader struct {
	r    io.Reader
	left int64
	over bool
	err  error // of r
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		l.over = true
		return 0, errors.New("too long")
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err != nil {
		l.err = err
	}
	return n, err
}

// frameHeader is the length of the header of a frame of HTTP/2; RFC 9113, section 4.1.
const frameHeader = 9

// isHTTP2 says whether a server's first bytes are a SETTINGS frame, with which HTTP/2
// begins; RFC 9113, sections 3.4 and 6.5.
func isHTTP2(b []byte) bool {
	return len(b) == frameHeader && b[0] == 0 && b[3] == byte(http2.FrameSettings) && bytes.Equal(b[5:], []byte{0, 0, 0, 0})
}

// IsHTTP2 says whether an error of Do means that the server speaks HTTP/2 alone, and
// has not taken the request.
func IsHTTP2(err error) bool { return errors.Is(err, errHTTP2) }

// DoHTTP2 is Do by HTTP/2 without TLS, by prior knowledge (h2c).
func DoHTTP2(ctx context.Context, conn *talk.Conn, r *http.Request, maxBody int) (*Response, error) {
	t := &http2.Transport{
		AllowHTTP: true, MaxHeaderListSize: maxHead, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return conn, nil },
	}
	c, err := t.NewClientConn(conn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	resp, err := c.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, &NoHTTPError{err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(maxBody)+1))
	if len(body) > maxBody {
		return nil, &TooLargeError{"a body", maxBody}
	}
	if err != nil {
		return nil, &NoHTTPError{err}
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// FirstLine returns the beginning of a body that says why something failed.
func FirstLine(body []byte) string {
	const most = 256
	s := strings.ToValidUTF8(string(body[:min(len(body), most)]), "\uFFFD")
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}

// Listens waits until the program listens on a port, and leaves a connection behind for
// the event of each clone. named completes an error: "… on port 8080, which NAMED".
func Listens(side *talk.Side, port uint16, named string) error {
	c, err := side.Await(port)
	if err != nil {
		return fmt.Errorf("no program listens on port %d, which %s", port, named)
	}
	if err := c.Close(); err != nil {
		return err
	}
	return Prepare(side, port)
}

// Prepare leaves a connection behind for the event of each clone.
func Prepare(side *talk.Side, port uint16) error {
	if err := side.Prepare(port); err != nil {
		return fmt.Errorf("the program does not listen on port %d any more: %w", port, err)
	}
	return nil
}
