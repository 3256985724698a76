// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"reflect"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/snapshot/graph"
	"kontain.dev/eventing/vmexec/internal/syscalls"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// savedState is what of a snapshot is written beside its memory.
type savedState struct {
	Snapshot *Snapshot
	Used     []uint64 // Snapshot.used
}

// stateTypes describes the types of savedState. What is external belongs to the
// host, or is the clone's own.
func stateTypes() *graph.Types {
	ts := &graph.Types{}
	ts.External(
		reflect.TypeFor[*Program](), reflect.TypeFor[*guestmem.Image](), reflect.TypeFor[*guestmem.Memory](), reflect.TypeFor[*mm.Spaces](),
		reflect.TypeFor[platform.Machine](), reflect.TypeFor[*task.Table](), reflect.TypeFor[*vfs.FS](), reflect.TypeFor[vfs.Lower](),
	)
	ts.Register(fd.SnapshotTypes()...)
	ts.Register(mm.SnapshotTypes()...)
	ts.Register(syscalls.SnapshotTypes()...)
	ts.Register(task.SnapshotTypes()...)
	ts.Register(vfs.SnapshotTypes()...)
	return ts
}
