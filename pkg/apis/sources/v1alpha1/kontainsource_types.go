// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/kmeta"

	sinksv1alpha1 "kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

// +genclient
// +genreconciler
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=kontainsources,categories={all,knative,eventing,sources}
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"duck.knative.dev/source=true","eventing.knative.dev/source=true","knative.dev/crd-install=true","app.kubernetes.io/name=kontain-eventing","app.kubernetes.io/part-of=kontain-eventing","app.kubernetes.io/version=devel"}
// +kubebuilder:metadata:annotations={`registry.knative.dev/eventTypes=[{"type":"dev.kontain.NAME.output","description":"What the program of the KontainSource NAME writes that is no CloudEvent itself, unless spec.event.type says otherwise."}]`}
// +kubebuilder:printcolumn:name="Sink",type=string,JSONPath=`.status.sinkUri`
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`,priority=1
// +kubebuilder:printcolumn:name="Interval",type=string,JSONPath=`.spec.interval`,priority=1
// +kubebuilder:printcolumn:name="Suspend",type=boolean,JSONPath=`.spec.suspend`,priority=1
// +kubebuilder:printcolumn:name="Last run",type=date,JSONPath=`.status.history.lastRun`
// +kubebuilder:printcolumn:name="Next run",type=string,JSONPath=`.status.history.nextRun`,priority=1
// +kubebuilder:printcolumn:name="Runs",type=integer,JSONPath=`.status.history.runs`,priority=1
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.history.failed`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`

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
// Exactly one of schedule, interval, once and continuous says when.
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

	// Interval is the time between two runs, from 1s to 8760h.
	// +kubebuilder:validation:Format=duration
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Jitter is the longest time, chosen anew for each run, that a run begins after it is
	// due. Less than the interval.
	// +kubebuilder:validation:Format=duration
	// +optional
	Jitter *metav1.Duration `json:"jitter,omitempty"`

	// Once has one run, when the source is first seen.
	// +optional
	Once bool `json:"once,omitempty"`

	// Continuous has the program run on, and what it writes taken as it comes. When it
	// ends it is started again, after a time that doubles up to five minutes, and begins
	// anew once it has run for ten. Timeout does not bound it.
	// +optional
	Continuous bool `json:"continuous,omitempty"`

	// ConcurrencyPolicy is what becomes of a run that is due while another one goes on.
	// Absent means Forbid.
	// +optional
	ConcurrencyPolicy ConcurrencyPolicy `json:"concurrencyPolicy,omitempty"`

	// State, when it is there, gives the program the file /state, with what the run
	// before left in it. Written by a run that fails, or whose events the sink could not
	// be given, it is forgotten.
	// +optional
	State *State `json:"state,omitempty"`

	// StartingDeadline is how late a run may begin. One that could not begin by then is
	// missed. Absent means that after a time without an adapter the latest run is made
	// good, if it was due within the last day.
	// +kubebuilder:validation:Format=duration
	// +optional
	StartingDeadline *metav1.Duration `json:"startingDeadline,omitempty"`

	// Suspend has no further run begun.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Event completes the event that output becomes which is not one itself.
	// +optional
	Event Event `json:"event,omitempty"`

	// EventTypes are the types of events that the program writes, for those who look for
	// events to subscribe to. What it really writes is not held to them.
	// +kubebuilder:validation:MaxItems=100
	// +optional
	// +listType=atomic
	EventTypes []EventType `json:"eventTypes,omitempty"`

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

// ConcurrencyPolicy is what becomes of a run that is due while another one goes on, as
// CronJob of Kubernetes names it.
// +kubebuilder:validation:Enum=Allow;Forbid;Replace
type ConcurrencyPolicy string

const (
	// ConcurrencyAllow begins it, unless MaxConcurrentRuns go on. Events keep the order in
	// which their runs were due.
	ConcurrencyAllow ConcurrencyPolicy = "Allow"
	// ConcurrencyForbid begins it when the other one has ended; of several the last.
	ConcurrencyForbid ConcurrencyPolicy = "Forbid"
	// ConcurrencyReplace ends the other one, of which nothing is sent.
	ConcurrencyReplace ConcurrencyPolicy = "Replace"
)

// State is a small file that goes from run to run.
type State struct {
	// Limit is the most bytes of it, from 1 to 1Mi. A run that leaves more has
	// failed. Absent means 64Ki.
	// +optional
	Limit *resource.Quantity `json:"limit,omitempty"`
}

// EventType is a type of events that a source declares.
type EventType struct {
	// Type is the attribute type.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Type string `json:"type"`

	// Source is the attribute source, a URI reference. Absent means that of event.
	// +optional
	Source *string `json:"source,omitempty"`

	// Schema is where their data is described, a URI reference.
	// +optional
	Schema string `json:"schema,omitempty"`

	// Description is for people.
	// +optional
	Description string `json:"description,omitempty"`
}

// EventAttributes returns the attributes type and source of the event that output becomes
// which is not one itself.
func (s *KontainSource) EventAttributes() (eventType, source string) {
	eventType = "dev.kontain." + s.Name + ".output"
	source = fmt.Sprintf("/apis/%s/namespaces/%s/kontainsources/%s", SchemeGroupVersion, s.Namespace, s.Name)
	if s.Spec.Event.Type != nil {
		eventType = *s.Spec.Event.Type
	}
	if s.Spec.Event.Source != nil {
		source = *s.Spec.Event.Source
	}
	return eventType, source
}

// CloudEventAttributes returns what status.ceAttributes says of the events of a source:
// the types that it declares or, when there are none, that of the event that output
// becomes. None is there twice.
func (s *KontainSource) CloudEventAttributes() []duckv1.CloudEventAttributes {
	eventType, source := s.EventAttributes()
	if len(s.Spec.EventTypes) == 0 {
		return []duckv1.CloudEventAttributes{{Type: eventType, Source: source}}
	}
	var all []duckv1.CloudEventAttributes
	for _, t := range s.Spec.EventTypes {
		a := duckv1.CloudEventAttributes{Type: t.Type, Source: source}
		if t.Source != nil {
			a.Source = *t.Source
		}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// StateLimit returns the most bytes of the file /state; 0 without one.
func (s *KontainSourceSpec) StateLimit() int {
	switch {
	case s.State == nil:
		return 0
	case s.State.Limit == nil:
		return DefaultStateBytes
	}
	return int(s.State.Limit.Value())
}

// KontainSourceStatus is what the controller observed.
type KontainSourceStatus struct {
	// SourceStatus holds the conditions, sinkUri, sinkCACerts, sinkAudience,
	// ceAttributes and auth.
	duckv1.SourceStatus `json:",inline"`

	// DeliveryStatus holds where events go that the sink does not take, when
	// spec.delivery names a dead letter sink.
	eventingduckv1.DeliveryStatus `json:",inline"`

	// ImageDigest is the image that runs, by digest. It is that of this generation when
	// ImageResolved is True.
	// +optional
	ImageDigest string `json:"imageDigest,omitempty"`

	// History is what the source did. It is some seconds old.
	// +optional
	History *History `json:"history,omitempty"`
}

// History is what a source did since it was made. Its counts are some seconds behind, and
// those of the last seconds are lost when an adapter is killed.
type History struct {
	// LastRun is when the last run began.
	// +optional
	LastRun *metav1.Time `json:"lastRun,omitempty"`
	// LastSuccess is when the last run that ended well began.
	// +optional
	LastSuccess *metav1.Time `json:"lastSuccess,omitempty"`
	// LastFailure is when the last run that failed began.
	// +optional
	LastFailure *metav1.Time `json:"lastFailure,omitempty"`
	// LastSent is when an event was last taken by the sink.
	// +optional
	LastSent *metav1.Time `json:"lastSent,omitempty"`
	// NextRun is when the next run is due.
	// +optional
	NextRun *metav1.Time `json:"nextRun,omitempty"`

	// Runs counts the runs that ended well.
	// +optional
	Runs int64 `json:"runs,omitempty"`
	// Failed counts the runs that failed: nothing of them was sent.
	// +optional
	Failed int64 `json:"failed,omitempty"`
	// Missed counts the runs that were due and not begun.
	// +optional
	Missed int64 `json:"missed,omitempty"`
	// Sent counts the events that the sink, or the dead letter sink, has taken.
	// +optional
	Sent int64 `json:"sent,omitempty"`
	// Lost counts the events that neither would take.
	// +optional
	Lost int64 `json:"lost,omitempty"`
	// Waiting is the number of runs whose events are not all sent.
	// +optional
	Waiting int64 `json:"waiting,omitempty"`
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
