// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"k8s.io/utils/ptr"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/network"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/install"
)

// service returns the namespace and name of the Service of a sink's receiver.
func service(sink *v1alpha1.KontainSink) (namespace, name string) {
	if sink.Spec.Receiver == v1alpha1.ReceiverDedicated {
		return sink.Namespace, install.DedicatedName(sink.Name)
	}
	return system.Namespace(), install.ReceiverName
}

// addresses returns where events of a sink are sent to, by the feature
// transport-encryption: http alone; https and http, with http as what clients that
// know one address take; https alone. caCerts is the receiver's certificate
// authority, where it is known.
//
// See https://knative.dev/docs/eventing/features/transport-encryption/.
func addresses(sink *v1alpha1.KontainSink, flags feature.Flags, caCerts *string) (duckv1.Addressable, []duckv1.Addressable) {
	namespace, name := service(sink)
	address := func(scheme string) duckv1.Addressable {
		a := duckv1.Addressable{
			Name: ptr.To(scheme),
			URL:  &apis.URL{Scheme: scheme, Host: network.GetServiceHostname(name, namespace), Path: "/" + sink.Namespace + "/" + sink.Name},
		}
		if scheme == "https" {
			a.CACerts = caCerts
		}
		if flags.IsOIDCAuthentication() {
			a.Audience = ptr.To(auth.GetAudience(v1alpha1.SchemeGroupVersion.WithKind("KontainSink"), sink.ObjectMeta))
		}
		return a
	}
	switch {
	case flags.IsStrictTransportEncryption():
		return address("https"), []duckv1.Addressable{address("https")}
	case flags.IsPermissiveTransportEncryption():
		return address("http"), []duckv1.Addressable{address("https"), address("http")}
	default:
		return address("http"), nil
	}
}
