// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk: files, and what waits on their
// queues. Whoever adds a Cloner adds it here.
func SnapshotTypes() []any {
	return []any{
		(*CaptureOutput)(nil), (*Epoll)(nil), (*EventFD)(nil), (*EventInput)(nil), (*PipeReader)(nil), (*PipeWriter)(nil),
		(*TimerFD)(nil), (*epollItem)(nil),
	}
}
