// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

func TestSinkValues(t *testing.T) {
	plain := v1alpha1.EnvVar{Name: "P", Value: "p"}
	secret := func(name, key string) v1alpha1.EnvVar {
		return v1alpha1.EnvVar{Name: name, ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: key}}}
	}
	if got := SinkValues([]v1alpha1.EnvVar{plain}); got != "" {
		t.Errorf("without values: %q", got)
	}
	of := SinkValues([]v1alpha1.EnvVar{plain, secret("A", "a"), secret("B", "b")})
	other := plain
	other.Value = "q"
	if got := SinkValues([]v1alpha1.EnvVar{other, secret("A", "a"), secret("B", "b")}); got != of || got == "" {
		t.Errorf("what is written in the sink itself made %q of %q", got, of)
	}
	for name, env := range map[string][]v1alpha1.EnvVar{
		"order":  {plain, secret("B", "b"), secret("A", "a")},
		"place":  {secret("A", "a"), secret("B", "b")},
		"object": {plain, secret("A", "b"), secret("B", "b")},
		"name":   {plain, secret("C", "a"), secret("B", "b")},
	} {
		if SinkValues(env) == of {
			t.Errorf("another %s is not seen", name)
		}
	}
}
