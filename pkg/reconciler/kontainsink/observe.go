// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"errors"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/sinkstatus"
)

// answer is what came of asking one receiver.
type answer struct {
	// ready says that the receiver takes events, by its readiness probe.
	ready bool
	// status is what it answered; nil when there was an error.
	status *sinkstatus.Status
	err    error
}

// Reasons of conditions that no receiver gave.
const (
	reasonPending     = sinkstatus.ReasonPending
	reasonNoReceiver  = "NoReceiver"
	reasonUnreachable = "ReceiverUnreachable"
)

// observe writes what receivers answered into the conditions Addressable,
// ImageResolved, SnapshotReady and Isolated, and says whether all is settled: no
// later answer is expected to be another. none is what to say when no receiver runs.
func observe(sink *v1alpha1.KontainSink, none string, answers []answer) (settled bool) {
	status := &sink.Status
	fresh := status.ObservedGeneration == sink.Generation // what is in the status is about this generation
	wasServed := fresh && status.GetCondition(v1alpha1.ConditionAddressable).IsTrue()
	if !fresh {
		status.MarkImageUnknown(reasonPending, "A receiver is asked which image it is")
		status.MarkSnapshotUnknown(reasonPending, "No receiver has said so yet")
		status.MarkIsolatedUnknown(reasonPending, "No receiver has said so yet")
	}

	if len(answers) == 0 {
		status.MarkNotAddressable(reasonNoReceiver, "%s", none)
		return false
	}
	var current []*sinkstatus.Status // about this generation
	var failed error
	missing := false // a receiver that takes events has not seen this generation
	ready := false   // a receiver takes events
	for _, a := range answers {
		ready = ready || a.ready
		switch {
		case a.status != nil && a.status.Generation == sink.Generation:
			current = append(current, a.status)
		case a.status != nil, errors.Is(a.err, sinkstatus.ErrUnknownSink):
			missing = missing || a.ready
		default:
			failed = a.err
		}
	}
	if len(current) == 0 {
		switch {
		case wasServed: // The controller cannot ask, or receivers start anew.
		case failed != nil && !missing && !ready:
			// A pod has an address before its program runs, also one that cannot run.
			status.MarkNotAddressable(reasonNoReceiver, "%s", none)
		case failed != nil && !missing:
			status.MarkAddressableUnknown(reasonUnreachable, "No receiver could be asked: %v", failed)
		default:
			status.MarkAddressableUnknown(reasonPending, "No receiver has seen the sink yet")
		}
		return false
	}

	image := observeImage(status, fresh, current)
	served := observeServed(status, current, image, wasServed, missing, answers)
	snapshot := observeSnapshot(sink, current)
	isolated := observeIsolated(status, current)
	return image != "" && served && snapshot && isolated
}

// observeImage settles the image of a generation: the first that is reported holds
// for all receivers, since a tag may move between one's look at it and another's.
// It returns nothing while none is known.
func observeImage(status *v1alpha1.KontainSinkStatus, fresh bool, current []*sinkstatus.Status) string {
	if fresh && status.GetCondition(v1alpha1.ConditionImageResolved).IsTrue() {
		return status.ImageDigest
	}
	for _, s := range current {
		if s.ImageResolved.True() && s.Image != "" {
			status.MarkImageResolved(s.Image)
			return s.Image
		}
	}
	for _, s := range current {
		if s.ImageResolved.False() {
			status.MarkImageNotResolved(reason(s.ImageResolved.Reason, sinkstatus.ReasonImagePullFailed), "%s", s.ImageResolved.Message)
			return ""
		}
	}
	message := "The image is being fetched"
	if m := current[0].ImageResolved.Message; m != "" {
		message = m
	}
	status.MarkImageUnknown(reasonPending, "%s", message)
	return ""
}

// observeServed settles whether events of this generation are handled. A sink
// becomes addressable when every receiver that takes events serves it, and stays
// so while one does: others that start answer with what senders retry.
func observeServed(status *v1alpha1.KontainSinkStatus, current []*sinkstatus.Status, image string, wasServed, missing bool, answers []answer) bool {
	one, all := false, !missing
	var refused *sinkstatus.Status // serves nothing, and says why
	for _, s := range current {
		serves := s.Ready && image != "" && s.Image == image
		one = one || serves
		if !s.Ready && refused == nil && !working(s.Reason) {
			refused = s
		}
	}
	for _, a := range answers {
		if a.ready && a.status != nil && (!a.status.Ready || a.status.Image != image) {
			all = false
		}
	}
	switch {
	case one && (all || wasServed):
		status.MarkAddressable()
		return true
	case refused != nil && !refused.ImageResolved.False():
		status.MarkNotAddressable(refused.Reason, "%s", refused.Message)
	case one:
		status.MarkAddressableUnknown(reasonPending, "Not every receiver serves the sink yet")
	case image == "":
		status.MarkAddressableUnknown(reasonPending, "The image is not there yet")
	default:
		status.MarkAddressableUnknown(reasonPending, "%s", reason(current[0].Message, "A receiver prepares the sink"))
	}
	return false
}

// working says that a receiver gave a reason which passes by itself.
func working(reason string) bool {
	switch reason {
	case "", sinkstatus.ReasonPending, sinkstatus.ReasonNotSettled:
		return true
	}
	return false
}

func observeSnapshot(sink *v1alpha1.KontainSink, current []*sinkstatus.Status) bool {
	status := &sink.Status
	if sink.Spec.Snapshot.Mode == v1alpha1.SnapshotNever {
		status.ClearSnapshot()
		return true
	}
	one, settled := false, true
	for _, s := range current {
		if s.Snapshot.False() {
			status.MarkSnapshotNotReady(reason(s.Snapshot.Reason, "NoSnapshot"), "%s", s.Snapshot.Message)
			return true
		}
		one = one || s.Snapshot.True()
		settled = settled && s.Snapshot.Settled()
	}
	if one {
		status.MarkSnapshotReady()
		return settled
	}
	status.MarkSnapshotUnknown(reasonPending, "%s", reason(current[0].Snapshot.Message, "The program has not come to its first event yet"))
	return false
}

func observeIsolated(status *v1alpha1.KontainSinkStatus, current []*sinkstatus.Status) bool {
	one := false
	for _, s := range current {
		if s.Isolated.False() {
			status.MarkNotIsolated(reason(s.Isolated.Reason, "Weaker"), "%s", s.Isolated.Message)
			return true
		}
		one = one || s.Isolated.True()
	}
	if one {
		status.MarkIsolated()
		return true
	}
	status.MarkIsolatedUnknown(reasonPending, "%s", reason(current[0].Isolated.Message, "No receiver has said so yet"))
	return false
}

// reason returns what a receiver said, or otherwise.
func reason(said, otherwise string) string {
	if said == "" {
		return otherwise
	}
	return said
}
