// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package event reads and writes CloudEvents 1.0 over HTTP.
//
// The CloudEvents SDK does the translation. This package puts around it the
// checks that the specification asks for and the SDK leaves out: header values
// are unquoted and percent-decoded once, attribute names and values are held to
// their rules, ce-datacontenttype is refused, a JSON event may not repeat or
// misplace a member, and data is written to JSON in a form that cannot change
// the event around it. Every error names the attribute and what to do.
//
// Specifications:
//
//	https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
//	https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
//	https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
package event
