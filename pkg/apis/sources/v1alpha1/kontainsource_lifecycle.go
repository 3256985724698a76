// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// The conditions of a KontainSource. Ready is true when SinkProvided,
// DeadLetterSinkResolved, OIDCIdentityCreated, ImageResolved and Scheduled are; Succeeding,
// Delivering and Isolated inform and do not decide.
const (
	// ConditionReady says that the program runs when it is due and its events are sent.
	ConditionReady = apis.ConditionReady
	// ConditionSinkProvided says that it is known where the events go.
	ConditionSinkProvided apis.ConditionType = "SinkProvided"
	// ConditionDeadLetterSinkResolved says that it is known where events go that the sink
	// does not take, if they go anywhere.
	ConditionDeadLetterSinkResolved apis.ConditionType = "DeadLetterSinkResolved"
	// ConditionOIDCIdentityCreated says that the source has the service account that it
	// sends as, if it needs one.
	ConditionOIDCIdentityCreated apis.ConditionType = "OIDCIdentityCreated"
	// ConditionImageResolved says that the image's digest is known.
	ConditionImageResolved apis.ConditionType = "ImageResolved"
	// ConditionScheduled says that an adapter runs the program of this generation when it
	// is due.
	ConditionScheduled apis.ConditionType = "Scheduled"
	// ConditionSucceeding says whether the last run ended well.
	ConditionSucceeding apis.ConditionType = "Succeeding"
	// ConditionDelivering says whether the sink takes the events.
	ConditionDelivering apis.ConditionType = "Delivering"
	// ConditionIsolated says that the isolation asked for is the one in use.
	ConditionIsolated apis.ConditionType = "Isolated"
)

var conditionSet = apis.NewLivingConditionSet(
	ConditionSinkProvided,
	ConditionDeadLetterSinkResolved,
	ConditionOIDCIdentityCreated,
	ConditionImageResolved,
	ConditionScheduled,
)

// GetConditionSet returns the conditions that Ready depends on.
func (*KontainSource) GetConditionSet() apis.ConditionSet { return conditionSet }

// GetCondition returns the condition of a type, nil when it was never set.
func (s *KontainSourceStatus) GetCondition(t apis.ConditionType) *apis.Condition {
	return conditionSet.Manage(s).GetCondition(t)
}

// InitializeConditions sets each condition that Ready depends on to Unknown
// unless it has a value.
func (s *KontainSourceStatus) InitializeConditions() {
	conditionSet.Manage(s).InitializeConditions()
}

// IsReady says whether the status of the source's own generation is Ready: true
// of an older generation does not count.
func (s *KontainSource) IsReady() bool {
	return s.Status.ObservedGeneration == s.Generation && s.Status.GetCondition(ConditionReady).IsTrue()
}

// MarkSink records where the events go.
func (s *KontainSourceStatus) MarkSink(to *duckv1.Addressable) {
	s.SinkURI, s.SinkCACerts, s.SinkAudience = to.URL, to.CACerts, to.Audience
	conditionSet.Manage(s).MarkTrue(ConditionSinkProvided)
}

// MarkNoSink records that nobody knows where the events go: no program runs then.
func (s *KontainSourceStatus) MarkNoSink(reason, format string, args ...any) {
	s.SinkURI, s.SinkCACerts, s.SinkAudience = nil, nil, nil
	conditionSet.Manage(s).MarkFalse(ConditionSinkProvided, reason, format, args...)
}

// MarkDeadLetterSink records where events go that the sink does not take.
func (s *KontainSourceStatus) MarkDeadLetterSink(to *duckv1.Addressable) {
	s.DeliveryStatus = eventingduckv1.NewDeliveryStatusFromAddressable(to)
	conditionSet.Manage(s).MarkTrue(ConditionDeadLetterSinkResolved)
}

// MarkNoDeadLetterSink records that the dead letter sink that is asked for is not there.
func (s *KontainSourceStatus) MarkNoDeadLetterSink(reason, format string, args ...any) {
	s.DeliveryStatus = eventingduckv1.DeliveryStatus{}
	conditionSet.Manage(s).MarkFalse(ConditionDeadLetterSinkResolved, reason, format, args...)
}

// MarkDeadLetterSinkNotConfigured records that none is asked for.
func (s *KontainSourceStatus) MarkDeadLetterSinkNotConfigured() {
	s.DeliveryStatus = eventingduckv1.DeliveryStatus{}
	conditionSet.Manage(s).MarkTrueWithReason(ConditionDeadLetterSinkResolved, "DeadLetterSinkNotConfigured", "No dead letter sink is configured.")
}

// MarkOIDCIdentityCreatedSucceeded marks OIDCIdentityCreated true.
func (s *KontainSourceStatus) MarkOIDCIdentityCreatedSucceeded() {
	conditionSet.Manage(s).MarkTrue(ConditionOIDCIdentityCreated)
}

// MarkOIDCIdentityCreatedSucceededWithReason marks OIDCIdentityCreated true and says why.
func (s *KontainSourceStatus) MarkOIDCIdentityCreatedSucceededWithReason(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkTrueWithReason(ConditionOIDCIdentityCreated, reason, format, args...)
}

// MarkOIDCIdentityCreatedFailed marks OIDCIdentityCreated false.
func (s *KontainSourceStatus) MarkOIDCIdentityCreatedFailed(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionOIDCIdentityCreated, reason, format, args...)
}

// Mark sets a condition to what an adapter found. A finding without a status is Unknown.
func (s *KontainSourceStatus) Mark(t apis.ConditionType, f Finding) {
	m := conditionSet.Manage(s)
	switch f.Status {
	case FindingTrue:
		if f.Reason == "" && f.Message == "" {
			m.MarkTrue(t)
		} else {
			m.MarkTrueWithReason(t, f.Reason, "%s", f.Message)
		}
	case FindingFalse:
		m.MarkFalse(t, f.Reason, "%s", f.Message)
	default:
		m.MarkUnknown(t, f.Reason, "%s", f.Message)
	}
}

// Clear takes away a condition that Ready does not depend on.
func (s *KontainSourceStatus) Clear(t apis.ConditionType) {
	// The error is of those that Ready depends on.
	_ = conditionSet.Manage(s).ClearCondition(t)
}
