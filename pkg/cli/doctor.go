// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"kontain.dev/eventing/pkg/doctor"
)

func newDoctor(s Streams) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine offers to run programs",
		Long: `Look at what this machine offers: KVM and its features, the kernel, memory and
limits. Each is tried for real. Lines are marked

  ok    as it should be
  note  worth knowing; nothing fails because of it
  warn  slower or smaller than it could be
  BAD   stands in the way of running programs

Exit status: 0 when programs can be run here, 1 when not.`,
		Example: "  kontain doctor\n  kontain doctor --output json | jq .verdict",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			report := doctor.Examine()
			if output == outputJSON {
				if err := printJSON(s.Out, report); err != nil {
					return err
				}
			} else {
				printReport(s.Out, report)
			}
			if !report.Verdict.CanRun {
				return &exitError{status: ExitFailure}
			}
			return nil
		},
	}
	addOutputFlag(cmd, &output)
	return cmd
}

// printReport prints the findings by area, the values in one column.
func printReport(w io.Writer, r *doctor.Report) {
	width := 0
	for _, f := range r.Findings {
		width = max(width, utf8.RuneCountInString(f.Name))
	}
	area := ""
	for _, f := range r.Findings {
		if f.Area != area {
			if area != "" {
				fmt.Fprintln(w)
			}
			area = f.Area
			fmt.Fprintln(w, area)
		}
		mark := string(f.Level)
		if f.Level == doctor.Bad {
			mark = "BAD"
		}
		fmt.Fprintf(w, "  %-4s  %-*s  %s\n", mark, width, f.Name, f.Value)
		if f.Hint != "" {
			fmt.Fprintf(w, "        %-*s  → %s\n", width, "", f.Hint)
		}
	}
	fmt.Fprintf(w, "\n%s\n", r.Verdict.Text)
}
