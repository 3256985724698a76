// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package telemetry reads from Knative's ConfigMap config-observability where the metrics
// and spans of a pod go.
package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	o11yconfigmap "knative.dev/eventing/pkg/observability/configmap"
	"knative.dev/pkg/observability/metrics"
	"knative.dev/pkg/observability/resource"
	"knative.dev/pkg/observability/tracing"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/observability"
)

// ConfigMap returns config-observability as it is now; an empty one where there is none.
func ConfigMap(ctx context.Context, kube kubernetes.Interface) (*corev1.ConfigMap, error) {
	cm, err := kube.CoreV1().ConfigMaps(system.Namespace()).Get(ctx, o11yconfigmap.Name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.ConfigMap{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ConfigMap %s: %w", o11yconfigmap.Name(), err)
	}
	return cm, nil
}

// Options returns what the ConfigMap says about the metrics of a component, as other parts
// of Knative understand it, and about spans. Prometheus is answered in any case.
func Options(ctx context.Context, cm *corev1.ConfigMap, component string) (observability.Options, tracing.Config, error) {
	c, err := o11yconfigmap.Parse(cm)
	if err != nil {
		return observability.Options{}, tracing.Config{}, fmt.Errorf("the ConfigMap %s: %w", o11yconfigmap.Name(), err)
	}
	o := observability.Options{Resource: resource.Default(component)}
	switch c.Metrics.Protocol {
	case metrics.ProtocolGRPC, metrics.ProtocolHTTPProtobuf:
		o.Provider = func(options ...sdkmetric.Option) (metric.MeterProvider, error) {
			return metrics.NewMeterProvider(ctx, c.Metrics, options...)
		}
	}
	return o, c.Tracing, nil
}
