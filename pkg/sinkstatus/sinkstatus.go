// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package sinkstatus is what a receiver tells the controller about a sink: the
// JSON of its status endpoint, the handler that serves it and the client that
// asks for it.
//
// The controller holds no credential of a registry and the receiver may write
// no object: a receiver resolves and fetches images, and the controller asks it
// for the result and writes the status of the KontainSink.
//
// The endpoint is GET /sinks/NAMESPACE/NAME on the port of the Service that is
// named [PortName]. It answers 200 with a [Status], or 404 for a sink that the
// receiver does not know, or not yet. It holds no secret: a message may name an
// image, a registry and a node, and nothing that a Secret holds.
package sinkstatus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

const (
	// PortName is the name of the endpoint's port in Services and EndpointSlices.
	PortName = "http-status"
	// Port is the endpoint's TCP port; probes are answered there too.
	Port = 8081

	// MaxBytes is the size of a response that the client reads.
	MaxBytes = 64 << 10
	// MaxReasonBytes is the length of a reason.
	MaxReasonBytes = 64
	// MaxMessageBytes is where messages are cut: they become part of an object's
	// status, which every watcher receives.
	MaxMessageBytes = 1024
	// MaxImageBytes is the length of an image by digest.
	MaxImageBytes = 1024

	pathPrefix  = "/sinks/"
	contentType = "application/json"
)

// Reasons that controllers and users can rely on. Others may appear.
const (
	// ReasonNoKVM: the node has no /dev/kvm that works, or the pod has no access
	// to it, and the administrator did not allow ptrace in its place.
	ReasonNoKVM = "NoKVM"
	// ReasonPlatformNotAllowed: the sink asks for a platform that the
	// administrator did not allow.
	ReasonPlatformNotAllowed = "PlatformNotAllowed"
	// ReasonEgressNotAllowed: the sink wants connections to the network outside, which
	// the shared receiver makes for none.
	ReasonEgressNotAllowed = "EgressNotAllowed"
	// ReasonImagePullFailed: the image could not be resolved or fetched.
	ReasonImagePullFailed = "ImagePullFailed"
	// ReasonPending: it is still being worked on.
	ReasonPending = "Pending"
	// ReasonNotSettled: the receiver waits for the controller to say which image
	// the generation runs.
	ReasonNotSettled = "WaitingForController"
	// ReasonInvalid: the receiver cannot run this sink as it is written.
	ReasonInvalid = "Invalid"
)

// Platforms that a sink can run on.
const (
	PlatformKVM    = "KVM"
	PlatformPtrace = "Ptrace"
)

// Condition is one fact about a sink with what explains it.
type Condition struct {
	// Ready is whether the fact holds; nil while nobody knows, and when the
	// sink does not ask for it.
	Ready *bool `json:"ready"`
	// Reason is one word in CamelCase, empty when Ready is true.
	Reason string `json:"reason,omitempty"`
	// Message says what failed, why, and what to do.
	Message string `json:"message,omitempty"`
}

// Settled says whether the condition is known.
func (c Condition) Settled() bool { return c.Ready != nil }

// True says whether the fact is known to hold.
func (c Condition) True() bool { return c.Ready != nil && *c.Ready }

// False says whether the fact is known not to hold.
func (c Condition) False() bool { return c.Ready != nil && !*c.Ready }

// Status is what one receiver knows about one generation of a sink.
type Status struct {
	// Generation is the generation of the KontainSink that the rest is about:
	// the newest that the receiver has seen. Another one may still be serving.
	Generation int64 `json:"generation"`
	// Image is the image of that generation by digest, REPOSITORY@sha256:DIGEST;
	// empty until it is resolved.
	Image string `json:"image,omitempty"`
	// Ready says that events of that generation are taken and run.
	Ready bool `json:"ready"`
	// Reason is why Ready is false, one word in CamelCase.
	Reason string `json:"reason,omitempty"`
	// Message says why Ready is false and what to do.
	Message string `json:"message,omitempty"`
	// ImageResolved: Image is known, and was fetched.
	ImageResolved Condition `json:"imageResolved"`
	// Snapshot: events start from a snapshot. Nil where the sink wants none.
	Snapshot Condition `json:"snapshot"`
	// Isolated: the isolation that the sink asks for is the one in use.
	Isolated Condition `json:"isolated"`
	// Platform is what runs the guest's instructions, one of the Platform
	// constants; empty until it is known.
	Platform string `json:"platform,omitempty"`
	// Jail is the level of the worker processes' jail, 1 or 2; 0 until it is known.
	Jail int `json:"jail,omitempty"`
}

