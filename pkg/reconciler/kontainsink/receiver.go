// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/reconciler/kontainsink/resources"
)

// errNotOurs says that a name which the sink's receiver needs belongs to something
// else, which is left alone.
var errNotOurs = errors.New("is there already and does not belong to the sink; remove it, or name the sink otherwise")

// object is what the reconciler makes of a kind of resource.
type object[T any] interface {
	metav1.Object
	comparable
	DeepCopy() T
}

// client is the part of a typed client that is needed.
type client[T any] interface {
	Get(context.Context, string, metav1.GetOptions) (T, error)
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// reconcileReceiver makes what the receiver of a dedicated sink consists of, and
// removes it from a sink that was dedicated before.
func (r *Reconciler) reconcileReceiver(ctx context.Context, sink *v1alpha1.KontainSink) error {
	namespace, name := sink.Namespace, install.DedicatedName(sink.Name)
	account, err := found(r.serviceAccounts.ServiceAccounts(namespace).Get(name))
	if err != nil {
		return err
	}
	binding, err := found(r.roleBindings.RoleBindings(namespace).Get(name))
	if err != nil {
		return err
	}
	service, err := found(r.services.Services(namespace).Get(name))
	if err != nil {
		return err
	}
	deployment, err := found(r.deployments.Deployments(namespace).Get(name))
	if err != nil {
		return err
	}
	accounts := r.kube.CoreV1().ServiceAccounts(namespace)
	bindings := r.kube.RbacV1().RoleBindings(namespace)
	services := r.kube.CoreV1().Services(namespace)
	deployments := r.kube.AppsV1().Deployments(namespace)

	if sink.Spec.Receiver != v1alpha1.ReceiverDedicated {
		// The Deployment goes first: the others are of no use without it.
		return errors.Join(
			remove(ctx, sink, deployments, deployment),
			remove(ctx, sink, services, service),
			remove(ctx, sink, bindings, binding),
			remove(ctx, sink, accounts, account),
		)
	}
	settings, err := r.settings()
	if err != nil {
		return err
	}
	if err := apply(ctx, sink, accounts, account, resources.MakeServiceAccount(sink), func(_, _ *corev1.ServiceAccount) {}); err != nil {
		return fmt.Errorf("make ServiceAccount %s/%s: %w", namespace, name, err)
	}
	if err := apply(ctx, sink, bindings, binding, resources.MakeRoleBinding(sink), func(have, want *rbacv1.RoleBinding) {
		have.Subjects = want.Subjects // The role of a binding cannot change.
	}); err != nil {
		return fmt.Errorf("make RoleBinding %s/%s: %w", namespace, name, err)
	}
	if err := apply(ctx, sink, services, service, resources.MakeService(sink), func(have, want *corev1.Service) {
		have.Spec.Selector, have.Spec.Ports = want.Spec.Selector, withNodePorts(want.Spec.Ports, have.Spec.Ports)
	}); err != nil {
		return fmt.Errorf("make Service %s/%s: %w", namespace, name, err)
	}
	if err := apply(ctx, sink, deployments, deployment, resources.MakeDeployment(sink, settings), updateDeployment); err != nil {
		return fmt.Errorf("make Deployment %s/%s: %w", namespace, name, err)
	}
	return nil
}

// updateDeployment leaves alone what the API server filled in and what is for
// others to set: the number of replicas is an autoscaler's.
func updateDeployment(have, want *appsv1.Deployment) {
	// The digest shows what was taken out of the template as well; the comparison
	// shows what somebody else changed.
	if have.Annotations[resources.TemplateAnnotation] == want.Annotations[resources.TemplateAnnotation] &&
		equality.Semantic.DeepDerivative(want.Spec.Template, have.Spec.Template) {
		return
	}
	if have.Annotations == nil {
		have.Annotations = map[string]string{}
	}
	have.Annotations[resources.TemplateAnnotation] = want.Annotations[resources.TemplateAnnotation]
	have.Spec.Strategy = want.Spec.Strategy
	annotations := have.Spec.Template.Annotations // such as those of kubectl rollout restart
	have.Spec.Template = want.Spec.Template
	have.Spec.Template.Annotations = annotations
}

// withNodePorts keeps the node ports of a Service whose type somebody changed.
func withNodePorts(want, have []corev1.ServicePort) []corev1.ServicePort {
	for i := range want {
		for _, h := range have {
			if h.Name == want[i].Name {
				want[i].NodePort = h.NodePort
			}
		}
	}
	return want
}

// found returns an object of a lister, or the zero value when there is none.
func found[T object[T]](have T, err error) (T, error) {
	if apierrors.IsNotFound(err) {
		var none T
		return none, nil
	}
	return have, err
}

// apply creates want, or brings have to it: its labels, and what update changes in
// a copy of have.
func apply[T object[T]](ctx context.Context, sink *v1alpha1.KontainSink, c client[T], have, want T, update func(have, want T)) error {
	var none T
	if have == none {
		_, err := c.Create(ctx, want, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		// The lister shows what carries our labels, and that a moment later.
		if have, err = c.Get(ctx, want.GetName(), metav1.GetOptions{}); err != nil {
			return err
		}
	}
	if !metav1.IsControlledBy(have, sink) {
		return errNotOurs
	}
	next := have.DeepCopy()
	labels := next.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	for k, v := range want.GetLabels() {
		labels[k] = v
	}
	next.SetLabels(labels)
	update(next, want)
	if equality.Semantic.DeepEqual(have, next) {
		return nil
	}
	_, err := c.Update(ctx, next, metav1.UpdateOptions{})
	return err
}

// remove deletes an object that the sink owns.
func remove[T object[T]](ctx context.Context, sink *v1alpha1.KontainSink, c client[T], have T) error {
	var none T
	if have == none || !metav1.IsControlledBy(have, sink) {
		return nil
	}
	err := c.Delete(ctx, have.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: ptr.To(have.GetUID())},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
