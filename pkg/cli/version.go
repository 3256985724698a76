// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// Version is the version of this build. The Makefile sets it with -ldflags.
var Version = "unknown"

func newVersion(s Streams) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  kontain version\n  kontain version --output json | jq -r .version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if output == outputJSON {
				return printJSON(s.Out, v)
			}
			fmt.Fprintf(s.Out, "kontain %s (%s, %s)\n", v.Version, v.Go, v.Platform)
			return nil
		},
	}
	addOutputFlag(cmd, &output)
	return cmd
}
