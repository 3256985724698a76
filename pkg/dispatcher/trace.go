// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package dispatcher

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of spans.
const scope = "kontain.dev/eventing"

// step begins the span of one step of an event that is traced, and returns what ends it.
func step(ctx context.Context, name string) func() {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return func() {}
	}
	_, span := parent.TracerProvider().Tracer(scope).Start(ctx, name)
	return func() { span.End() }
}
