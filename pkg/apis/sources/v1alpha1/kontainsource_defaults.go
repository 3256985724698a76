// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "context"

// SetDefaults gives every absent field its default. Doing it twice changes
// nothing more.
func (s *KontainSource) SetDefaults(ctx context.Context) {
	s.Spec.FunctionSpec.SetDefaults(ctx)
	s.Spec.Sink.SetDefaults(ctx)
	if s.Spec.Sink.Ref != nil && s.Spec.Sink.Ref.Namespace == "" {
		s.Spec.Sink.Ref.Namespace = s.Namespace
	}
}
