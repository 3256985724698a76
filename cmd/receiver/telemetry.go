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
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	o11yconfigmap "knative.dev/eventing/pkg/observability/configmap"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/observability/metrics"
	"knative.dev/pkg/observability/resource"
	"knative.dev/pkg/observability/tracing"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/observability"
)

// flushTime is how long metrics and spans may take to be sent at the end.
const flushTime = 5 * time.Second

// telemetry is where metrics and spans go.
type telemetry struct {
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
	cm, err := kube.CoreV1().ConfigMaps(system.Namespace()).Get(ctx, o11yconfigmap.Name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ConfigMap %s: %w", o11yconfigmap.Name(), err)
	}
	return cm, nil
}

// newTelemetry sends metrics and spans where the ConfigMap says, as other parts of
// Knative do, and has metrics for Prometheus in any case: receivers are scaled by them.
func newTelemetry(ctx context.Context, cm *corev1.ConfigMap) (*telemetry, error) {
	c, err := o11yconfigmap.Parse(cm)
	if err != nil {
		return nil, fmt.Errorf("the ConfigMap %s: %w", o11yconfigmap.Name(), err)
	}
	o := observability.Options{Resource: resource.Default(component)}
	switch c.Metrics.Protocol {
	case metrics.ProtocolGRPC, metrics.ProtocolHTTPProtobuf:
		o.Provider = func(options ...sdkmetric.Option) (metric.MeterProvider, error) {
			return metrics.NewMeterProvider(ctx, c.Metrics, options...)
		}
	}
	m, err := observability.New(o)
	if err != nil {
		return nil, err
	}
	spans, err := tracing.NewTracerProvider(ctx, c.Tracing, sdktrace.WithResource(o.Resource))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spans: %w", err), m.Shutdown(ctx))
	}
	otel.SetTracerProvider(spans)
	otel.SetTextMapPropagator(tracing.DefaultTextMapPropagator())
	t := &telemetry{metrics: m}
	if c.Tracing.Protocol != tracing.ProtocolNone {
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
