// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"kontain.dev/eventing/vmexec"
)

// runReport is the JSON form of --stats.
type runReport struct {
	Reason  string        `json:"reason"`
	Status  int           `json:"status"`
	Message string        `json:"message,omitempty"`
	Death   *deathReport  `json:"death,omitempty"`
	Stats   *vmexec.Stats `json:"stats"`
}

type deathReport struct {
	Signal    string `json:"signal"`
	Vector    int    `json:"vector"`
	ErrorCode uint64 `json:"errorCode"`
	RIP       string `json:"rip"`
	Addr      string `json:"addr"`
}

// printStats writes what a run cost.
func printStats(w io.Writer, form outputFlag, r *vmexec.Result, status int) error {
	if form == outputJSON {
		report := runReport{Reason: r.Reason.String(), Status: status, Message: r.Message, Stats: &r.Stats}
		if d := r.Death; d != nil {
			report.Death = &deathReport{
				signalName(d.Signal), d.Vector, d.ErrorCode,
				fmt.Sprintf("%#x", d.RIP), fmt.Sprintf("%#x", d.Addr),
			}
		}
		return printJSON(w, report)
	}
	st := &r.Stats
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "\nended\t%s, status %d\n", r.Reason, status)
	fmt.Fprintf(t, "create VM\t%s\n", st.Create.Round(time.Microsecond))
	fmt.Fprintf(t, "load program\t%s\n", st.Load.Round(time.Microsecond))
	fmt.Fprintf(t, "run\t%s\n", st.Run.Round(time.Microsecond))
	fmt.Fprintf(t, "peak memory\t%d pages (%d KiB)\n", st.PeakPages, st.PeakPages*4)
	fmt.Fprintf(t, "threads\t%d at most, %d switches\n", st.Threads, st.Switches)
	fmt.Fprintf(t, "signals delivered\t%d\n", st.Signals)
	fmt.Fprintf(t, "exits\t%d\n", st.Exits)
	fmt.Fprintf(t, "  kicks\t%d\n", st.Kicks)
	fmt.Fprintf(t, "  page faults served\t%d\n", st.PageFaults)
	printCounts(t, "  exception ", st.Exceptions)
	printCounts(t, "  call ", st.Syscalls)
	printCounts(t, "unsupported call ", st.Unsupported)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write statistics: %w", err)
	}
	return nil
}

// printCounts prints one row for each name, the largest count first.
func printCounts(w io.Writer, prefix string, counts map[string]uint64) {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(w, "%s%s\t%d\n", prefix, name, counts[name])
	}
}
