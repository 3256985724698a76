// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"reflect"
	"testing"
)

func TestSnapshotTypes(t *testing.T) {
	if err := stateTypes().Check(reflect.TypeFor[*Snapshot]()); err != nil {
		t.Errorf("what a frozen program may hold cannot all be written to disk:\n%v", err)
	}
}
