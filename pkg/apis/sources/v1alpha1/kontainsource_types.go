// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/kmeta"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// KontainSource runs a program in a virtual machine of its own, by a schedule, and
// sends the CloudEvents that it writes to a sink.
type KontainSource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the author wants.
	Spec KontainSourceSpec `json:"spec,omitempty"`
	// Status is what the controller observed; only the controller writes it.
	// +optional
	Status KontainSourceStatus `json:"status,omitempty"`
}

var (
	_ apis.Defaultable   = (*KontainSource)(nil)
	_ apis.Validatable   = (*KontainSource)(nil)
	_ apis.HasSpec       = (*KontainSource)(nil)
	_ apis.Listable      = (*KontainSource)(nil)
	_ runtime.Object     = (*KontainSource)(nil)
	_ kmeta.OwnerRefable = (*KontainSource)(nil)
	_ duckv1.KRShaped    = (*KontainSource)(nil)
)

// KontainSourceSpec says which program a source runs, when, and where its events go.
// Exactly one of schedule, interval and once says when.
type KontainSourceSpec struct {
	// SourceSpec holds sink, where events go, and ceOverrides.
	duckv1.SourceSpec `json:",inline"`

	// FunctionSpec is the program.
	sinksv1alpha1.FunctionSpec `json:",inline"`

	// Schedule is a cron expression of five fields, or of six with seconds in front.
	// +optional
	Schedule string `json:"schedule,omitempty"`

	// TimeZone is that of the schedule, a name of the IANA database. Absent means UTC.
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// Interval is the time between two runs, from MinInterval to MaxInterval.
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Jitter is the longest time, chosen anew for each run, that a run begins after it is
	// due. Less than the interval.
	// +optional
	Jitter *metav1.Duration `json:"jitter,omitempty"`

	// Once has one run, when the source is first seen.
	// +optional
	Once bool `json:"once,omitempty"`

	// StartingDeadline is how late a run may begin. One that could not begin by then is
	// missed. Absent means that after a time without an adapter the latest run is made
	// good, if it was due within the last day.
	// +optional
	StartingDeadline *metav1.Duration `json:"startingDeadline,omitempty"`

	// Suspend has no further run begun.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Event completes the event that output becomes which is not one itself.
	// +optional
	Event Event `json:"event,omitempty"`

	// Delivery is how the sink is tried, and what becomes of events that it does not take.
	// Absent, or without retry, means that an event is tried until the sink takes it or
	// refuses it for good.
	// +optional
	Delivery *eventingduckv1.DeliverySpec `json:"delivery,omitempty"`
}

// Event holds attributes of the events of a source.
type Event struct {
	// Type is the attribute type. Absent means dev.kontain.NAME.output.
	// +optional
	Type *string `json:"type,omitempty"`

	// Source is the attribute source, a URI reference. Absent means the path of the
	// KontainSource.
	// +optional
	Source *string `json:"source,omitempty"`
}

// KontainSourceStatus is what the controller observed.
type KontainSourceStatus struct {
	// SourceStatus holds the conditions, sinkUri, sinkCACerts, sinkAudience,
	// ceAttributes and auth.
	duckv1.SourceStatus `json:",inline"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// KontainSourceList is a list of KontainSources.
type KontainSourceList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// Items are the sources.
	Items []KontainSource `json:"items"`
}

// conditionSet: a source without a sink is not ready.
var conditionSet = apis.NewLivingConditionSet(ConditionSinkProvided)

// ConditionSinkProvided says that it is known where the events go.
const ConditionSinkProvided apis.ConditionType = "SinkProvided"

// GetConditionSet returns the conditions that Ready depends on.
func (*KontainSource) GetConditionSet() apis.ConditionSet { return conditionSet }

// GetGroupVersionKind returns the GroupVersionKind of KontainSource.
func (*KontainSource) GetGroupVersionKind() schema.GroupVersionKind {
	return SchemeGroupVersion.WithKind("KontainSource")
}

// GetUntypedSpec returns the spec.
func (s *KontainSource) GetUntypedSpec() any { return s.Spec }

// GetStatus returns the part of the status that all Knative kinds share.
func (s *KontainSource) GetStatus() *duckv1.Status { return &s.Status.Status }

// GetListType returns an empty list of this kind.
func (*KontainSource) GetListType() runtime.Object { return &KontainSourceList{} }
