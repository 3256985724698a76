// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

func mustURL(t *testing.T, text string) *apis.URL {
	t.Helper()
	u, err := apis.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestReady(t *testing.T) {
	address := duckv1.Addressable{URL: mustURL(t, "http://example.com/a/b")}
	healthy := func(s *KontainSinkStatus) {
		s.SetAddresses(address)
		s.MarkAddressable()
		s.MarkImageResolved("sha256:0")
		s.MarkEventPoliciesTrue()
	}
	for _, tc := range []struct {
		name   string
		mark   func(*KontainSinkStatus)
		want   corev1.ConditionStatus
		reason string
	}{
		{"nothing known", func(*KontainSinkStatus) {}, corev1.ConditionUnknown, ""},
		{"all true", healthy, corev1.ConditionTrue, ""},
		{"policies true with a reason", func(s *KontainSinkStatus) {
			healthy(s)
			s.MarkEventPoliciesTrueWithReason("DefaultAuthorizationMode", "no policy")
		}, corev1.ConditionTrue, ""},
		{"address unknown", func(s *KontainSinkStatus) { healthy(s); s.MarkAddressableUnknown("Pending", "wait") }, corev1.ConditionUnknown, "Pending"},
		{"image unknown", func(s *KontainSinkStatus) { healthy(s); s.MarkImageUnknown("Pending", "wait") }, corev1.ConditionUnknown, "Pending"},
		{"not addressable", func(s *KontainSinkStatus) { healthy(s); s.MarkNotAddressable("Because", "of %s", "it") }, corev1.ConditionFalse, "Because"},
		{"no image", func(s *KontainSinkStatus) { healthy(s); s.MarkImageNotResolved("NotFound", "no %s", "tag") }, corev1.ConditionFalse, "NotFound"},
		{"policies failed", func(s *KontainSinkStatus) { healthy(s); s.MarkEventPoliciesFailed("NotReady", "p") }, corev1.ConditionFalse, "NotReady"},
		{"policies unknown", func(s *KontainSinkStatus) { healthy(s); s.MarkEventPoliciesUnknown("Unknown", "p") }, corev1.ConditionUnknown, "Unknown"},
		{"snapshot and isolation inform only", func(s *KontainSinkStatus) {
			healthy(s)
			s.MarkSnapshotNotReady("Ended", "the program ended before it waited for an event")
			s.MarkNotIsolated("Ptrace", "no /dev/kvm")
		}, corev1.ConditionTrue, ""},
		{"snapshot and isolation alone make nothing ready", func(s *KontainSinkStatus) {
			s.MarkSnapshotReady()
			s.MarkIsolated()
		}, corev1.ConditionUnknown, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &KontainSink{}
			s.Status.InitializeConditions()
			tc.mark(&s.Status)
			got := s.Status.GetCondition(ConditionReady)
			if got.Status != tc.want || got.Reason != tc.reason {
				t.Errorf("Ready: got %s %q, want %s %q", got.Status, got.Reason, tc.want, tc.reason)
			}
			if s.IsReady() != (tc.want == corev1.ConditionTrue) {
				t.Errorf("IsReady: got %t", s.IsReady())
			}
			s.Generation = 2
			if s.IsReady() {
				t.Error("IsReady counts an older generation")
			}
		})
	}
}

func TestConditionSet(t *testing.T) {
	s := &KontainSink{}
	s.Status.InitializeConditions()
	var got []apis.ConditionType
	for _, c := range s.Status.Conditions {
		got = append(got, c.Type)
	}
	want := []apis.ConditionType{ConditionAddressable, ConditionEventPoliciesReady, ConditionImageResolved, ConditionReady}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected conditions (-want +got):\n%s", diff)
	}
	if got := s.GetConditionSet().GetTopLevelConditionType(); got != ConditionReady {
		t.Errorf("top-level condition: got %s, want Ready", got)
	}
}

func TestSetAddresses(t *testing.T) {
	https := duckv1.Addressable{URL: mustURL(t, "https://example.com/a/b")}
	http := duckv1.Addressable{URL: mustURL(t, "http://example.com/a/b")}
	var s KontainSinkStatus
	s.SetAddresses(http, https, http)
	if s.Address.URL.String() != http.URL.String() || len(s.Addresses) != 2 {
		t.Errorf("got %+v", s.AddressStatus)
	}
	s.MarkNotAddressable("NoKVM", "no /dev/kvm")
	if s.Address == nil {
		t.Error("the address went with the condition")
	}
}

func TestResolvedImage(t *testing.T) {
	s := &KontainSink{}
	s.Generation, s.Status.ObservedGeneration = 2, 2
	if got := s.ResolvedImage(); got != "" {
		t.Errorf("got %q before there was one", got)
	}
	s.Status.MarkImageResolved("a@sha256:0")
	if got := s.ResolvedImage(); got != "a@sha256:0" {
		t.Errorf("got %q", got)
	}
	s.Generation = 3
	if got := s.ResolvedImage(); got != "" {
		t.Errorf("got %q of an older generation", got)
	}
}

func TestImageDigestOutlivesFailure(t *testing.T) {
	var s KontainSinkStatus
	s.MarkImageResolved("sha256:0")
	s.MarkImageNotResolved("NotFound", "no such tag")
	if s.ImageDigest != "sha256:0" {
		t.Errorf("got digest %q, want that of the generation that serves", s.ImageDigest)
	}
}
