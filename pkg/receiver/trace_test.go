// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
)

// spanSink is a dispatcher that answers with the span that it runs in.
type spanSink struct{ span trace.SpanContext }

func (d *spanSink) Has(string, string) bool { return true }
func (d *spanSink) Dispatch(ctx context.Context, _, name string, _ []*event.Event) ([]*event.Event, *reply.Failure) {
	d.span = trace.SpanContextFromContext(ctx)
	if name == "fails" {
		return nil, reply.Failf(http.StatusGatewayTimeout, reply.DeadlineExceeded, "late")
	}
	return nil, nil
}

// TestTrace holds that a request has one span, of the trace that its header names, and
// that the response names that span.
func TestTrace(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	d := &spanSink{}
	h := New(d, Options{Tracer: provider.Tracer("t")})
	const in = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	post := func(name string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/ns/"+name, strings.NewReader("{}"))
		r.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}, "Traceparent": {in}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := post("a"); w.Code != 200 || w.Header().Get("Traceparent") != "00-0af7651916cd43dd8448eb211c80319c-"+d.span.SpanID().String()+"-01" {
		t.Errorf("%d, traceparent %s, span %s", w.Code, w.Header().Get("Traceparent"), d.span.SpanID())
	}
	if w := post("fails"); w.Code != 504 {
		t.Errorf("%d", w.Code)
	}
	got := spans.GetSpans()
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	for i, s := range got {
		if s.Name != "receive" || s.Parent.SpanID().String() != "b7ad6b7169203331" || s.SpanKind != trace.SpanKindServer {
			t.Errorf("span %+v", s)
		}
		attributes := attribute.NewSet(s.Attributes...)
		failed := attributes.HasValue("http.response.status_code")
		if failed != (i == 1) || failed != (s.Status.Description == string(reply.DeadlineExceeded)) {
			t.Errorf("span of %d: %v, %v", i, s.Attributes, s.Status)
		}
	}
}
