// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package receiver is the HTTP side of sinks: a CloudEvent that is POSTed to
// /NAMESPACE/NAME goes through that sink, and the response is its reply.
//
// It behaves as the Knative Eventing data plane asks of a recipient:
// https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md
// OPTIONS answers the handshake of CloudEvents web hooks:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md
package receiver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
)

// Defaults of Options.
const (
	DefaultMaxBody     = 1 << 20
	DefaultMaxBatch    = 1000
	DefaultMaxBuffered = 256 << 20
	DefaultBodyTimeout = 30 * time.Second

	// writeTimeout is the longest time that a sender may take to read the
	// response.
	writeTimeout = 30 * time.Second
)

// Dispatcher takes events through a sink.
type Dispatcher interface {
	// Has says whether there is a sink of that name.
	Has(namespace, name string) bool
	// Dispatch returns the replies to events, or why they were not accepted.
	// When ctx is done nobody waits for the answer any more.
	Dispatch(ctx context.Context, namespace, name string, events []*event.Event) ([]*event.Event, *reply.Failure)
}

// Authorizer decides whose events a sink takes. A failure tells the sender no more than
// that: what else there is to say belongs into the log.
type Authorizer interface {
	// Sender decides by who sent a request, before its body is read.
	Sender(r *http.Request, namespace, name string) *reply.Failure
	// Events decides by the events of a request that Sender let pass.
	Events(r *http.Request, namespace, name string, events []*event.Event) *reply.Failure
}

// Options bound what is taken. A zero field means its default.
type Options struct {
	// MaxBody is the most bytes of a request body; larger ones get 413.
	MaxBody int64
	// MaxBatch is the most events of a batch; larger ones get 413.
	MaxBatch int
	// MaxBuffered is the most bytes of bodies that all requests hold in memory
	// together, waiting ones included; what comes beyond gets 503.
	MaxBuffered int64
	// BodyTimeout is the longest time that a sender may take to send a body;
	// slower ones get 408.
	BodyTimeout time.Duration
	// WebhookOrigins are the origins that the handshake of web hooks consents
	// to; * is any. Nil means any: events themselves need no consent.
	WebhookOrigins []string
	// Authorizer, when set, decides whose events are taken. Without it everybody's are.
	Authorizer Authorizer
	// Refused, when set, is told of requests whose events no sink was given, and of the
	// sink that they were for; its name is empty where there is no such sink.
	Refused func(namespace, name string, f *reply.Failure)
	// Tracer, when set, has a span for each request to a sink, as part of the trace of the
	// header traceparent.
	Tracer trace.Tracer
	// Logger gets what nobody else learns of.
	Logger *slog.Logger
}

// Receiver is the http.Handler of all sinks.
type Receiver struct {
	dispatcher Dispatcher
	options    Options
	buffered   atomic.Int64 // bytes of bodies in memory
}

// New makes a Receiver.
func New(d Dispatcher, o Options) *Receiver {
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = DefaultMaxBatch
	}
	if o.MaxBuffered <= 0 {
		o.MaxBuffered = DefaultMaxBuffered
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = DefaultBodyTimeout
	}
	if o.WebhookOrigins == nil {
		o.WebhookOrigins = []string{"*"}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Receiver{dispatcher: d, options: o}
}

// ServeHTTP answers one request.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wrote := &writeTracker{ResponseWriter: w}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			rc.options.Logger.Error("panic", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if !wrote.began {
				writeFailure(w, reply.Failf(http.StatusInternalServerError, reply.Internal, "internal error in the receiver; its log has the details"))
				return
			}
		}
		panic(http.ErrAbortHandler)
	}()
	// The write deadline is that of the request before on this connection. The
	// read deadline also ends the wait for bodies that are refused unread.
	if err := setDeadlines(w, time.Now().Add(rc.options.BodyTimeout), time.Time{}); err != nil {
		writeFailure(w, reply.Failf(http.StatusInternalServerError, reply.Internal, "no deadline can be set: %v", err))
		return
	}
	rc.serve(wrote, r)
}

// setDeadlines sets until when the rest of a request may come in and its
// response go out; the zero time is no deadline.
func setDeadlines(w http.ResponseWriter, read, write time.Time) error {
	control := http.NewResponseController(w)
	err := errors.Join(control.SetReadDeadline(read), control.SetWriteDeadline(write))
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // there is no connection that could be held
	}
	return err
}

// setWriteDeadline bounds how long a sender may hold the response.
func setWriteDeadline(w http.ResponseWriter) {
	// An error means that the connection is gone, which the write will find.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
}

// writeTracker notes whether a response has begun.
type writeTracker struct {
	http.ResponseWriter
	began bool
}

