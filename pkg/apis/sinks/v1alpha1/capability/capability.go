// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package capability says which field values of a KontainSink this release can
// do. The API is wider than the release: what is not built is refused by name,
// with what to write instead, and never ignored.
package capability

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	"knative.dev/pkg/apis"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

// Row is what this release can do with one field. A field without a row works
// in full.
type Row struct {
	// Field is the path of the field below spec.
	Field string
	// Can names the values that work.
	Can string
	// FilesOnly says that the row is about manifests read from files: in a cluster
	// the field works in full.
	FilesOnly bool

	refuse func(*v1alpha1.KontainSinkSpec) *apis.FieldError
}

// Table returns what this release restricts, in the order of the API.
func Table() []Row {
	return []Row{
		{"env[].valueFrom", "no value", true, func(s *v1alpha1.KontainSinkSpec) (errs *apis.FieldError) {
			for i, e := range s.Env {
				errs = errs.Also(refuseIf(e.ValueFrom != nil, "valueFrom",
					"values from a ConfigMap or Secret are there in a cluster only; write value: TEXT").ViaFieldIndex("env", i))
			}
			return errs
		}},
		{"resources.limits.cpu", v1alpha1.DefaultCPU, false, func(s *v1alpha1.KontainSinkSpec) *apis.FieldError {
			cpu := s.Resources.Limits.CPU
			return refuseIf(cpu != nil && cpu.Cmp(resource.MustParse(v1alpha1.DefaultCPU)) != 0, "resources.limits.cpu",
				fmt.Sprintf("a virtual machine has exactly one processor in this release; write cpu: %q", v1alpha1.DefaultCPU))
		}},
		{"platform", "Auto, KVM, Ptrace; KM with program, isolation: Process and snapshot: {mode: Never}", false, checkKM},
		{"imagePullSecrets", "no value", true, func(s *v1alpha1.KontainSinkSpec) *apis.FieldError {
			return refuseIf(len(s.ImagePullSecrets) > 0, "imagePullSecrets",
				"Secrets are there in a cluster only: here the credentials of docker login are used; remove imagePullSecrets")
		}},
		{"receiver", "Shared", true, func(s *v1alpha1.KontainSinkSpec) *apis.FieldError {
			return only(s.Receiver, "receiver", map[v1alpha1.ReceiverMode]string{
				v1alpha1.ReceiverDedicated: "Dedicated is there in a cluster only; write receiver: Shared",
			})
		}},
	}
}

// checkKM refuses what a program under the Kontain monitor cannot have. The monitor is
// a process that is started for each event, and whose program finds the files of the
// machine it runs on.
func checkKM(s *v1alpha1.KontainSinkSpec) *apis.FieldError {
	if s.Platform != v1alpha1.PlatformKM {
		return nil
	}
	const is = "platform KM starts a process for each event; "
	return refuseIf(s.Isolation != v1alpha1.IsolationProcess, "isolation", is+"write isolation: Process").Also(
		refuseIf(s.Snapshot.Mode == v1alpha1.SnapshotReady, "snapshot.mode", is+"it has no snapshot, write snapshot: {mode: Never}"),
		refuseIf(len(s.Egress) > 0, "egress", "platform KM has no network; remove egress, or write another platform"),
		refuseIf(s.Image != "", "image", "platform KM runs a program with the files of the machine it is on; write program, or another platform"),
		refuseIf(s.Root != "", "root", "platform KM runs a program with the files of the machine it is on; remove root"),
	)
}

// Check returns what this release cannot do of a spec that was read from a file
// and went through SetDefaults, or nil. Values that are wrong in any release are
// Validate's to refuse. Paths start at the spec.
func Check(spec *v1alpha1.KontainSinkSpec) *apis.FieldError {
	var errs *apis.FieldError
	for _, row := range Table() {
		errs = errs.Also(row.refuse(spec))
	}
	return errs
}

// CheckInCluster is Check for a spec that was written to an API server.
func CheckInCluster(spec *v1alpha1.KontainSinkSpec) *apis.FieldError {
	var errs *apis.FieldError
	for _, row := range Table() {
		if !row.FilesOnly {
			errs = errs.Also(row.refuse(spec))
		}
	}
	return errs
}

// CheckSourceInCluster is CheckInCluster for the program of a source. All sources share
// their adapters, which read no Secret and no ConfigMap of a tenant, and connect to
// nothing on behalf of one.
func CheckSourceInCluster(f *v1alpha1.FunctionSpec) *apis.FieldError {
	errs := CheckInCluster(&v1alpha1.KontainSinkSpec{FunctionSpec: *f})
	const not = " is not available to sources in a cluster in this release; "
	for i, e := range f.Env {
		errs = errs.Also(refuseIf(e.ValueFrom != nil, "valueFrom",
			"a value from a ConfigMap or Secret"+not+"write value: TEXT").ViaFieldIndex("env", i))
	}
	return errs.Also(
		refuseIf(len(f.ImagePullSecrets) > 0, "imagePullSecrets", "a pull secret"+not+"use an image that needs none"),
		refuseIf(len(f.Egress) > 0, "egress", "a network outside"+not+"run the source as a ContainerSource, with kontain source run"),
	)
}

func refuseIf(refused bool, field, sentence string) *apis.FieldError {
	if !refused {
		return nil
	}
	return apis.ErrGeneric(sentence, field)
}

// only refuses the values that have a sentence.
func only[T comparable](value T, field string, sentences map[T]string) *apis.FieldError {
	sentence, refused := sentences[value]
	return refuseIf(refused, field, sentence)
}
