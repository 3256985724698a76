// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package deliver sends events to a sink by the rules of Knative: what is tried again
// and when, what is given up, and what then goes to a dead letter sink.
//
// https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md
// https://github.com/knative/specs/blob/main/specs/eventing/control-plane.md
package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"kontain.dev/eventing/pkg/event"
)

// Defaults and bounds of a Policy.
const (
	DefaultTimeout = 30 * time.Second
	DefaultDelay   = 200 * time.Millisecond
	// MaxDelay is the longest time between two attempts.
	MaxDelay = time.Minute
)

// mostBody is how much of an answer is read.
const mostBody = 64 << 10

// Bounds of what the extension knativeerrordata carries: characters of base64.
const mostErrorData = 1024

// Target is where events go.
type Target struct {
	URL string
	// CACerts are further certificates, in the PEM format, that a sink's may be signed by.
	CACerts []byte
	// Token returns what proves who sends, for the header Authorization; nil: nothing
	// does. It is asked for each attempt, because tokens expire.
	Token func() (string, error)
}

// Policy says how often an event is tried.
type Policy struct {
	// Retry is how often an event is tried again after its first attempt, when that
	// may help. Forever is without end: the events behind it wait.
	Retry int
	// Delay is what each wait is reckoned from; 0: DefaultDelay.
	Delay time.Duration
	// Linear makes the waits 0, 1, 2, … times Delay; otherwise they are 1, 2, 4, … times it.
	Linear bool
	// RetryAfterMax is the longest wait that an answer may ask for with Retry-After; 0:
	// what it asks for is not heard.
	RetryAfterMax time.Duration
	// Timeout is that of an attempt; 0: DefaultTimeout.
	Timeout time.Duration
	// DeadLetter gets the events that were given up; nil: they are lost, and the error says so.
	DeadLetter *Target
}

// Forever is a Policy.Retry without end.
const Forever = -1

// wait returns how long the wait before attempt n (from 1) is.
func (p *Policy) wait(n int, retryAfter time.Duration) time.Duration {
	delay := p.Delay
	if delay <= 0 {
		delay = DefaultDelay
	}
	var d time.Duration
	switch {
	case p.Linear:
		d = time.Duration(n-1) * delay
		if n > 1 && d/time.Duration(n-1) != delay {
			d = MaxDelay
		}
	case n > 30:
		d = MaxDelay
	default:
		d = delay << (n - 1)
	}
	if d < 0 || d > MaxDelay {
		d = MaxDelay
	}
	return max(d, min(retryAfter, p.RetryAfterMax))
}

