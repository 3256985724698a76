// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk.
func SnapshotTypes() []any {
	return []any{(*Socket)(nil), (*outsideConn)(nil), (*outsidePort)(nil), (*outwardConn)(nil), Key(0)}
}