func (w *writeTracker) WriteHeader(status int) {
	w.began = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writeTracker) Write(b []byte) (int, error) {
	w.began = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *writeTracker) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (rc *Receiver) serve(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		w.Header().Set("X-Request-Id", id)
	}
	if tp, ok := nextHop(r.Header.Get("Traceparent")); ok {
		w.Header().Set("Traceparent", tp)
	}
	namespace, name, ok := sinkOf(r.URL.Path)
	if !ok || !rc.dispatcher.Has(namespace, name) {
		const most = 200
		path := r.URL.Path
		if len(path) > most {
			path = path[:most] + "…"
		}
		f := reply.Failf(http.StatusNotFound, reply.SinkNotFound, "there is no sink at %q; the path of a sink is /NAMESPACE/NAME", path)
		rc.refused("", "", f)
		writeFailure(w, f)
		return
	}
	switch r.Method {
	case http.MethodPost:
		r, end := rc.trace(w, r, namespace, name)
		replies, mode, f := rc.take(w, r, namespace, name)
		end(f)
		if f == nil {
			f = writeReplies(w, mode, replies)
		}
		if f == nil {
			return
		}
		if f.Status == reply.StatusClientGone {
			// Nobody reads a response; in particular it must not be a 200.
			panic(http.ErrAbortHandler)
		}
		writeFailure(w, f)
	case http.MethodOptions:
		rc.handshake(w, r)
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		f := reply.Failf(http.StatusMethodNotAllowed, reply.MethodNotAllowed, "the method %s is not for sinks; POST a CloudEvent", r.Method)
		rc.refused(namespace, name, f)
		writeFailure(w, f)
	}
}

// trace begins the span of a request, of which the response tells, and returns the request
// with it and what ends it.
func (rc *Receiver) trace(w http.ResponseWriter, r *http.Request, namespace, name string) (*http.Request, func(*reply.Failure)) {
	if rc.options.Tracer == nil {
		return r, func(*reply.Failure) {}
	}
	var hop propagation.TraceContext
	ctx, span := rc.options.Tracer.Start(hop.Extract(r.Context(), propagation.HeaderCarrier(r.Header)), "receive",
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("namespace", namespace), attribute.String("sink", name)))
	if span.IsRecording() {
		hop.Inject(ctx, propagation.HeaderCarrier(w.Header()))
	}
	return r.WithContext(ctx), func(f *reply.Failure) {
		if f != nil {
			span.SetAttributes(attribute.Int("http.response.status_code", f.Status))
			span.SetStatus(codes.Error, string(f.Reason))
		}
		span.End()
	}
}

// sinkOf splits /NAMESPACE/NAME.
func sinkOf(path string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, "/")
	return namespace, name, ok && namespace != "" && name != "" && !strings.Contains(name, "/")
}

func (rc *Receiver) refused(namespace, name string, f *reply.Failure) {
	if rc.options.Refused != nil {
		rc.options.Refused(namespace, name, f)
	}
}

// take reads the events of a request and has them dispatched.
func (rc *Receiver) take(w http.ResponseWriter, r *http.Request, namespace, name string) ([]*event.Event, event.Mode, *reply.Failure) {
	var held budgetReader // until the events are done
	defer held.release()
	events, mode, f := rc.events(w, r, namespace, name, &held)
	if f != nil {
		rc.refused(namespace, name, f)
		return nil, 0, f
	}
	replies, f := rc.dispatcher.Dispatch(r.Context(), namespace, name, events)
	return replies, mode, f
}

// events reads the events of a request that may be given to the sink.
func (rc *Receiver) events(w http.ResponseWriter, r *http.Request, namespace, name string, held *budgetReader) ([]*event.Event, event.Mode, *reply.Failure) {
	// What is no event is refused before its body is read.
	if _, err := event.DetectMode(r.Header); err != nil {
		return nil, 0, reply.FromError(err)
	}
	if a := rc.options.Authorizer; a != nil {
		if f := a.Sender(r, namespace, name); f != nil {
			w.Header().Set("Connection", "close") // rather than reading what they send
			return nil, 0, f
		}
	}
	*held = budgetReader{r: http.MaxBytesReader(w, r.Body, rc.options.MaxBody), used: &rc.buffered, most: rc.options.MaxBuffered}
	body, f := rc.readBody(w, r, held)
	if f != nil {
		return nil, 0, f
	}
	events, mode, err := event.Decode(r.Header, body, rc.options.MaxBatch)
	if err != nil {
		return nil, 0, reply.FromError(err)
	}
	if a := rc.options.Authorizer; a != nil {
		if f := a.Events(r, namespace, name, events); f != nil {
			return nil, 0, f
		}
	}
	return events, mode, nil
}

// budgetReader counts what is read against a limit of all requests together.
type budgetReader struct {
	r    io.Reader
	used *atomic.Int64
	most int64
	held int64
}

var errOverBudget = errors.New("too many bytes are held in memory")

func (b *budgetReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.held += int64(n)
	if b.used.Add(int64(n)) > b.most {
		return n, errOverBudget
	}
	return n, err
}

func (b *budgetReader) release() {
	if b.used != nil {
		b.used.Add(-b.held)
	}
}

