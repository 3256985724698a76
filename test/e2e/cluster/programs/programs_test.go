// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestModule compares what is built with what go.mod has.
func TestModule(t *testing.T) {
	data, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod := string(data)
	if !strings.Contains(mod, "k8s.io/kubernetes "+KubernetesVersion+" ") {
		t.Errorf("KubernetesVersion %s is not that of k8s.io/kubernetes in go.mod", KubernetesVersion)
	}
	for name, pkg := range Upstream {
		if !slices.Contains(Processes, name) && !slices.Contains(Node, name) {
			t.Errorf("%s is not built", name)
		}
		if !strings.Contains(mod, "\n\t"+pkg+"\n") {
			t.Errorf("%s: %s is no tool of go.mod", name, pkg)
		}
	}
	if built := len(Processes) + len(Node); built != len(Upstream) {
		t.Errorf("%d programs are built, and %d are named", built, len(Upstream))
	}
}
