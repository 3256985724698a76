// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command conformance runs test suites that nobody of this project wrote, natively and in
// machines: the tests of Go's standard library and CPython's regression tests. What passes
// natively should pass in a machine. It writes docs/compatibility.md and a JSON file.
//
// A run can be broken off: what the JSON file has is not run again, unless --fresh.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Native is the platform that says what is right.
const native = "native"

// unit is one test program of a suite.
type unit struct {
	Suite string // go or python
	Name  string // import path or module
}

func (u unit) String() string { return u.Suite + "/" + u.Name }

var (
	//go:embed gopackages.txt
	goPackages string
	//go:embed python.txt
	pythonModules string
	//go:embed known.txt
	knownReasons string
)

// lines returns the lines of a list, without comments.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}

func units() []unit {
	var all []unit
	for _, name := range lines(goPackages) {
		all = append(all, unit{"go", name})
	}
	for _, name := range lines(pythonModules) {
		all = append(all, unit{"python", name})
	}
	return all
}

// record is what one unit did on one platform.
type record struct {
	Suite       string            `json:"suite"`
	Name        string            `json:"name"`
	Platform    string            `json:"platform"`
	Tests       map[string]string `json:"tests"`                 // pass, fail, skip, or how it ended: died, timeout
	Problem     string            `json:"problem,omitempty"`     // why the unit did not come to its end
	Unsupported map[string]uint64 `json:"unsupported,omitempty"` // calls that there are not
	Seconds     float64           `json:"seconds"`
}

// results is the JSON file.
type results struct {
	Versions map[string]string `json:"versions"`
	Records  []record          `json:"records"`
}

func (r *results) find(u unit, platform string) *record {
	for i := range r.Records {
		if x := &r.Records[i]; x.Suite == u.Suite && x.Name == u.Name && x.Platform == platform {
			return x
		}
	}
	return nil
}

func (r *results) set(rec record) {
	if old := r.find(unit{rec.Suite, rec.Name}, rec.Platform); old != nil {
		*old = rec
		return
	}
	r.Records = append(r.Records, rec)
	slices.SortFunc(r.Records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Platform, b.Platform))
	})
}

func load(name string) (*results, error) {
	r := &results{Versions: map[string]string{}}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read the results of before: %w", err)
	}
	return r, nil
}

func (r *results) save(name string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", append(b, '\n'), 0o644); err != nil { //nolint:gosec // a report for everybody
		return err
	}
	return os.Rename(name+".new", name)
}

type options struct {
	bin, doc        string
	only, platforms string
	jobs            int
	timeout         time.Duration
	fresh, noRun    bool
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "`folder` that holds kontain; the results go to its folder conformance")
	flag.StringVar(&o.doc, "doc", "docs/compatibility.md", "`file` to write; empty: none")
	flag.StringVar(&o.only, "only", "", "run what this regular `expression` finds in SUITE/NAME, such as go/os or python/test_s")
	flag.StringVar(&o.platforms, "platform", "kvm", "`platforms` beside native, such as kvm,ptrace")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many units run at once")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "`limit` of one unit")
	flag.BoolVar(&o.fresh, "fresh", false, "run again what there are results of")
	flag.BoolVar(&o.noRun, "report", false, "run nothing, write the report")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := conform(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func conform(ctx context.Context, o options) error {
	reasons, err := parseReasons(knownReasons)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Join(o.bin, "conformance"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "out"), 0o755); err != nil { //nolint:gosec // results for everybody
		return err
	}
	file := filepath.Join(dir, "results.json")
	all, err := load(file)
	if err != nil {
		return err
	}
	if !o.noRun {
		if err := runAll(ctx, o, dir, file, all); err != nil {
			return err
		}
	}
	sum := summarize(all, reasons)
	fmt.Print(sum.text())
	if o.doc == "" {
		return nil
	}
	return os.WriteFile(o.doc, []byte(sum.document()), 0o644) //nolint:gosec // a document of the repository
}

// job is a unit to run on a platform.
type job struct {
	unit
	platform string
}

func runAll(ctx context.Context, o options, dir, file string, all *results) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	r, err := newRunner(ctx, o, dir)
	if err != nil {
		return err
	}
	defer r.close()
	all.Versions = r.versions
	var jobs []job
	for _, u := range units() {
		if !only.MatchString(u.String()) {
			continue
		}
		for _, p := range append([]string{native}, strings.Split(o.platforms, ",")...) {
			if o.fresh || all.find(u, p) == nil {
				jobs = append(jobs, job{u, p})
			}
		}
	}
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
		todo = make(chan job)
		done int
	)
	for range max(o.jobs, 1) {
		wg.Go(func() {
			for j := range todo {
				rec, err := r.run(ctx, j)
				mu.Lock()
				done++
				if err == nil {
					all.set(rec)
					err = all.save(file)
					fmt.Printf("%d/%d %s %s: %s\n", done, len(jobs), j.unit, j.platform, rec.counts())
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s on %s: %w", j.unit, j.platform, err))
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		select {
		case todo <- j:
		case <-ctx.Done():
		}
	}
	close(todo)
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// counts is the line of progress of a record.
func (r *record) counts() string {
	n := map[string]int{}
	for _, s := range r.Tests {
		n[s]++
	}
	text := fmt.Sprintf("%d pass", n[pass])
	for _, s := range []string{fail, died, timeout, skip} {
		if n[s] > 0 {
			text += fmt.Sprintf(", %d %s", n[s], s)
		}
	}
	if r.Problem != "" {
		text += " (" + r.Problem + ")"
	}
	return fmt.Sprintf("%s, %.1f s", text, r.Seconds)
}
