// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsource

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	kubeclient "knative.dev/pkg/client/injection/kube/client"
	deploymentinformer "knative.dev/pkg/client/injection/kube/informers/apps/v1/deployment/filtered"
	serviceaccountinformer "knative.dev/pkg/client/injection/kube/informers/core/v1/serviceaccount/filtered"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/resolver"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/client/injection/informers/sources/v1alpha1/kontainsource"
	"kontain.dev/eventing/pkg/client/injection/informers/sources/v1alpha1/kontainsourcestate"
	kontainsourcereconciler "kontain.dev/eventing/pkg/client/injection/reconciler/sources/v1alpha1/kontainsource"
	"kontain.dev/eventing/pkg/install"
)

// NewController returns the controller of KontainSources.
func NewController(ctx context.Context, cmw configmap.Watcher) *controller.Impl {
	sources := kontainsource.Get(ctx)
	states := kontainsourcestate.Get(ctx)
	deployments := deploymentinformer.Get(ctx, install.SourceSelector)
	serviceAccounts := serviceaccountinformer.Get(ctx, auth.OIDCLabelSelector)

	// The journals of tenants are no business of the controller's.
	// The error is of informers that run already.
	_ = states.Informer().SetTransform(withoutJournal)

	r := &Reconciler{
		kube:            kubeclient.Get(ctx),
		states:          states.Lister(),
		deployments:     deployments.Lister(),
		serviceAccounts: serviceAccounts.Lister(),
		clock:           clock.RealClock{},
	}
	var all func()
	features := feature.NewStore(logging.FromContext(ctx).Named("features"), func(string, any) {
		if all != nil {
			all()
		}
	})
	features.WatchConfigs(cmw)
	impl := kontainsourcereconciler.NewImpl(ctx, r, func(*controller.Impl) controller.Options {
		return controller.Options{ConfigStore: features}
	})
	all = func() { impl.GlobalResync(sources.Informer()) }
	r.resolver = resolver.NewURIResolverFromTracker(ctx, impl.Tracker)

	handle := func(informer cache.SharedInformer, handler cache.ResourceEventHandler) {
		// The error is of informers that were stopped, and none is before it starts.
		_, _ = informer.AddEventHandler(handler)
	}
	handle(sources.Informer(), controller.HandleAll(impl.Enqueue))
	handle(states.Informer(), controller.HandleAll(func(object any) {
		// A state has the name of its source.
		if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
			impl.EnqueueKey(types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
		}
	}))
	handle(deployments.Informer(), cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterWithNameAndNamespace(system.Namespace(), install.SourceName),
		Handler:    controller.HandleAll(func(any) { all() }),
	})
	handle(serviceAccounts.Informer(), cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterController(&v1alpha1.KontainSource{}),
		Handler:    controller.HandleAll(impl.EnqueueControllerOf),
	})
	return impl
}

// withoutJournal takes out of a state what is not kept of it here.
func withoutJournal(object any) (any, error) {
	if s, ok := object.(*v1alpha1.KontainSourceState); ok {
		s.Journal = nil
		s.ManagedFields = nil
	}
	return object, nil
}
