// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"
	"knative.dev/pkg/apis"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/sinkstatus"
)

const (
	imageA = "registry.example.com/a@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	imageB = "registry.example.com/a@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

var (
	yes = sinkstatus.Condition{Ready: ptr.To(true)}
	no  = ptr.To(false)
)

// serving is the answer of a receiver that has done all there is to do.
func serving(image string) *sinkstatus.Status {
	return &sinkstatus.Status{
		Generation: 2, Image: image, Ready: true, ImageResolved: yes, Snapshot: yes, Isolated: yes,
		Platform: sinkstatus.PlatformKVM, Jail: 2,
	}
}

func with(s *sinkstatus.Status, change func(*sinkstatus.Status)) *sinkstatus.Status {
	change(s)
	return s
}

func waiting(image string) *sinkstatus.Status {
	return with(serving(image), func(s *sinkstatus.Status) {
		s.Ready, s.Reason, s.Message = false, sinkstatus.ReasonNotSettled, "waits"
		s.Snapshot, s.Isolated = sinkstatus.Condition{}, sinkstatus.Condition{}
	})
}

func TestObserve(t *testing.T) {
	noKVM := with(waiting(""), func(s *sinkstatus.Status) {
		s.Reason, s.Message, s.ImageResolved = sinkstatus.ReasonNoKVM, "there is no /dev/kvm", sinkstatus.Condition{}
	})
	noImage := with(waiting(""), func(s *sinkstatus.Status) {
		s.Reason, s.Message = sinkstatus.ReasonImagePullFailed, "no such tag"
		s.ImageResolved = sinkstatus.Condition{Ready: no, Reason: sinkstatus.ReasonImagePullFailed, Message: "no such tag"}
	})
	unknown := answer{ready: true, err: fmt.Errorf("ask: %w", sinkstatus.ErrUnknownSink)}
	down := answer{ready: true, err: errors.New("connection refused")}
	ready := func(s *sinkstatus.Status) answer { return answer{ready: true, status: s} }
	starting := func(s *sinkstatus.Status) answer { return answer{status: s} }

	// The sink as an earlier round left it.
	served := func(s *v1alpha1.KontainSink) {
		s.Status.ObservedGeneration = 2
		s.Status.MarkImageResolved(imageA)
		s.Status.MarkAddressable()
	}
	resolved := func(s *v1alpha1.KontainSink) {
		s.Status.ObservedGeneration = 2
		s.Status.MarkImageResolved(imageA)
	}
	older := func(s *v1alpha1.KontainSink) { // of generation 1
		s.Status.ObservedGeneration = 1
		s.Status.MarkImageResolved(imageB)
		s.Status.MarkAddressable()
		s.Status.MarkSnapshotReady()
		s.Status.MarkIsolated()
	}

	for _, tc := range []struct {
		name    string
		before  func(*v1alpha1.KontainSink)
		answers []answer
		want    string // Addressable, ImageResolved, SnapshotReady, Isolated
		digest  string
		settled bool
	}{
		{"no receiver", nil, nil, "False/NoReceiver Unknown/Pending Unknown/Pending Unknown/Pending", "", false},
		{"not seen yet", nil, []answer{unknown}, "Unknown/Pending Unknown/Pending Unknown/Pending Unknown/Pending", "", false},
		{"not ready and not reachable", nil, []answer{{err: errors.New("connection refused")}}, "False/NoReceiver Unknown/Pending Unknown/Pending Unknown/Pending", "", false},
		{"not reachable", nil, []answer{down}, "Unknown/ReceiverUnreachable Unknown/Pending Unknown/Pending Unknown/Pending", "", false},
		{"older generation seen", nil, []answer{ready(&sinkstatus.Status{Generation: 1, Ready: true})}, "Unknown/Pending Unknown/Pending Unknown/Pending Unknown/Pending", "", false},
		{"resolved", nil, []answer{ready(waiting(imageA))}, "Unknown/Pending True/ Unknown/Pending Unknown/Pending", imageA, false},
		{"served at once", nil, []answer{ready(serving(imageA))}, "True/ True/ True/ True/", imageA, true},
		{"served, one has not seen it", resolved, []answer{ready(serving(imageA)), unknown}, "Unknown/Pending True/ True/ True/", imageA, false},
		{"served, one starts", resolved, []answer{ready(serving(imageA)), starting(waiting(imageA))}, "True/ True/ True/ True/", imageA, false},
		{"served, one is not reachable", resolved, []answer{ready(serving(imageA)), down}, "True/ True/ True/ True/", imageA, true},
		{"the first image holds", nil, []answer{ready(waiting(imageA)), ready(waiting(imageB))}, "Unknown/Pending True/ Unknown/Pending Unknown/Pending", imageA, false},
		{"a tag that moved changes nothing", resolved, []answer{ready(serving(imageB))}, "Unknown/Pending True/ True/ True/", imageA, false},
		{"stays served while another starts", served, []answer{ready(serving(imageA)), unknown}, "True/ True/ True/ True/", imageA, true},
		{"stays served when nobody can be asked", served, []answer{down}, "True/ True/ / /", imageA, false},
		{"served, then no receiver", served, nil, "False/NoReceiver True/ / /", imageA, false},
		{"no KVM", nil, []answer{ready(noKVM)}, "False/NoKVM Unknown/Pending Unknown/Pending Unknown/Pending", "", false},
		{"no image", nil, []answer{ready(noImage)}, "Unknown/Pending False/ImagePullFailed Unknown/Pending Unknown/Pending", "", false},
		{"new generation", older, []answer{ready(&sinkstatus.Status{Generation: 1, Ready: true, Image: imageB})}, "Unknown/Pending Unknown/Pending Unknown/Pending Unknown/Pending", imageB, false},
		{"new generation without an image", older, []answer{ready(noImage)}, "Unknown/Pending False/ImagePullFailed Unknown/Pending Unknown/Pending", imageB, false},
		{"new generation served", older, []answer{ready(serving(imageA))}, "True/ True/ True/ True/", imageA, true},
		{"no snapshot", resolved, []answer{ready(with(serving(imageA), func(s *sinkstatus.Status) {
			s.Snapshot = sinkstatus.Condition{Ready: no, Reason: "Ended", Message: "it ended"}
		}))}, "True/ True/ False/Ended True/", imageA, true},
		{"less isolated", resolved, []answer{ready(with(serving(imageA), func(s *sinkstatus.Status) {
			s.Isolated = sinkstatus.Condition{Ready: no, Reason: "Ptrace", Message: "no KVM"}
		}))}, "True/ True/ True/ False/Ptrace", imageA, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sink := &v1alpha1.KontainSink{}
			sink.Namespace, sink.Name, sink.Generation = "default", "a", 2
			sink.SetDefaults(t.Context())
			if tc.before != nil {
				tc.before(sink)
			}
			settled := observe(sink, "none", tc.answers)
			got := ""
			for i, c := range []apis.ConditionType{
				v1alpha1.ConditionAddressable, v1alpha1.ConditionImageResolved, v1alpha1.ConditionSnapshotReady, v1alpha1.ConditionIsolated,
			} {
				if i > 0 {
					got += " "
				}
				if have := sink.Status.GetCondition(c); have != nil {
					got += string(have.Status) + "/" + have.Reason
				} else {
					got += "/"
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			if sink.Status.ImageDigest != tc.digest {
				t.Errorf("image %q, want %q", sink.Status.ImageDigest, tc.digest)
			}
			if settled != tc.settled {
				t.Errorf("settled: %t", settled)
			}
		})
	}
}

func TestNoSnapshotWanted(t *testing.T) {
	sink := &v1alpha1.KontainSink{}
	sink.Generation = 2
	sink.Spec.Snapshot.Mode = v1alpha1.SnapshotNever
	sink.Status.MarkSnapshotReady()
	settled := observe(sink, "none", []answer{{ready: true, status: with(serving(imageA), func(s *sinkstatus.Status) { s.Snapshot = sinkstatus.Condition{} })}})
	if c := sink.Status.GetCondition(v1alpha1.ConditionSnapshotReady); c != nil || !settled {
		t.Errorf("settled %t with %+v", settled, c)
	}
}