func (rc *Receiver) readBody(w http.ResponseWriter, r *http.Request, from io.Reader) ([]byte, *reply.Failure) {
	limit := rc.options.MaxBody
	tooLarge := reply.Failf(http.StatusRequestEntityTooLarge, reply.TooLarge, "the body of the request is larger than %d bytes; send large content by reference", limit)
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // rather than reading all of it
		return nil, tooLarge
	}
	// The buffer grows with what arrives, not with what is announced.
	var buf bytes.Buffer
	_, err := buf.ReadFrom(from)
	if err == nil {
		// From here on only the sender's leaving ends the connection.
		if err := setDeadlines(w, time.Time{}, time.Time{}); err != nil {
			return nil, reply.Failf(http.StatusInternalServerError, reply.Internal, "the deadline cannot be lifted: %v", err)
		}
		return buf.Bytes(), nil
	}
	w.Header().Set("Connection", "close")
	var mbe *http.MaxBytesError
	switch {
	case errors.As(err, &mbe):
		return nil, tooLarge
	case errors.Is(err, errOverBudget):
		return nil, reply.Failf(http.StatusServiceUnavailable, reply.Overloaded, "the receiver holds more than %d bytes of events in memory", rc.options.MaxBuffered)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, reply.Failf(http.StatusRequestTimeout, reply.BodyTimeout, "the body of the request did not arrive within %v; %d bytes did", rc.options.BodyTimeout, buf.Len())
	case r.Context().Err() != nil:
		return nil, reply.Failf(reply.StatusClientGone, reply.ClientGone, "the sender went away")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, reply.Failf(http.StatusBadRequest, reply.MalformedEvent, "the body of the request ended early, after %d bytes", buf.Len())
	}
	return nil, reply.Failf(http.StatusBadRequest, reply.MalformedEvent, "the body of the request cannot be read: %v", err)
}

// writeReplies answers events that were accepted. The failure is nil once the
// response has begun.
func writeReplies(w http.ResponseWriter, mode event.Mode, replies []*event.Event) *reply.Failure {
	var body []byte
	var err error
	h := http.Header{}
	switch {
	case len(replies) == 0:
	case mode == event.Batch:
		// Only who sent a batch gets one.
		h.Set("Content-Type", event.MediaTypeBatchJSON)
		body, err = event.EncodeBatch(replies)
	default:
		body, err = event.EncodeBinary(replies[0], h)
	}
	if err != nil {
		return reply.Failf(http.StatusBadGateway, reply.BadReply, "the reply cannot be sent: %v", err)
	}
	for k, v := range h {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	setWriteDeadline(w)
	w.WriteHeader(http.StatusOK)
	// An error here means that the sender is gone: at-least-once delivery is
	// its job.
	_, _ = w.Write(body)
	return nil
}

func writeFailure(w http.ResponseWriter, f *reply.Failure) {
	body := f.Body()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	setWriteDeadline(w)
	w.WriteHeader(f.Status)
	// The sender may be gone.
	_, _ = w.Write(body) //nolint:gosec // It is JSON, says so, and nosniff holds readers to that.
}

// handshake answers OPTIONS. Consent is the header WebHook-Allowed-Origin and
// nothing else; the status is 200 either way. The URL of
// WebHook-Request-Callback is never called: consent that can be given is given
// at once, and a receiver that calls any URL it is told is a tool for others.
func (rc *Receiver) handshake(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", http.MethodPost)
	h.Set("Content-Length", "0")
	if origin := r.Header.Get("WebHook-Request-Origin"); origin != "" && rc.consents(origin) {
		h.Set("WebHook-Allowed-Origin", origin)
		if r.Header.Get("WebHook-Request-Rate") != "" {
			h.Set("WebHook-Allowed-Rate", "*") // the queue answers 429 when it must
		}
	}
	w.WriteHeader(http.StatusOK)
}

func (rc *Receiver) consents(origin string) bool {
	return slices.ContainsFunc(rc.options.WebhookOrigins, func(o string) bool {
		return o == "*" || strings.EqualFold(o, origin)
	})
}

// nextHop returns the traceparent header of the response to a request with
// that header: the same trace, a span of its own. The traceparent attribute of
// events is another thing and is left alone.
// https://www.w3.org/TR/trace-context/#traceparent-header
func nextHop(in string) (string, bool) {
	parts := strings.Split(in, "-")
	if len(parts) != 4 || parts[0] != "00" || !isHex(parts[1], 32) || !isHex(parts[2], 16) || !isHex(parts[3], 2) {
		return "", false
	}
	var span [8]byte
	_, _ = rand.Read(span[:]) // never fails: crypto/rand documents it
	parts[2] = hex.EncodeToString(span[:])
	return strings.Join(parts, "-"), true
}

// isHex says whether s is n lower-case hexadecimal digits that are not all 0.
// Flags may be all 0.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	zero := true
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zero = zero && s[i] == '0'
	}
	return !zero || n == 2
}
