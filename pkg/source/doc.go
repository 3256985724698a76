// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package source runs programs in virtual machines and sends the events that they
// write to a sink.
package source
