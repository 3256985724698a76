// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// row is one measured thing. Times are nanoseconds.
type row struct {
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
	Note     string  `json:"note,omitempty"`
}

// report is all of it.
type report struct {
	Time   string `json:"time"`
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
	PVM    bool   `json:"pvm"` // KVM without hardware help: exits are dear
	Rows   []row  `json:"results"`
}

func newReport() *report {
	r := &report{Time: time.Now().UTC().Format(time.RFC3339), CPUs: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	_, err := os.Stat("/sys/module/kvm_pvm")
	r.PVM = err == nil
	return r
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
	line := row{Name: name, Samples: len(samples), Median: median(samples), Native: median(native), Speed: median(speeds)}
	if len(samples) >= 100 {
		line.P99 = quantile(samples, 0.99)
	}
	r.Rows = append(r.Rows, line)
	return &r.Rows[len(r.Rows)-1]
}

// skip adds a row that says why something was not measured.
func (r *report) skip(name string, why error) {
	r.Rows = append(r.Rows, row{Name: name, Note: "left out: " + strings.Join(strings.Fields(why.Error()), " ")})
}

// write prints the table and writes the JSON file.
func (r *report) write(w io.Writer, jsonFile string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if jsonFile == "-" {
		_, err := w.Write(text)
		return err
	}
	if err := r.table(w); err != nil {
		return err
	}
	if jsonFile == "" {
		return nil
	}
	if err := os.WriteFile(jsonFile, text, 0o644); err != nil { //nolint:gosec // Results are for everyone to read.
		return err
	}
	_, err = fmt.Fprintf(w, "written to %s\n", jsonFile)
	return err
}

func (r *report) table(w io.Writer) error {
	kind := ""
	if r.PVM {
		kind = ", PVM (nested KVM without hardware help)"
	}
	fmt.Fprintf(w, "Linux %s, %d CPUs, %s%s\n\n", r.Kernel, r.CPUs, r.Go, kind)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "what\tsamples\tmedian\tp99\tnative\tspeed\texits\tnote")
	for _, line := range r.Rows {
		exits := "-"
		if line.Exits > 0 {
			exits = strings.TrimSuffix(fmt.Sprintf("%.1f", line.Exits), ".0")
		}
		speed := "-"
		if line.Speed > 0 {
			speed = fmt.Sprintf("%.2g", line.Speed)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", line.Name, line.Samples,
			duration(line.Median), duration(line.P99), duration(line.Native), speed, exits, line.Note)
	}
	return t.Flush()
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
