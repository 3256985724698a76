// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one measured thing. Times are nanoseconds.
type row struct {
	Group   string  `json:"group,omitempty"`
	Name    string  `json:"name"`
	Samples int     `json:"samples"`
	Median  float64 `json:"medianNs"`
	P99     float64 `json:"p99Ns,omitempty"`    // absent with fewer than 100 samples
	Native  float64 `json:"nativeNs,omitempty"` // median of the same, natively
	// Speed is native time by time in the machine, the median of pairs: 1 is as
	// fast, less is slower.
	Speed float64 `json:"speed,omitempty"`
	// Exits are the times the vCPU came back to the monitor, for one operation.
	Exits float64            `json:"exits,omitempty"`
	Kinds map[string]float64 `json:"exitKinds,omitempty"`
	// Answered are the system calls that were answered inside the machine; Kinds has
	// them too.
	Answered float64 `json:"answered,omitempty"`
	Rate     float64 `json:"perSecond,omitempty"` // of clients that leave no pause
	// Ratios are of a peer: its median by ours, for each tier.
	Ratios map[string]float64 `json:"ratios,omitempty"`
	// Figures are further results; their names say the unit.
	Figures map[string]float64 `json:"figures,omitempty"`
	Wanted  string             `json:"wanted,omitempty"` // what the median is to be at most, or the rate at least
	Note    string             `json:"note,omitempty"`
}

// report is all of it.
type report struct {
	Time  string `json:"time"`
	Quick bool   `json:"quick,omitempty"` // a tenth of the repetitions
	machine
	Took float64 `json:"tookSeconds,omitempty"`
	Rows []row   `json:"results"`

	group string // of the rows that are added
}

func newReport() *report {
	return &report{Time: time.Now().UTC().Format(time.RFC3339), machine: thisMachine()}
}

// median of values, which it sorts. 0 when there are none.
func median(values []float64) float64 { return quantile(values, 0.5) }

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

// add adds a row made from samples and, when there are any, native ones: as many,
// each taken just before the sample of the same index. The speed is the median
// of the pairs, which a machine that slows down for a while does not move.
func (r *report) add(name string, samples, native []float64) *row {
	var speeds []float64
	for i := range native {
		speeds = append(speeds, native[i]/samples[i])
	}
	line := row{Group: r.group, Name: name, Samples: len(samples), Median: median(samples), Native: median(native), Speed: median(speeds)}
	if len(samples) >= 100 {
		line.P99 = quantile(samples, 0.99)
	}
	r.Rows = append(r.Rows, line)
	return &r.Rows[len(r.Rows)-1]
}

// skip adds a row that says why something was not measured.
func (r *report) skip(name string, why error) {
	r.Rows = append(r.Rows, row{Group: r.group, Name: name, Note: "left out: " + strings.Join(strings.Fields(why.Error()), " ")})
}

// write prints the table, and writes the files that are named.
func (r *report) write(w io.Writer, jsonFile, markdownFile string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if jsonFile == "-" {
		_, err = w.Write(text)
	} else {
		err = r.table(w)
		if err == nil && jsonFile != "" {
			err = keep(w, jsonFile, text)
		}
	}
	if markdownFile != "" {
		var page strings.Builder
		r.markdown(&page)
		err = errors.Join(err, keep(os.Stderr, markdownFile, []byte(page.String())))
	}
	return err
}

// keep writes a file and says so.
func keep(w io.Writer, file string, text []byte) error {
	if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // Results are for everyone to read.
		return err
	}
	_, err := fmt.Fprintf(w, "written to %s\n", file)
	return err
}

// columns are the heads of both tables, cells one row of them.
var columns = []string{"what", "samples", "median", "p99", "wanted", "native", "speed", "exits", "note"}

func (r *row) cells() []string {
	dash := func(present bool, s string) string {
		if present {
			return s
		}
		return "-"
	}
	note := r.Note
	if len(r.Ratios) > 0 {
		note = strings.TrimPrefix(note+"; "+r.ratios(), "; ")
	}
	return []string{
		r.Name, fmt.Sprint(r.Samples), duration(r.Median), duration(r.P99), dash(r.Wanted != "", r.Wanted),
		duration(r.Native), dash(r.Speed > 0, fmt.Sprintf("%.2g", r.Speed)),
		dash(r.Exits > 0, strings.TrimSuffix(fmt.Sprintf("%.1f", r.Exits), ".0")), note,
	}
}

// ratios says how a peer compares with ours.
func (r *row) ratios() string {
	var all []string
	for _, tier := range slices.Sorted(maps.Keys(r.Ratios)) {
		if tier != tiers[0].name { // it is no match for the others, and theirs are what counts
			all = append(all, times(r.Ratios[tier])+" × "+tier)
		}
	}
	return strings.Join(all, ", ")
}

// times prints a ratio with two digits.
func times(ratio float64) string {
	if ratio >= 100 {
		return fmt.Sprintf("%.0f", ratio)
	}
	return fmt.Sprintf("%.2g", ratio)
}

func (r *report) table(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", r.machine)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns, "\t"))
	for i := range r.Rows {
		fmt.Fprintln(t, strings.Join(r.Rows[i].cells(), "\t"))
	}
	return t.Flush()
}

// markdown writes the same for a page of documentation.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s, %s.", r.Time[:10], r.machine)
	if len(r.Versions) > 0 {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
			all = append(all, name+" "+r.Versions[name])
		}
		fmt.Fprintf(w, " With %s.", strings.Join(all, ", "))
	}
	if r.Quick {
		fmt.Fprint(w, " A quick run: a tenth of the repetitions.")
	}
	fmt.Fprintln(w)
	group := "\x00"
	for i := range r.Rows {
		if r.Rows[i].Group != group {
			group = r.Rows[i].Group
			fmt.Fprintf(w, "\n### %s\n\n| %s |\n|%s\n", group, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		}
		cells := r.Rows[i].cells()
		for j := range cells {
			cells[j] = strings.ReplaceAll(cells[j], "|", `\|`)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}

// duration prints nanoseconds with three digits.
func duration(ns float64) string {
	switch {
	case ns == 0:
		return "-"
	case ns < 1e3:
		return fmt.Sprintf("%.3g ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	}
	return fmt.Sprintf("%.3g s", ns/1e9)
}
