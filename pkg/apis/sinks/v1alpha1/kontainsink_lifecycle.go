// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// The conditions of a KontainSink. Ready is true when Addressable,
// ImageResolved and EventPoliciesReady are; SnapshotReady and Isolated inform
// and do not decide.
const (
	// ConditionReady says that events sent to the address are handled.
	ConditionReady = apis.ConditionReady
	// ConditionAddressable says that the sink has an address and that events sent
	// there are handled.
	ConditionAddressable apis.ConditionType = "Addressable"
	// ConditionImageResolved says that the image's digest is known.
	ConditionImageResolved apis.ConditionType = "ImageResolved"
	// ConditionEventPoliciesReady says that all EventPolicies of the sink are in
	// force.
	ConditionEventPoliciesReady apis.ConditionType = "EventPoliciesReady"
	// ConditionSnapshotReady says that a snapshot of this generation exists.
	ConditionSnapshotReady apis.ConditionType = "SnapshotReady"
	// ConditionIsolated says that the isolation asked for is the one in use.
	ConditionIsolated apis.ConditionType = "Isolated"
)

var conditionSet = apis.NewLivingConditionSet(
	ConditionAddressable,
	ConditionImageResolved,
	ConditionEventPoliciesReady,
)

// GetConditionSet returns the conditions that Ready depends on.
func (*KontainSink) GetConditionSet() apis.ConditionSet { return conditionSet }

// GetCondition returns the condition of a type, nil when it was never set.
func (s *KontainSinkStatus) GetCondition(t apis.ConditionType) *apis.Condition {
	return conditionSet.Manage(s).GetCondition(t)
}

// IsReady says whether the status of the sink's own generation is Ready: true
// of an older generation does not count.
func (s *KontainSink) IsReady() bool {
	return s.Status.ObservedGeneration == s.Generation && s.Status.GetCondition(ConditionReady).IsTrue()
}

// InitializeConditions sets each condition that Ready depends on to Unknown
// unless it has a value.
func (s *KontainSinkStatus) InitializeConditions() {
	conditionSet.Manage(s).InitializeConditions()
}

// SetAddresses records where events are sent to; whether they are handled there
// is for the condition Addressable. address is for clients that know only one,
// addresses are all when there are several, the best first.
func (s *KontainSinkStatus) SetAddresses(address duckv1.Addressable, addresses ...duckv1.Addressable) {
	s.AddressStatus = duckv1.AddressStatus{Address: &address, Addresses: addresses}
}

// MarkAddressable marks Addressable true: events sent to the address are handled.
func (s *KontainSinkStatus) MarkAddressable() {
	conditionSet.Manage(s).MarkTrue(ConditionAddressable)
}

// MarkAddressableUnknown marks Addressable unknown.
func (s *KontainSinkStatus) MarkAddressableUnknown(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkUnknown(ConditionAddressable, reason, format, args...)
}

// MarkNotAddressable marks Addressable false. The addresses stay.
func (s *KontainSinkStatus) MarkNotAddressable(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionAddressable, reason, format, args...)
}

// MarkImageResolved records the image's digest and marks ImageResolved true.
func (s *KontainSinkStatus) MarkImageResolved(digest string) {
	s.ImageDigest = digest
	conditionSet.Manage(s).MarkTrue(ConditionImageResolved)
}

// MarkImageUnknown marks ImageResolved unknown. The digest stays: it belongs to
// the generation that still serves.
func (s *KontainSinkStatus) MarkImageUnknown(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkUnknown(ConditionImageResolved, reason, format, args...)
}

// MarkImageNotResolved marks ImageResolved false. The digest stays: it belongs
// to the generation that still serves.
func (s *KontainSinkStatus) MarkImageNotResolved(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionImageResolved, reason, format, args...)
}

// MarkEventPoliciesTrue marks EventPoliciesReady true.
func (s *KontainSinkStatus) MarkEventPoliciesTrue() {
	conditionSet.Manage(s).MarkTrue(ConditionEventPoliciesReady)
}

// MarkEventPoliciesTrueWithReason marks EventPoliciesReady true and says why.
func (s *KontainSinkStatus) MarkEventPoliciesTrueWithReason(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkTrueWithReason(ConditionEventPoliciesReady, reason, format, args...)
}

// MarkEventPoliciesFailed marks EventPoliciesReady false.
func (s *KontainSinkStatus) MarkEventPoliciesFailed(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionEventPoliciesReady, reason, format, args...)
}

// MarkEventPoliciesUnknown marks EventPoliciesReady unknown.
func (s *KontainSinkStatus) MarkEventPoliciesUnknown(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkUnknown(ConditionEventPoliciesReady, reason, format, args...)
}

// MarkSnapshotReady marks SnapshotReady true. Ready does not depend on it.
func (s *KontainSinkStatus) MarkSnapshotReady() {
	conditionSet.Manage(s).MarkTrue(ConditionSnapshotReady)
}

// MarkSnapshotNotReady marks SnapshotReady false: each event starts the program
// anew. Ready does not depend on it.
func (s *KontainSinkStatus) MarkSnapshotNotReady(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionSnapshotReady, reason, format, args...)
}

// MarkSnapshotUnknown marks SnapshotReady unknown. Ready does not depend on it.
func (s *KontainSinkStatus) MarkSnapshotUnknown(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkUnknown(ConditionSnapshotReady, reason, format, args...)
}

// ClearSnapshot removes SnapshotReady: the sink wants no snapshot.
func (s *KontainSinkStatus) ClearSnapshot() {
	// The error is of conditions that Ready depends on.
	_ = conditionSet.Manage(s).ClearCondition(ConditionSnapshotReady)
}

// MarkIsolated marks Isolated true. Ready does not depend on it.
func (s *KontainSinkStatus) MarkIsolated() {
	conditionSet.Manage(s).MarkTrue(ConditionIsolated)
}

// MarkNotIsolated marks Isolated false: the administrator allowed less than the
// sink asks for. Ready does not depend on it.
func (s *KontainSinkStatus) MarkNotIsolated(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionIsolated, reason, format, args...)
}

// MarkIsolatedUnknown marks Isolated unknown. Ready does not depend on it.
func (s *KontainSinkStatus) MarkIsolatedUnknown(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkUnknown(ConditionIsolated, reason, format, args...)
}

// ResolvedImage returns the image of the sink's own generation by digest,
// REPOSITORY@sha256:DIGEST, or nothing while it is not settled: status.imageDigest
// is then that of an older generation.
func (s *KontainSink) ResolvedImage() string {
	if s.Status.ObservedGeneration != s.Generation || !s.Status.GetCondition(ConditionImageResolved).IsTrue() {
		return ""
	}
	return s.Status.ImageDigest
}