// A RefusedError says that an event was given up, and that no dead letter sink has it.
type RefusedError struct {
	URL      string
	Status   int // of the last answer; 0: there was none
	Attempts int
	Reason   string
	Err      error // of the dead letter sink, when there is one
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("%s did not take the event: %s", e.URL, e.Reason)
	if e.Attempts > 1 {
		s += fmt.Sprintf(" (%d attempts)", e.Attempts)
	}
	if e.Err != nil {
		s += "; nor did its dead letter sink: " + e.Err.Error()
	}
	return s
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Temporary says whether the sink might have taken the event later: it did not answer, or
// with what may change.
func (e *RefusedError) Temporary() bool { return again(e.Status) }

// Sender sends events to one sink. Its methods may be called from several goroutines.
type Sender struct {
	policy Policy
	sink   *endpoint
	dead   *endpoint // nil: there is none
	// Failed, when set, hears of each attempt that will be followed by another.
	Failed func(err error, wait time.Duration)
}

type endpoint struct {
	url    string
	token  func() (string, error)
	client *http.Client
}

// New returns a Sender. The error says what of a target is wrong.
func New(t Target, p Policy) (*Sender, error) {
	if p.Timeout <= 0 {
		p.Timeout = DefaultTimeout
	}
	s := &Sender{policy: p}
	var err error
	if s.sink, err = newEndpoint(t, p.Timeout); err != nil {
		return nil, fmt.Errorf("the sink: %w", err)
	}
	if p.DeadLetter != nil {
		if s.dead, err = newEndpoint(*p.DeadLetter, p.Timeout); err != nil {
			return nil, fmt.Errorf("the dead letter sink: %w", err)
		}
	}
	return s, nil
}

func newEndpoint(t Target, timeout time.Duration) (*endpoint, error) {
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an absolute URL with http or https", t.URL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if len(t.CACerts) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(t.CACerts) {
			return nil, errors.New("its CA certificates are no certificates in the PEM format")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client := &http.Client{
		Transport: transport, Timeout: timeout,
		// A redirect is a failure to Knative: the event may be for this sink alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &endpoint{t.URL, t.Token, client}, nil
}

// Close drops the connections.
func (s *Sender) Close() {
	s.sink.client.CloseIdleConnections()
	if s.dead != nil {
		s.dead.client.CloseIdleConnections()
	}
}

// answer is what came of an attempt.
type answer struct {
	status     int // 0: there was none
	body       []byte
	retryAfter time.Duration
	err        error
}

func (a *answer) reason() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("it answered %d %s: %.200q", a.status, http.StatusText(a.status), a.body)
}

func (a *answer) taken() bool { return a.err == nil && a.status >= 200 && a.status < 300 }

// again says whether another attempt may help. Some of these are answers of a sink that
// is just being made ready or changed.
func (a *answer) again() bool { return again(a.status) }

func again(status int) bool {
	switch {
	case status == 0, status >= 500:
		return true
	}
	switch status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return false
}

// Send sends an event and returns when the sink, or the dead letter sink, has taken it.
// The error is a *RefusedError when neither did and trying again is no use or not
// wanted, or that of ctx.
func (s *Sender) Send(ctx context.Context, e *event.Event) error {
	a, attempts, err := s.try(ctx, s.sink, e)
	if err != nil || a.taken() {
		return err
	}
	refused := &RefusedError{URL: s.sink.url, Status: a.status, Attempts: attempts, Reason: a.reason()}
	if s.dead == nil {
		return refused
	}
	dead := e.Clone()
	encoded := base64.StdEncoding.EncodeToString(a.body)
	dead.SetExtension("knativeerrordest", s.sink.url)
	if a.status != 0 {
		dead.SetExtension("knativeerrorcode", a.status)
	}
	if encoded != "" {
		dead.SetExtension("knativeerrordata", encoded[:min(len(encoded), mostErrorData)])
	}
	last, attempts, err := s.try(ctx, s.dead, &dead)
	if err != nil || last.taken() {
		return err
	}
	refused.Err = &RefusedError{URL: s.dead.url, Status: last.status, Attempts: attempts, Reason: last.reason()}
	return refused
}

// try makes attempts until one is taken or another is no use. The error is that of ctx.
func (s *Sender) try(ctx context.Context, to *endpoint, e *event.Event) (*answer, int, error) {
	for n := 1; ; n++ {
		a := to.post(ctx, e)
		if err := ctx.Err(); err != nil && !a.taken() {
			return nil, n, err
		}
		if a.taken() || !a.again() || s.policy.Retry != Forever && n > s.policy.Retry {
			return a, n, nil
		}
		wait := s.policy.wait(n, a.retryAfter)
		if s.Failed != nil {
			s.Failed(&RefusedError{URL: to.url, Status: a.status, Attempts: n, Reason: a.reason()}, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, n, ctx.Err()
		}
	}
}

// post makes one attempt.
func (t *endpoint) post(ctx context.Context, e *event.Event) *answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, nil)
	if err != nil {
		return &answer{err: err}
	}
	body, err := event.EncodeBinary(e, r.Header)
	if err != nil {
		// No other attempt could send it either.
		return &answer{status: http.StatusBadRequest, body: []byte(err.Error())}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	if t.token != nil {
		token, err := t.token()
		if err != nil {
			return &answer{err: fmt.Errorf("no token to send with: %w", err)}
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := t.client.Do(r)
	if err != nil {
		return &answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	a := &answer{status: resp.StatusCode}
	// What is left of a large answer is not waited for; its connection is not used again.
	a.body, _ = io.ReadAll(io.LimitReader(resp.Body, mostBody))
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return a
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return time.Duration(max(0, n)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
