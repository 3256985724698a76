// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/pkg/configmap"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	listers "kontain.dev/eventing/pkg/client/listers/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
)

// Verifier checks the token of a request and the EventPolicies of its sink, as the
// Verifier of Knative Eventing's package auth does. On an error it has written a status.
type Verifier interface {
	VerifyRequest(ctx context.Context, features feature.Flags, audience *string, namespace string,
		policies []v1.AppliedEventPolicyRef, r *http.Request, w http.ResponseWriter) error
	// IsReady says whether it knows who issues tokens.
	IsReady() bool
}

// Auth lets the senders through that the feature authentication-oidc and the
// EventPolicies of a sink allow. It is a receiver.Authorizer.
type Auth struct {
	Verifier Verifier
	Features func() feature.Flags
	Sinks    listers.KontainSinkLister
	Logger   *slog.Logger
}

// Sender checks the token of a request and, where no policy applies to the sink, whether
// its subject may send to all.
func (a *Auth) Sender(r *http.Request, namespace, name string) *reply.Failure {
	features := a.Features()
	if !features.IsOIDCAuthentication() {
		return nil
	}
	if !a.Verifier.IsReady() {
		// To refuse for good what could not be checked would lose events.
		return reply.Failf(http.StatusServiceUnavailable, reply.NotReady, "tokens cannot be checked yet: the receiver does not know the cluster's issuer")
	}
	policies, f := a.policies(namespace, name)
	if f != nil {
		return f
	}
	if len(policies) > 0 {
		// Policies are asked when the event is known; until then it is the token alone.
		features = maps.Clone(features)
		features[feature.AuthorizationDefaultMode] = feature.AuthorizationAllowAll
	}
	return a.verify(r, features, namespace, name, nil)
}

// Events checks whether policies allow the events of a request.
func (a *Auth) Events(r *http.Request, namespace, name string, events []*event.Event) *reply.Failure {
	features := a.Features()
	if !features.IsOIDCAuthentication() {
		return nil
	}
	policies, f := a.policies(namespace, name)
	if f != nil || len(policies) == 0 {
		return f
	}
	for _, e := range events {
		header := http.Header{"Authorization": r.Header["Authorization"]}
		body, err := event.EncodeBinary(e, header)
		if err != nil {
			return reply.FromError(err)
		}
		if header["Content-Type"] == nil {
			delete(header, "Content-Type") // the SDK expects a value under each name
		}
		// The verifier reads an event from a request, so each gets one, of what was read
		// within the receiver's limits.
		one := r.WithContext(r.Context())
		one.Header, one.Body, one.ContentLength = header, io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if f := a.verify(one, features, namespace, name, policies); f != nil {
			return f
		}
	}
	return nil
}

// policies returns the policies that apply to a sink.
func (a *Auth) policies(namespace, name string) ([]v1.AppliedEventPolicyRef, *reply.Failure) {
	k, err := a.Sinks.KontainSinks(namespace).Get(name)
	if err != nil {
		// It was deleted this moment.
		return nil, reply.Failf(http.StatusNotFound, reply.SinkNotFound, "there is no sink %s/%s", namespace, name)
	}
	refs := make([]v1.AppliedEventPolicyRef, 0, len(k.Status.Policies))
	for _, p := range k.Status.Policies {
		refs = append(refs, v1.AppliedEventPolicyRef{APIVersion: p.APIVersion, Name: p.Name})
	}
	return refs, nil
}

func (a *Auth) verify(r *http.Request, features feature.Flags, namespace, name string, policies []v1.AppliedEventPolicyRef) *reply.Failure {
	// The audience is a matter of the name alone; the status may not have it yet.
	audience := auth.GetAudienceDirect(v1alpha1.SchemeGroupVersion.WithKind("KontainSink"), namespace, name)
	w := &statusWriter{}
	err := a.Verifier.VerifyRequest(r.Context(), features, &audience, namespace, policies, r, w)
	if err == nil {
		return nil
	}
	a.Logger.Info("sender refused", "sink", namespace+"/"+name, "status", w.status, "reason", err)
	switch w.status {
	case http.StatusUnauthorized:
		return reply.Failf(w.status, reply.Unauthorized, "a valid token for the audience %s is needed in the header Authorization", audience)
	case http.StatusForbidden:
		return reply.Failf(w.status, reply.Forbidden, "the subject of the token may not send this event to the sink %s/%s; an EventPolicy allows it", namespace, name)
	}
	return reply.Failf(http.StatusInternalServerError, reply.Internal, "the sender could not be checked; the receiver's log says why")
}

// statusWriter takes the status of an answer that is given another way.
type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (w *statusWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }

// Replay is a watcher of ConfigMaps that can tell of one once more: Knative's Verifier
// looks for the issuer of tokens when the features change, and only then.
type Replay struct {
	configmap.Watcher
	// Name is the ConfigMap that is told of again.
	Name string

	mu        sync.Mutex
	last      *corev1.ConfigMap
	observers []configmap.Observer
}

// Watch watches a ConfigMap.
func (w *Replay) Watch(name string, observers ...configmap.Observer) {
	if name != w.Name {
		w.Watcher.Watch(name, observers...)
		return
	}
	w.mu.Lock()
	w.observers = append(w.observers, observers...)
	w.mu.Unlock()
	w.Watcher.Watch(name, append([]configmap.Observer{func(cm *corev1.ConfigMap) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.last = cm
	}}, observers...)...)
}

// Repeat tells of the ConfigMap again, each interval while needed says so, until ctx is
// done.
func (w *Replay) Repeat(ctx context.Context, interval time.Duration, needed func() bool) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		last, observers := w.last, w.observers
		w.mu.Unlock()
		if last == nil || !needed() {
			continue
		}
		for _, observe := range observers {
			observe(last)
		}
	}
}
