// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package webhook completes and checks what is written to the API server: the
// kinds of Kontain Eventing and the administrator's ConfigMap.
package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	knwebhook "knative.dev/pkg/webhook"
	"knative.dev/pkg/webhook/configmaps"
	"knative.dev/pkg/webhook/resourcesemantics"
	"knative.dev/pkg/webhook/resourcesemantics/defaulting"
	"knative.dev/pkg/webhook/resourcesemantics/validation"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1/capability"
	sourcesv1alpha1 "kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/install"
)

const (
	// Name is the name of the webhook's Deployment and Service.
	Name = "kontain-webhook"
	// SecretName is the Secret, in the system namespace, that holds the webhook's
	// certificate. It is installed empty; the webhook fills and renews it.
	SecretName = "kontain-webhook-certs" //nolint:gosec // The name of a Secret, and no secret.
	// Port is the port of the container.
	Port = 8443
)

// The names of the webhook configurations, and of the webhook in each.
const (
	defaultingName       = "webhook.kontain.dev"
	validationName       = "validation.webhook.kontain.dev"
	configValidationName = "config.webhook.kontain.dev"
)

// handlers returns the kinds that are completed and checked.
func handlers() map[schema.GroupVersionKind]resourcesemantics.GenericCRD {
	return map[schema.GroupVersionKind]resourcesemantics.GenericCRD{
		sinksv1alpha1.SchemeGroupVersion.WithKind("KontainSink"):     &sinksv1alpha1.KontainSink{},
		sourcesv1alpha1.SchemeGroupVersion.WithKind("KontainSource"): &sourcesv1alpha1.KontainSource{},
	}
}

// NewDefaulting returns the webhook that gives absent fields their defaults.
func NewDefaulting(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return defaulting.NewAdmissionController(ctx, defaultingName, "/defaulting", handlers(), unchanged, true)
}

// NewValidation returns the webhook that refuses what is not valid, or not
// available in this release.
func NewValidation(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return validation.NewAdmissionController(ctx, validationName, "/validation", handlers(), unchanged, true,
		map[schema.GroupVersionKind]validation.Callback{
			sinksv1alpha1.SchemeGroupVersion.WithKind("KontainSink"):     validation.NewCallback(checkSink, knwebhook.Create, knwebhook.Update),
			sourcesv1alpha1.SchemeGroupVersion.WithKind("KontainSource"): validation.NewCallback(checkSource, knwebhook.Create, knwebhook.Update),
		})
}

// NewConfigValidation returns the webhook that refuses an administrator's
// ConfigMap that could not be read.
func NewConfigValidation(ctx context.Context, _ configmap.Watcher) *controller.Impl {
	return configmaps.NewAdmissionController(ctx, configValidationName, "/config-validation", configmap.Constructors{
		install.ConfigName(): func(cm *corev1.ConfigMap) (*install.Config, error) { return install.NewConfigFromConfigMap(cm) },
	})
}

func unchanged(ctx context.Context) context.Context { return ctx }

// checkSink refuses what this release cannot do. What an object was given by a
// release that could is kept: it must still be possible to label and delete it.
func checkSink(ctx context.Context, u *unstructured.Unstructured) error {
	if apis.IsInStatusUpdate(ctx) {
		return nil
	}
	var sink sinksv1alpha1.KontainSink
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &sink); err != nil {
		return fmt.Errorf("read KontainSink: %w", err)
	}
	if sink.SpecUnchanged(ctx) {
		return nil
	}
	if err := capability.CheckInCluster(&sink.Spec).ViaField("spec"); err != nil {
		return err
	}
	return nil
}

// checkSource is checkSink for sources.
func checkSource(ctx context.Context, u *unstructured.Unstructured) error {
	if apis.IsInStatusUpdate(ctx) {
		return nil
	}
	var source sourcesv1alpha1.KontainSource
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &source); err != nil {
		return fmt.Errorf("read KontainSource: %w", err)
	}
	if source.SpecUnchanged(ctx) {
		return nil
	}
	errs := capability.CheckSourceInCluster(&source.Spec.FunctionSpec)
	if limit := source.Spec.StateLimit(); limit > sourcesv1alpha1.MaxClusterStateBytes {
		errs = errs.Also(apis.ErrGeneric(fmt.Sprintf("in a cluster a state file has at most %dKi", sourcesv1alpha1.MaxClusterStateBytes>>10), "state.limit"))
	}
	if errs != nil {
		return errs.ViaField("spec")
	}
	return nil
}
