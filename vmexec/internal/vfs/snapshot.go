// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk. Whoever adds an fd.Cloner or
// a mapper adds it here.
func SnapshotTypes() []any {
	return []any{(*device)(nil), (*dirFile)(nil), (*file)(nil), (*pathFile)(nil), (*textFile)(nil), (*zeroDevice)(nil)}
}