// ErrUnknownSink is the error for a sink that a receiver does not know, or not
// yet.
var ErrUnknownSink = errors.New("the receiver does not know the sink")

var (
	reasonShape = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)
	imageShape  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$`)
)

// Decode reads a Status. Who answers may be a receiver that was taken over, so
// it holds everything to its bounds: too much, an image that is not one by
// digest and a reason that no condition may have are errors, messages are cut
// and freed of control characters.
func Decode(data []byte) (*Status, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("status of more than %d bytes", MaxBytes)
	}
	var s Status
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("status is not the JSON that was expected: %w", err)
	}
	if s.Generation < 0 {
		return nil, fmt.Errorf("status of generation %d", s.Generation)
	}
	if s.Image != "" && (len(s.Image) > MaxImageBytes || !imageShape.MatchString(s.Image)) {
		return nil, errors.New("status with an image that is not REPOSITORY@sha256:DIGEST")
	}
	switch s.Platform {
	case "", PlatformKVM, PlatformPtrace:
	default:
		return nil, errors.New("status with an unknown platform")
	}
	if s.Jail < 0 || s.Jail > 2 {
		return nil, fmt.Errorf("status with jail level %d", s.Jail)
	}
	for _, f := range []struct{ reason, message *string }{
		{&s.Reason, &s.Message},
		{&s.ImageResolved.Reason, &s.ImageResolved.Message},
		{&s.Snapshot.Reason, &s.Snapshot.Message},
		{&s.Isolated.Reason, &s.Isolated.Message},
	} {
		if *f.reason != "" && (len(*f.reason) > MaxReasonBytes || !reasonShape.MatchString(*f.reason)) {
			return nil, errors.New("status with a reason that is no word")
		}
		*f.message = clean(*f.message)
	}
	return &s, nil
}

// clean returns a message as people can read it, in at most MaxMessageBytes.
func clean(message string) string {
	message = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	if len(message) > MaxMessageBytes {
		message = strings.ToValidUTF8(message[:MaxMessageBytes-len("…")], "") + "…"
	}
	return message
}

// Lookup returns what a receiver knows about a sink, or false.
type Lookup func(namespace, name string) (Status, bool)

// Handler serves GET /sinks/NAMESPACE/NAME.
func Handler(lookup Lookup) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathPrefix+"{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) {
		status, ok := lookup(r.PathValue("namespace"), r.PathValue("name"))
		if !ok {
			http.Error(w, "unknown sink", http.StatusNotFound)
			return
		}
		body, err := json.Marshal(status)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body) // The controller is gone when this fails, and asks again.
	})
	return mux
}

// Client asks receivers. It follows no redirect and uses no proxy: the address
// that it is given is the one it talks to.
type Client struct {
	http *http.Client
}

// NewClient returns a client whose requests end after timeout.
func NewClient(timeout time.Duration) *Client {
	return &Client{http: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: timeout}).DialContext,
			MaxIdleConnsPerHost:   8,
			MaxConnsPerHost:       32,
			IdleConnTimeout:       30 * time.Second,
			ResponseHeaderTimeout: timeout,
			// A header may be as large as the body, and no larger.
			MaxResponseHeaderBytes: MaxBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Get asks the receiver at HOST:PORT about a sink. The error matches
// [ErrUnknownSink] when the receiver does not know it.
func (c *Client) Get(ctx context.Context, hostPort, namespace, name string) (*Status, error) {
	u := url.URL{Scheme: "http", Host: hostPort, Path: pathPrefix + namespace + "/" + name}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask receiver: %w", err)
	}
	req.Header.Set("Accept", contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask receiver: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // Nothing was written.
	var body bytes.Buffer
	if _, err := io.Copy(&body, io.LimitReader(resp.Body, MaxBytes+1)); err != nil {
		return nil, fmt.Errorf("ask receiver %s: %w", hostPort, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("ask receiver %s: %w", hostPort, ErrUnknownSink)
	default:
		return nil, fmt.Errorf("ask receiver %s: answered with status %d", hostPort, resp.StatusCode)
	}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != contentType {
		return nil, fmt.Errorf("ask receiver %s: answered with something that is not %s", hostPort, contentType)
	}
	status, err := Decode(body.Bytes())
	if err != nil {
		return nil, fmt.Errorf("ask receiver %s: %w", hostPort, err)
	}
	return status, nil
}
