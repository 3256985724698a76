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
	// ConditionAddressable says that the sink has an address.
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

// SetAddresses records where events are sent to and marks Addressable: true
// when there is an address, false otherwise. The first is also the address for
// clients that know only one.
func (s *KontainSinkStatus) SetAddresses(addresses ...duckv1.Addressable) {
	if len(addresses) == 0 || addresses[0].URL.IsEmpty() {
		s.AddressStatus = duckv1.AddressStatus{}
		s.MarkNotAddressable("NoAddress", "The sink has no address yet")
		return
	}
	s.AddressStatus = duckv1.AddressStatus{Address: addresses[0].DeepCopy(), Addresses: addresses}
	conditionSet.Manage(s).MarkTrue(ConditionAddressable)
}

// MarkNotAddressable marks Addressable false.
func (s *KontainSinkStatus) MarkNotAddressable(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionAddressable, reason, format, args...)
}

// MarkImageResolved records the image's digest and marks ImageResolved true.
func (s *KontainSinkStatus) MarkImageResolved(digest string) {
	s.ImageDigest = digest
	conditionSet.Manage(s).MarkTrue(ConditionImageResolved)
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

// MarkIsolated marks Isolated true. Ready does not depend on it.
func (s *KontainSinkStatus) MarkIsolated() {
	conditionSet.Manage(s).MarkTrue(ConditionIsolated)
}

// MarkNotIsolated marks Isolated false: the administrator allowed less than the
// sink asks for. Ready does not depend on it.
func (s *KontainSinkStatus) MarkNotIsolated(reason, format string, args ...any) {
	conditionSet.Manage(s).MarkFalse(ConditionIsolated, reason, format, args...)
}
