// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"context"
	"errors"
	"os"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/eventing/pkg/client/injection/informers/eventing/v1alpha1/eventpolicy"
	kubeclient "knative.dev/pkg/client/injection/kube/client"
	deploymentinformer "knative.dev/pkg/client/injection/kube/informers/apps/v1/deployment/filtered"
	serviceinformer "knative.dev/pkg/client/injection/kube/informers/core/v1/service/filtered"
	serviceaccountinformer "knative.dev/pkg/client/injection/kube/informers/core/v1/serviceaccount/filtered"
	endpointsliceinformer "knative.dev/pkg/client/injection/kube/informers/discovery/v1/endpointslice/filtered"
	rolebindinginformer "knative.dev/pkg/client/injection/kube/informers/rbac/v1/rolebinding/filtered"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	secretinformer "knative.dev/pkg/injection/clients/namespacedkube/informers/core/v1/secret"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/client/injection/informers/sinks/v1alpha1/kontainsink"
	kontainsinkreconciler "kontain.dev/eventing/pkg/client/injection/reconciler/sinks/v1alpha1/kontainsink"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/reconciler/kontainsink/resources"
	"kontain.dev/eventing/pkg/sinkstatus"
)

// ReceiverImageEnv is the variable with the image of dedicated receivers.
const ReceiverImageEnv = "KONTAIN_RECEIVER_IMAGE"

// NewController returns the controller of KontainSinks.
func NewController(ctx context.Context, cmw configmap.Watcher) *controller.Impl {
	sinks := kontainsink.Get(ctx)
	deployments := deploymentinformer.Get(ctx, install.ReceiverSelector)
	services := serviceinformer.Get(ctx, install.ReceiverSelector)
	serviceAccounts := serviceaccountinformer.Get(ctx, install.ReceiverSelector)
	roleBindings := rolebindinginformer.Get(ctx, install.ReceiverSelector)
	endpointSlices := endpointsliceinformer.Get(ctx, install.ReceiverSelector)
	policies := eventpolicy.Get(ctx)
	secrets := secretinformer.Get(ctx)
	settings := &settings{image: os.Getenv(ReceiverImageEnv), maps: map[string]*corev1.ConfigMap{}, config: install.NewConfig()}

	r := &Reconciler{
		kube:            kubeclient.Get(ctx),
		deployments:     deployments.Lister(),
		services:        services.Lister(),
		serviceAccounts: serviceAccounts.Lister(),
		roleBindings:    roleBindings.Lister(),
		endpointSlices:  endpointSlices.Lister(),
		policies:        policies.Lister(),
		secrets:         secrets.Lister(),
		asker:           sinkstatus.NewClient(askTime),
		settings:        settings.get,
	}
	var all func()
	features := feature.NewStore(logging.FromContext(ctx).Named("features"), func(string, any) {
		if all != nil {
			all()
		}
	})
	features.WatchConfigs(cmw)

	impl := kontainsinkreconciler.NewImpl(ctx, r, func(*controller.Impl) controller.Options {
		return controller.Options{ConfigStore: features}
	})
	all = func() { impl.GlobalResync(sinks.Informer()) }
	for _, name := range install.ReceiverConfigMaps() {
		watch(cmw, name, func(cm *corev1.ConfigMap) {
			if err := settings.set(cm); err != nil {
				logging.FromContext(ctx).Errorw("the ConfigMap is wrong; what it said before holds", "configMap", cm.Name, "error", err)
				return
			}
			all()
		})
	}

	handle := func(informer cache.SharedInformer, handler cache.ResourceEventHandler) {
		// The error is of informers that were stopped, and none is before it starts.
		_, _ = informer.AddEventHandler(handler)
	}
	handle(sinks.Informer(), controller.HandleAll(impl.Enqueue))
	owned := cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterController(&v1alpha1.KontainSink{}),
		Handler:    controller.HandleAll(impl.EnqueueControllerOf),
	}
	handle(deployments.Informer(), owned)
	handle(services.Informer(), owned)
	handle(serviceAccounts.Informer(), owned)
	handle(roleBindings.Informer(), owned)
	handle(endpointSlices.Informer(), controller.HandleAll(func(object any) {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			return // A deletion that was missed; what remains is asked anyway.
		}
		if sink := slice.Labels[install.SinkLabel]; sink != "" {
			impl.EnqueueKey(types.NamespacedName{Namespace: slice.Namespace, Name: sink})
		} else if slice.Namespace == system.Namespace() {
			all()
		}
	}))
	handle(secrets.Informer(), cache.FilteringResourceEventHandler{
		FilterFunc: controller.FilterWithName(install.ReceiverTLSSecretName),
		Handler:    controller.HandleAll(func(any) { all() }),
	})
	handle(policies.Informer(), auth.EventPolicyEventHandler(sinks.Informer().GetIndexer(), v1alpha1.Kind("KontainSink"), impl.EnqueueKey))
	return impl
}

// watch watches a ConfigMap that need not be there.
func watch(cmw configmap.Watcher, name string, observer configmap.Observer) {
	if w, ok := cmw.(configmap.DefaultingWatcher); ok {
		w.WatchWithDefault(corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system.Namespace(), Name: name}}, observer)
		return
	}
	cmw.Watch(name, observer)
}

// settings keeps what the objects of dedicated receivers have in common.
type settings struct {
	image string

	mu     sync.Mutex
	maps   map[string]*corev1.ConfigMap
	config *install.Config
}

// set takes a ConfigMap of the system namespace.
func (s *settings) set(cm *corev1.ConfigMap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cm.Name == install.ConfigName() {
		config, err := install.NewConfigFromConfigMap(cm)
		if err != nil {
			return err
		}
		s.config = config
	}
	s.maps[cm.Name] = cm
	return nil
}

// get returns the settings as they are now.
func (s *settings) get() (resources.Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.image == "" {
		return resources.Settings{}, errors.New("the controller was not told the receiver's image: set " + ReceiverImageEnv)
	}
	var maps []*corev1.ConfigMap
	for _, name := range install.ReceiverConfigMaps() {
		if cm := s.maps[name]; cm != nil {
			maps = append(maps, cm)
		}
	}
	text, err := install.ConfigMaps(maps...)
	return resources.Settings{Image: s.image, ConfigMaps: text, Config: s.config}, err
}
