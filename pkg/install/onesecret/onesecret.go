// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package onesecret narrows the informer of Secrets that Knative's packages use
// for certificates. Theirs lists every Secret of the system namespace, Knative's
// own among them; RBAC can name one only for requests that name it too.
package onesecret

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	kubeclient "knative.dev/pkg/client/injection/kube/client"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/injection/clients/namespacedkube/informers/factory"
	"knative.dev/pkg/system"
)

// Watch makes the injected informers of the system namespace see the object of
// one name only. It is called by an init function of a main package: after those
// of the packages whose factory it replaces, and before injection begins.
func Watch(name string) {
	injection.Default.RegisterInformerFactory(func(ctx context.Context) context.Context {
		return context.WithValue(ctx, factory.Key{}, Factory(ctx, name))
	})
}

// Factory returns a factory of informers that see the object of one name in the
// system namespace.
func Factory(ctx context.Context, name string) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(kubeclient.Get(ctx), controller.GetResyncPeriod(ctx),
		informers.WithNamespace(system.Namespace()),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}))
}
