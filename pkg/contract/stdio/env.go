// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"slices"
	"strings"

	"kontain.dev/eventing/vmexec"
)

// eventPath names the folder with the event as a file, for programs written for a
// JobSink of Knative: https://knative.dev/docs/eventing/sinks/job-sink/
const eventPath = "K_EVENT_PATH="

// WithPath returns an environment, NAME=value, with what programs find there in every
// event: K_EVENT_PATH, unless the sink has given it another value.
func WithPath(env []string) []string {
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, eventPath) }) {
		return env
	}
	return append(slices.Clone(env), eventPath+vmexec.EventFolder)
}
