// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
)

// SinkValuesEnv tells a dedicated receiver what its pod's values are of: SinkValues of the
// sink that the pod was made for. While a changed sink's new pod starts, the old one knows
// by that that its values may be in other places than the new sink says.
const SinkValuesEnv = "KONTAIN_SINK_VALUES"

// SinkValues returns a text that differs for variables whose values come from elsewhere in
// another order, under other names or from other objects; empty when there are none.
func SinkValues(env []v1alpha1.EnvVar) string {
	type value struct {
		Index int
		Var   v1alpha1.EnvVar
	}
	var values []value
	for i, e := range env {
		if e.ValueFrom != nil {
			values = append(values, value{i, e})
		}
	}
	if len(values) == 0 {
		return ""
	}
	text, err := json.Marshal(values)
	if err != nil {
		return "unknown" // cannot happen: there are texts and booleans in it
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
