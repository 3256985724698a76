// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/bridge/opencensus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	o11yconfigmap "knative.dev/eventing/pkg/observability/configmap"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/observability/tracing"

	"kontain.dev/eventing/pkg/observability"
	"kontain.dev/eventing/pkg/telemetry"
)

// flushTime is how long metrics and spans may take to be sent at the end.
const flushTime = 5 * time.Second

// destinations are where metrics and spans go.
type destinations struct {
	metrics *observability.Metrics
	tracer  trace.Tracer // nil: no spans
	close   func() error
}

// observabilityConfig returns the ConfigMap config-observability.
func observabilityConfig(ctx context.Context, kube kubernetes.Interface, configs configmap.Watcher, dedicated bool) (*corev1.ConfigMap, error) {
	none := &corev1.ConfigMap{}
	if dedicated {
		configs.Watch(o11yconfigmap.Name(), func(cm *corev1.ConfigMap) { none = cm })
		return none, nil
	}
	return telemetry.ConfigMap(ctx, kube)
}

// newTelemetry sends metrics and spans where the ConfigMap says, as other parts of
// Knative do, and has metrics for Prometheus in any case: receivers are scaled by them.
func newTelemetry(ctx context.Context, cm *corev1.ConfigMap) (*destinations, error) {
	o, spansTo, err := telemetry.Options(ctx, cm, component)
	if err != nil {
		return nil, err
	}
	m, err := observability.New(o)
	if err != nil {
		return nil, err
	}
	spans, err := tracing.NewTracerProvider(ctx, spansTo, sdktrace.WithResource(o.Resource))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spans: %w", err), m.Shutdown(ctx))
	}
	otel.SetTracerProvider(spans)
	otel.SetTextMapPropagator(tracing.DefaultTextMapPropagator())
	t := &destinations{metrics: m}
	if spansTo.Protocol != tracing.ProtocolNone {
		opencensus.InstallTraceBridge(opencensus.WithTracerProvider(spans))
		t.tracer = spans.Tracer(observability.Scope)
	}
	t.close = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		return errors.Join(m.Shutdown(ctx), spans.Shutdown(ctx))
	}
	return t, nil
}
