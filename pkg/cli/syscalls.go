// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kontain.dev/eventing/vmexec"
)

// levels are the values of vmexec.SyscallSupport.Level.
var levels = []string{"full", "partial", "stub", "refused", "none"}

func newSyscalls(s Streams) *cobra.Command {
	var output outputFlag
	var level string
	cmd := &cobra.Command{
		Use:   "syscalls",
		Short: "List the system calls that programs can make",
		Long: `List the system calls of x86-64 Linux and how much of each there is:

  full      as Linux, for programs without devices and with one user
  partial   a part of it; the note says which
  stub      succeeds without doing anything, which the note justifies
  refused   always fails, with the error that a Linux without the feature gives
  none      fails with ENOSYS; kontain run --stats counts such calls`,
		Example: `  kontain syscalls
  kontain syscalls --level partial
  kontain syscalls --output json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if level != "" && !slices.Contains(levels, level) {
				return usageErrorf("syscalls: --level %q: must be one of %s", level, strings.Join(levels, ", "))
			}
			calls := []vmexec.SyscallSupport{}
			for _, c := range vmexec.Syscalls() {
				if level == "" || c.Level == level {
					calls = append(calls, c)
				}
			}
			if output == outputJSON {
				return printJSON(s.Out, calls)
			}
			t := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "NR\tCALL\tLEVEL\tPROVED BY\tNOTE")
			for _, c := range calls {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", c.Number, c.Name, c.Level, strings.Join(c.Guests, " "), c.Note)
			}
			if err := t.Flush(); err != nil {
				return fmt.Errorf("write the table: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&level, "level", "", "only calls of this `level`")
	addOutputFlag(cmd, &output)
	return cmd
}
