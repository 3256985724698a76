// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/snapshots"
)

// storeFlags say where snapshots are kept.
type storeFlags struct {
	dir  string
	size string
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "snapshot-dir", "", "`folder` for snapshots (default: $"+snapshots.DirVariable+", or kontain/snapshots in your cache)")
	cmd.Flags().StringVar(&f.size, "snapshot-cache-size", fmt.Sprintf("%dGi", snapshots.DefaultSize>>30), "most `bytes` of disk for snapshots, such as 500Mi or 10Gi")
}

// open opens the folder. A mistake in the flags is told as one of command.
func (f *storeFlags) open(command string) (*snapshots.Store, error) {
	size, err := resource.ParseQuantity(f.size)
	if err != nil || size.Value() <= 0 {
		return nil, usageErrorf("%s: --snapshot-cache-size %q: must be a quantity such as 500Mi or 10Gi", command, f.size)
	}
	dir := f.dir
	if dir == "" {
		if dir, err = snapshots.DefaultDir(); err != nil {
			return nil, err
		}
	}
	store, err := snapshots.Open(dir, size.Value())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return store, nil
}
