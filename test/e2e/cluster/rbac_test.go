// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"slices"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kontain.dev/eventing/test/e2e/cluster"
)

var (
	getOptions    = metav1.GetOptions{}
	updateOptions = metav1.UpdateOptions{}
	zero          = resource.MustParse("0")
)

// pulls is a time in which a pull that fails is tried at least twice.
const pulls = 17 * time.Second

// as is a client with a token of a service account.
func as(t *testing.T, namespace, account string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(shared.Config)
	config.BearerToken = token(t, namespace, account, "https://kubernetes.default.svc")
	config.UserAgent = cluster.TestAgent
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// may asks the API server whether a service account may do something.
func may(t *testing.T, namespace, account, verb, group, kind, of string, want bool) {
	t.Helper()
	review, err := shared.Kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + namespace + ":" + account,
			Groups:             []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + namespace},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: of, Verb: verb, Group: group, Resource: kind},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if review.Status.Allowed != want {
		t.Errorf("%s/%s: %s %s in %q: %v (%s)", namespace, account, verb, kind, of, review.Status.Allowed, review.Status.Reason)
	}
}

// TestSecretsOfTenants sees that no component reads a Secret of a tenant, nor one of
// Knative's: neither by the rules nor in fact.
func TestSecretsOfTenants(t *testing.T) {
	needSinks(t)
	ns := namespace(t)
	apply(t, ns, `
apiVersion: v1
kind: Secret
metadata: {name: tenant, namespace: NAMESPACE}
stringData: {password: kept}
---
apiVersion: v1
kind: Secret
metadata: {name: of-knative, namespace: knative-eventing}
stringData: {password: kept}
`)
	for _, account := range []string{"kontain-receiver", "kontain-controller", "kontain-webhook"} {
		t.Run(account, func(t *testing.T) {
			for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
				for _, of := range []string{ns, cluster.System, ""} { // "": all namespaces
					may(t, cluster.System, account, verb, "", "secrets", of, false)
				}
				may(t, cluster.System, account, verb, "", "pods/exec", ns, false)
				may(t, cluster.System, account, verb, "", "serviceaccounts/token", ns, false)
				may(t, cluster.System, account, verb, "", "pods", ns, false)
				may(t, cluster.System, account, verb, "", "configmaps", ns, false)
			}
			for _, verb := range []string{"create", "update", "patch", "delete", "escalate", "bind"} {
				may(t, cluster.System, account, verb, "rbac.authorization.k8s.io", "clusterroles", "", false)
				may(t, cluster.System, account, verb, "sinks.kontain.dev", "kontainsinks", ns, false)
			}
			getSecret(t, cluster.System, account, ns, "tenant")
			getSecret(t, cluster.System, account, cluster.System, "of-knative")
			client := as(t, cluster.System, account)
			if list, err := client.CoreV1().Secrets(cluster.System).List(t.Context(), metav1.ListOptions{}); err == nil {
				t.Errorf("it lists %d Secrets", len(list.Items))
			}
		})
	}
	// What is needed is allowed, or the rest of this says nothing.
	may(t, cluster.System, "kontain-receiver", "list", "sinks.kontain.dev", "kontainsinks", "", true)
	may(t, cluster.System, "kontain-controller", "update", "sinks.kontain.dev", "kontainsinks/status", ns, true)
}

// TestRequested prints what components have asked the API server for, to hold against
// their roles.
func TestRequested(t *testing.T) {
	needSinks(t)
	all, err := shared.Requested()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all {
		t.Log(line)
	}
	if !slices.Contains(all, "kontain-receiver: watch sinks.kontain.dev/kontainsinks") {
		t.Error("the receiver's watch of sinks is not among what was asked for")
	}
}
