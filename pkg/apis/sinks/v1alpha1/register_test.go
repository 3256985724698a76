// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"kontain.dev/eventing/pkg/apis/sinks"
)

func TestRegister(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"KontainSink", "KontainSinkList"} {
		if !scheme.Recognizes(SchemeGroupVersion.WithKind(kind)) {
			t.Errorf("the scheme does not know %s", kind)
		}
	}
	if got, want := Kind("KontainSink").String(), "KontainSink.sinks.kontain.dev"; got != want {
		t.Errorf("Kind: got %s, want %s", got, want)
	}
	if got := Resource("kontainsinks"); got != sinks.KontainSinkResource {
		t.Errorf("Resource: got %s, want %s", got, sinks.KontainSinkResource)
	}
}
