// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, output string
		tests        map[string]string
		running      []string
	}{
		{
			"go", "\x16=== RUN   TestA\n\x16=== PAUSE TestA\n\x16=== RUN   TestB\nno newline\x16--- PASS: TestB (0.00s)\n" +
				"\x16=== CONT  TestA\n\x16=== RUN   TestA/sub\n    \x16--- FAIL: TestA/sub (0.00s)\n\x16--- FAIL: TestA (0.10s)\n--- PASS: TestFalse (0.00s)\n",
			map[string]string{"TestA": fail, "TestB": pass},
			nil,
		},
		{"go broken off", "\x16=== RUN   TestA\n\x16--- SKIP: TestA (0.00s)\n\x16=== RUN   TestB\n\x16=== PAUSE TestB\n\x16=== RUN   TestC\npanic: x", map[string]string{"TestA": skip}, []string{"TestC"}},
		{
			"python", "\n\x16RUN test.m.T.a\ntext\n\x16PASS test.m.T.a\n\n\x16RUN test.m.T.b (x y)\n\n\x16FAIL test.m.T.b (x y)\n\x16RUN test.m.T.c\n",
			map[string]string{"test.m.T.a": pass, "test.m.T.b (x y)": fail},
			[]string{"test.m.T.c"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := map[string]string{}
			running := parse([]byte(test.output), got)
			if diff := cmp.Diff(test.tests, got); diff != "" || !slices.Equal(running, test.running) {
				t.Errorf("running %q, want %q; tests (-want +got):\n%s", running, test.running, diff)
			}
		})
	}
}

func TestMachineReport(t *testing.T) {
	const report = `{
  "reason": "exited",
  "status": 2,
  "message": "the program ended with exit status 2",
  "stats": {"unsupported": {"fork": 3}}
}
`
	o := outcome{output: []byte("out")}
	o.machine([]byte("of the program\n" + report))
	if string(o.output) != "out\nof the program" || o.unsupported["fork"] != 3 || o.late || o.end != "the program ended with exit status 2" {
		t.Errorf("%+v", o)
	}
	o = outcome{}
	o.machine([]byte("trouble\nkontain: run: no /dev/kvm\n"))
	if o.end != "the monitor failed: kontain: run: no /dev/kvm" || o.status != -1 {
		t.Errorf("%+v", o)
	}
}

func TestSummary(t *testing.T) {
	all := &results{Versions: map[string]string{"go": "go1.0"}}
	all.set(record{Suite: "go", Name: "os", Platform: "kvm", Tests: map[string]string{"TestA": pass, "TestB": fail}, Unsupported: map[string]uint64{"fork": 1}})
	all.set(record{Suite: "go", Name: "os", Platform: native, Tests: map[string]string{"TestA": pass, "TestB": pass, "TestC": fail, "TestD": pass}})
	all.set(record{Suite: "go", Name: "io", Platform: "kvm", Tests: map[string]string{"TestE": pass}})
	all.set(record{Suite: "go", Name: "net", Platform: native, Tests: map[string]string{"TestF": pass}})
	reasons, err := parseReasons("# a comment\n\ngo/os Test[BX]: there is: none\n")
	if err != nil {
		t.Fatal(err)
	}
	s := summarize(all, reasons)
	want := &summary{
		Versions: map[string]string{"go": "go1.0"},
		Totals:   []total{{Suite: "go", Platform: "kvm", Units: 1, Native: 3, Same: 1}},
		Rests: []rest{
			{unit{"go", "os"}, "TestB", "kvm", fail, "there is: none"},
			{unit{"go", "os"}, "TestD", "kvm", "not reached", ""},
		},
		Unsupported: map[string][]string{"fork": {"go/os"}},
		NotRun:      []string{"go/io", "go/net"},
	}
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(summary{}, rest{}, unit{}, total{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, part := range []string{"| go 1.0 | kvm | 3 | 1 | 33.33 % | 1 | 0 |", "| go/os | TestB | kvm | fail | there is: none |", "| fork | go/os |"} {
		if !strings.Contains(s.document(), part) {
			t.Errorf("%q is not in the document:\n%s", part, s.document())
		}
	}
}

func TestReasons(t *testing.T) {
	for _, bad := range []string{"go/os Test(: x", "no reason"} {
		if _, err := parseReasons(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := parseReasons(knownReasons); err != nil {
		t.Error(err)
	}
}

// TestUnits holds that no unit is there twice, and that there are as many as promised.
func TestUnits(t *testing.T) {
	seen := map[unit]bool{}
	count := map[string]int{}
	for _, u := range units() {
		if seen[u] {
			t.Errorf("%s is there twice", u)
		}
		seen[u] = true
		count[u.Suite]++
	}
	if count["go"] < 40 || count["python"] < 150 {
		t.Errorf("%v: too few", count)
	}
}
