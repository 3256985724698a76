// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=kontainsourcestates
// +kubebuilder:metadata:labels={"knative.dev/crd-install=true","app.kubernetes.io/name=kontain-eventing","app.kubernetes.io/part-of=kontain-eventing","app.kubernetes.io/version=devel"}
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.holder`
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.report.history.waiting`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`

// KontainSourceState is what must not be forgotten of the KontainSource of the same name,
// which owns it: its events that the sink has not taken, what it has reached, and what its
// adapter reports. Adapters write it, the one that holds the source; nobody else needs to
// read it but the controller.
type KontainSourceState struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Holder is who writes: an adapter writes its name here before it runs the source, and
	// what another one writes after that is refused.
	// +optional
	Holder string `json:"holder,omitempty"`

	// Journal holds the runs whose events are not all sent, in JSON.
	// +optional
	Journal []byte `json:"journal,omitempty"`

	// Report is what the controller writes into the status of the source.
	// +optional
	Report Report `json:"report,omitempty"`
}

// Report is what an adapter found of a source.
type Report struct {
	// Generation is that of the source that the findings are about.
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// Image is the image that runs, by digest.
	// +optional
	Image string `json:"image,omitempty"`

	// ImageResolved, Scheduled, Succeeding, Delivering and Isolated are the source's
	// conditions of these names.
	// +optional
	ImageResolved Finding `json:"imageResolved,omitempty"`
	// +optional
	Scheduled Finding `json:"scheduled,omitempty"`
	// +optional
	Succeeding Finding `json:"succeeding,omitempty"`
	// +optional
	Delivering Finding `json:"delivering,omitempty"`
	// +optional
	Isolated Finding `json:"isolated,omitempty"`

	// History is what the source did.
	// +optional
	History History `json:"history,omitempty"`
}

// FindingStatus is True, False or, when nothing is known, empty.
// +kubebuilder:validation:Enum="";"True";"False"
type FindingStatus string

// What a finding may be.
const (
	FindingTrue  FindingStatus = "True"
	FindingFalse FindingStatus = "False"
)

// Finding is a condition as an adapter sees it.
type Finding struct {
	// Status is True, False or, when nothing is known, empty.
	// +optional
	Status FindingStatus `json:"status,omitempty"`
	// Reason is one word.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message is for people.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// KontainSourceStateList is a list of KontainSourceStates.
type KontainSourceStateList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// Items are the states.
	Items []KontainSourceState `json:"items"`
}

var _ runtime.Object = (*KontainSourceState)(nil)
