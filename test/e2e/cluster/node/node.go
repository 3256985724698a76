// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package node stands in for the scheduler and the kubelet: it binds every pod
// to one node and runs its container as a process in namespaces of its own, as
// the pod says: user, capabilities, environment, volumes, service account,
// readiness. Deployments, ReplicaSets and EndpointSlices are made by
// Kubernetes's own controllers, so pods roll, restart and leave their Service
// as they do in a cluster.
//
// What differs from a kubelet: images are folders of programs named by Images;
// one container a pod, no init containers; no seccomp filter, cgroup, liveness probe
// or NetworkPolicy; tokens are not renewed (they are asked for a day); mounted Secrets
// and ConfigMaps are renewed file by file; readiness is probed from the start, whatever
// initialDelaySeconds says, so that tests are quick.
package node

import (
	"context"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Name of the node.
const Name = "local"

// KVMResource is what a device plugin for /dev/kvm offers on the node.
const KVMResource = "devices.kubevirt.io/kvm"

// Image is what the node takes for a container image.
type Image struct {
	// Entrypoint is run where the container names no command.
	Entrypoint []string
	// Files of the image: path in the container → path on the machine.
	Files map[string]string
	// UID and GID that the program runs as where the pod does not say.
	UID, GID int
}

// Node runs the pods of a cluster.
type Node struct {
	client kubernetes.Interface
	images func(name string) (Image, bool)
	dir    string
	log    *log.Logger

	ctx  context.Context
	mu   sync.Mutex
	pods map[types.UID]*pod
	wg   sync.WaitGroup
}

// Start registers the node and runs pods until the context ends. Volumes and
// the output of containers go to folders of dir; images are looked up by the
// name that the container has.
func Start(ctx context.Context, client kubernetes.Interface, dir string, images func(string) (Image, bool), out io.Writer) (*Node, error) {
	n := &Node{
		client: client, images: images, dir: dir, ctx: ctx,
		log:  log.New(out, "", log.LstdFlags|log.Lmicroseconds),
		pods: map[types.UID]*pod{},
	}
	if err := n.register(ctx); err != nil {
		return nil, fmt.Errorf("registering the node: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.seen(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { n.seen(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if p, ok := o.(*corev1.Pod); ok {
				n.gone(p.UID)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, fmt.Errorf("pods were not listed: %w", context.Cause(ctx))
	}
	return n, nil
}

// Wait waits, after the context has ended, until no container runs.
func (n *Node) Wait() { n.wg.Wait() }

func (n *Node) register(ctx context.Context) error {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("1000"), KVMResource: resource.MustParse("1000"),
	}
	_, err := n.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: Name, Labels: map[string]string{
			"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": Name,
		}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Processes"}},
		},
	}, metav1.CreateOptions{})
	return err
}

// seen starts, binds or stops a pod.
func (n *Node) seen(p *corev1.Pod) {
	switch {
	case p.Spec.NodeName == "" && p.DeletionTimestamp == nil:
		err := n.client.CoreV1().Pods(p.Namespace).Bind(n.ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: p.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: Name},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			n.log.Printf("%s/%s: binding: %v", p.Namespace, p.Name, err)
		}
		return
	case p.Spec.NodeName != Name:
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if running := n.pods[p.UID]; running != nil {
		if p.DeletionTimestamp != nil {
			running.stop(p.DeletionGracePeriodSeconds)
		}
		return
	}
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		if p.DeletionTimestamp != nil {
			n.remove(p)
		}
		return
	}
	started := newPod(n, p)
	n.pods[p.UID] = started
	if p.DeletionTimestamp != nil {
		started.stop(p.DeletionGracePeriodSeconds)
	}
	n.wg.Go(started.run)
}

// gone ends what runs of a pod that is no longer in the API.
func (n *Node) gone(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if running := n.pods[uid]; running != nil {
		now := int64(0)
		running.stop(&now)
		delete(n.pods, uid)
	}
}

// remove tells the API that nothing of a deleted pod runs any more.
func (n *Node) remove(p *corev1.Pod) {
	now := int64(0)
	err := n.client.CoreV1().Pods(p.Namespace).Delete(n.ctx, p.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && n.ctx.Err() == nil {
		n.log.Printf("%s/%s: removing: %v", p.Namespace, p.Name, err)
	}
}

// Kill sends SIGKILL to the program of a pod, as the kernel does when memory is
// short. It is started again, under the same address.
func (n *Node) Kill(namespace, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pods {
		if p.object.Namespace == namespace && p.object.Name == name {
			return p.kill()
		}
	}
	return fmt.Errorf("pod %s/%s does not run", namespace, name)
}

// Logs is the folder that the output of all containers is in.
func (n *Node) Logs() string { return filepath.Join(n.dir, "logs") }
