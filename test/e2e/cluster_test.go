// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// TestCluster runs the tests of the module cluster, on a real Kubernetes, when
// it is asked to.
func TestCluster(t *testing.T) {
	if os.Getenv("KONTAIN_E2E") != "1" {
		t.Skip("the tests on a real Kubernetes are run by make e2e, or here with KONTAIN_E2E=1")
	}
	cmd := exec.Command("go", "test", "-count", "1", "-timeout", "60m", "./...")
	cmd.Dir = "cluster"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
