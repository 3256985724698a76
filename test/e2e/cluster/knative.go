// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kontain.dev/eventing/test/e2e/cluster/node"
	"kontain.dev/eventing/test/e2e/cluster/programs"
	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

// System is the namespace that Knative Eventing and this project are installed in.
const System = "knative-eventing"

// nonroot is the user of the images that ko builds (distroless).
const nonroot = 65532

// image finds the programs of an image: Knative's manifests, as its module has
// them, name images by the import path that ko builds.
func (c *Cluster) image(name string) (node.Image, bool) {
	if pkg, ok := strings.CutPrefix(name, "ko://"); ok {
		for file, upstream := range programs.Upstream {
			if upstream == pkg {
				inside := "/ko-app/" + path.Base(pkg)
				return node.Image{
					Entrypoint: []string{inside}, UID: nonroot, GID: nonroot,
					Files: map[string]string{inside: filepath.Join(c.upstream, file)},
				}, true
			}
		}
	}
	return c.ourImage(name)
}

// installKnative applies the manifests of Knative Eventing, its MT broker and
// the InMemoryChannel as its module has them, and waits until all is up.
func (c *Cluster) installKnative(ctx context.Context) error {
	folders := []string{
		"core/resources", "channels/in-memory-channel/resources",
		"core", "core/roles", "core/configmaps",
		"channels/in-memory-channel", "channels/in-memory-channel/roles", "channels/in-memory-channel/configmaps",
		"brokers/mt-channel-broker/roles", "core/webhooks", "channels/in-memory-channel/webhooks",
		"core/deployments", "channels/in-memory-channel/deployments", "brokers/mt-channel-broker/deployments",
	}
	skip := func(name string) bool {
		switch name {
		case "request-reply.yaml", "pingsource-mt-adapter.yaml":
			return true // nothing here uses them
		case "job-sink.yaml":
			return c.kind != sandbox.Kubelet // nothing here runs jobs
		}
		return strings.HasSuffix(name, "hpa.yaml") // there are no metrics to scale by
	}
	config := filepath.Join(c.knative, "config")
	for _, folder := range append([]string{"core/100-namespace.yaml"}, folders...) {
		var err error
		if strings.HasSuffix(folder, ".yaml") {
			err = c.ApplyFile(ctx, filepath.Join(config, folder))
		} else {
			err = c.ApplyFolder(ctx, filepath.Join(config, folder), skip)
		}
		if err != nil {
			return fmt.Errorf("installing Knative Eventing: %w", err)
		}
	}
	// The controller's Deployment takes the names of images that it may start from there.
	if err := c.ApplyFolder(ctx, filepath.Join(c.knative, "third_party", "eventing-integrations-latest"), nil); err != nil {
		return fmt.Errorf("installing Knative Eventing: %w", err)
	}
	if err := c.WaitDeployments(ctx, System); err != nil {
		return fmt.Errorf("installing Knative Eventing: %w", err)
	}
	return c.waitWebhooks(ctx)
}

// WaitDeployments waits until all Deployments of a namespace are available.
func (c *Cluster) WaitDeployments(ctx context.Context, namespace string) error {
	return Eventually(ctx, Patience, func(ctx context.Context) error {
		list, err := c.Kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, d := range list.Items {
			s := d.Status
			if s.ObservedGeneration != d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.AvailableReplicas != s.Replicas ||
				s.AvailableReplicas != *d.Spec.Replicas {
				return fmt.Errorf("deployment %s has %d of %d pods: see logs/%s_%s-*.log and logs/node.log",
					d.Name, s.AvailableReplicas, *d.Spec.Replicas, namespace, d.Name)
			}
		}
		return nil
	})
}

// waitWebhooks waits until the webhooks' own controllers have written the
// certificate authority into every webhook configuration of the system
// namespace: until then the API server refuses what they judge, or does not ask
// them.
func (c *Cluster) waitWebhooks(ctx context.Context) error {
	return Eventually(ctx, Patience, func(ctx context.Context) error {
		client := c.Kube.AdmissionregistrationV1()
		mutating, err := client.MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		validating, err := client.ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ca := map[string][]byte{}
		for _, w := range mutating.Items {
			for _, h := range w.Webhooks {
				ca[w.Name] = h.ClientConfig.CABundle
			}
		}
		for _, w := range validating.Items {
			for _, h := range w.Webhooks {
				ca[w.Name] = h.ClientConfig.CABundle
			}
		}
		for name, bundle := range ca {
			if len(bundle) == 0 {
				return fmt.Errorf("webhook configuration %s has no certificate authority yet", name)
			}
		}
		return nil
	})
}

// WaitChannels waits until the InMemoryChannels of a namespace have all that they were
// asked for. That a Trigger or a Subscription is Ready does not say so in Knative
// Eventing v0.50.0: the dispatcher leaves a channel alone whose newest generation its controller
// has not observed, and reports its subscribers as ready all the same; and the controller
// may overwrite that report. Until both are done the dispatcher takes events with 202 and
// gives them to nobody.
// (knative.dev/eventing/pkg/reconciler/inmemorychannel/dispatcher: ReconcileKind, reconcile
// and patchSubscriberStatus)
//
// The dispatcher hears of the last step when everybody else does: whoever counts events
// has one go through first.
func (c *Cluster) WaitChannels(ctx context.Context, namespace string) error {
	return Eventually(ctx, Patience, func(ctx context.Context) error {
		list, err := c.Eventing.MessagingV1().InMemoryChannels(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, channel := range list.Items {
			if !channel.IsReady() {
				return fmt.Errorf("InMemoryChannel %s/%s: generation %d, observed %d, or not ready",
					namespace, channel.Name, channel.Generation, channel.Status.ObservedGeneration)
			}
			reported := map[types.UID]int64{}
			for _, s := range channel.Status.Subscribers {
				if s.Ready == corev1.ConditionTrue {
					reported[s.UID] = s.ObservedGeneration
				}
			}
			for _, s := range channel.Spec.Subscribers {
				if generation, ok := reported[s.UID]; !ok || generation != s.Generation {
					return fmt.Errorf("InMemoryChannel %s/%s: subscriber %s is not reported ready", namespace, channel.Name, s.UID)
				}
			}
		}
		return nil
	})
}

// Namespace makes a namespace.
func (c *Cluster) Namespace(ctx context.Context, name string) error {
	err := c.Apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}")
	if err != nil {
		return err
	}
	// The service account must be there before a pod is.
	return Eventually(ctx, Patience, func(ctx context.Context) error {
		_, err := c.Kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return errors.New("no default service account yet")
		}
		return err
	})
}
