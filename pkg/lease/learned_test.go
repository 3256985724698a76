// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/vmexec"
)

// Which memory an event needs is learned from the first one, and known after a restart
// before there was another.
func TestLearnedOnDisk(t *testing.T) {
	program := buildGo(t)
	for name, options := range places(t) {
		t.Run(name, func(t *testing.T) {
			host := open(t, vmexec.KVM)
			store, err := snapshots.Open(filepath.Join(t.TempDir(), "snapshots"), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			options.Store = store
			spec := Spec{
				Program: program, Tier: TierVM, Snapshot: true, Disk: true, Concurrency: 4, IdleTime: time.Minute,
				Limits: vmexec.Limits{Memory: 64 << 20, Wall: 10 * time.Second},
			}
			// generation is a life of a receiver, with so many events.
			generation := func(events int) (learnedAtFirst bool, file string) {
				w := NewWorkers(host, options)
				defer w.Close()
				src, err := w.New(spec, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				if err := src.Prepare(t.Context()); err != nil {
					t.Fatal(err)
				}
				made := src.(*source).made
				learnedAtFirst = made.frozen.learned()
				for range events {
					if r, err := runOne(t.Context(), src, nil, generate(1)); err != nil || r.ExitStatus() != 0 {
						t.Fatalf("%+v, %v", r, err)
					}
				}
				if err := src.Close(); err != nil { // waits until it is saved
					t.Error(err)
				}
				return learnedAtFirst, made.file
			}
			pages := func(file string) int {
				t.Helper()
				info, err := vmexec.ReadSnapshotInfo(file, true)
				if err != nil {
					t.Fatal(err)
				}
				return len(info.Learned)
			}
			learned, file := generation(0)
			if learned || pages(file) != 0 {
				t.Errorf("before an event: %v, %d pages", learned, pages(file))
			}
			if learned, _ := generation(3); learned || pages(file) == 0 {
				t.Errorf("first event: %v, %d pages", learned, pages(file))
			}
			before := pages(file)
			if learned, _ := generation(1); !learned || pages(file) != before {
				t.Errorf("after a restart: %v, %d pages became %d", learned, before, pages(file))
			}
		})
	}
}
