// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kontain.dev/eventing/test/e2e/cluster"
)

// features sets features of Knative Eventing until the test ends: the whole cluster has
// them, so tests that need some do not run beside others.
func features(t *testing.T, set map[string]string) {
	t.Helper()
	maps := shared.Kube.CoreV1().ConfigMaps(cluster.System)
	before, err := maps.Get(t.Context(), "config-features", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	back := map[string]any{}
	for key := range set {
		back[key] = nil
		if value, ok := before.Data[key]; ok {
			back[key] = value
		}
	}
	patch := func(ctx context.Context, data any) error {
		text, err := json.Marshal(map[string]any{"data": data})
		if err == nil {
			_, err = maps.Patch(ctx, "config-features", types.MergePatchType, text, metav1.PatchOptions{})
		}
		return err
	}
	if err := patch(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := patch(context.Background(), back); err != nil {
			t.Error(err)
		}
	})
}

// token is a token of a service account for an audience.
func token(t *testing.T, namespace, account, audience string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	answer, err := shared.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

func bearer(token string) http.Header {
	if token == "" {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

// awaitCode sends until the answer has the status code: the parts of a cluster learn of
// a change one after the other.
func awaitCode(t *testing.T, client *http.Client, header http.Header, url string, e cluster.Event, want int) {
	t.Helper()
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) error {
		code, body, err := cluster.SendWith(ctx, client, header, url, e)
		if err == nil && code != want {
			err = fmt.Errorf("%d, want %d: %s", code, want, body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitObject waits until an object is as check wants it, and returns it.
func awaitObject(t *testing.T, apiVersion, kind, namespace, name string, check func(*unstructured.Unstructured) error) *unstructured.Unstructured {
	t.Helper()
	var o *unstructured.Unstructured
	err := cluster.Eventually(t.Context(), cluster.Patience, func(ctx context.Context) (err error) {
		if o, err = shared.Get(ctx, apiVersion, kind, namespace, name); err != nil {
			return err
		}
		return check(o)
	})
	if err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
	return o
}

// text is a string of an object; empty when it is not there.
func text(o *unstructured.Unstructured, path ...string) string {
	s, _, err := unstructured.NestedString(o.Object, path...)
	if err != nil {
		return err.Error()
	}
	return s
}

// conditionOf is "STATUS REASON MESSAGE" of a condition.
func conditionOf(o *unstructured.Unstructured, name string) string {
	all, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return err.Error()
	}
	for _, one := range all {
		if c, ok := one.(map[string]any); ok && c["type"] == name {
			return fmt.Sprintf("%v %v %v", c["status"], c["reason"], c["message"])
		}
	}
	return ""
}
