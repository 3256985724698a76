// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What is due from a time on: the next ones, in UTC.
func TestCron(t *testing.T) {
	for _, c := range []struct {
		name, expression, zone, from string
		want                         []string
	}{
		{"every minute", "* * * * *", "", "2026-01-01T00:00:00Z", []string{"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}},
		{"seconds", "*/20 * * * * *", "", "2026-01-01T00:00:00Z", []string{"2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"}},
		{"daily", "@daily", "Europe/Berlin", "2026-01-01T00:00:00Z", []string{"2026-01-01T23:00:00Z", "2026-01-02T23:00:00Z"}},
		{"leap day", "0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},

		// Berlin: at 2 o'clock of 29 March it becomes 3, at 3 of 25 October 2.
		{
			"skipped: when the clocks go forward", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		},
		{
			"two that are skipped are one", "0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
		},
		{
			"shown twice: the first time", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		},
		{"asked between the two", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", []string{"2026-10-26T01:30:00Z"}},
		{"asked in the second one", "50 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:50:00Z"}},
		{"after the second one", "0 3 * * *", "Europe/Berlin", "2026-10-25T00:59:00Z", []string{"2026-10-25T02:00:00Z"}},
		{
			"an hour of * goes by what passes, in spring", "15 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T00:15:00Z", "2026-03-29T01:15:00Z", "2026-03-29T02:15:00Z"},
		},
		{
			"and in autumn", "15 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
			[]string{"2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"},
		},
		{
			"@hourly too", "@hourly", "Europe/Berlin", "2026-10-24T23:59:00Z",
			[]string{"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
		},
		// Lord Howe: half an hour, at 2 o'clock of 5 April and 4 October.
		{
			"half an hour, skipped", "10 2 * * *", "Australia/Lord_Howe", "2026-10-03T10:00:00Z",
			[]string{"2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"},
		},
		{
			"half an hour, twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T10:00:00Z",
			[]string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"},
		},
		// Apia had no 30 December 2011.
		{
			"a day that was not", "0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z",
			[]string{"2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Cron(c.expression, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for v, i := at(t, c.from), 0; i < len(c.want); i++ {
				v = s.Next(v)
				got = append(got, v.UTC().Format(time.RFC3339))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s in %s after %s:\n got %v\nwant %v", c.expression, c.zone, c.from, got, c.want)
			}
		})
	}
}

// Whatever second of a year is asked about, time goes forward, and each day has its
// one run.
func TestDaily(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"} {
		for _, expression := range []string{"30 2 * * *", "0 0 * * *", "59 1 * * *", "0 3 * * *"} {
			s, err := Cron(expression, zone)
			if err != nil {
				t.Fatal(err)
			}
			v, end, runs := at(t, "2025-12-31T23:59:59Z"), at(t, "2026-12-31T23:59:59Z"), 0
			for ; ; runs++ {
				next := s.Next(v)
				if !next.After(v) || next.Sub(v) > 26*time.Hour {
					t.Fatalf("%s in %s: %v after %v", expression, zone, next, v)
				}
				// It is the same from any moment before it.
				if again := s.Next(next.Add(-time.Second)); !again.Equal(next) {
					t.Fatalf("%s in %s: %v, but %v a second before", expression, zone, next, again)
				}
				if v = next; v.After(end) {
					break
				}
			}
			if runs != 365 {
				t.Errorf("%s in %s: %d runs in 365 days", expression, zone, runs)
			}
		}
	}
}

func TestCronRefused(t *testing.T) {
	for _, c := range []struct{ expression, zone, want string }{
		{"", "", "is empty"},
		{"* * * *", "", "no cron expression"},
		{"61 * * * *", "", "no cron expression"},
		{"* * * * * * *", "", "no cron expression"},
		{"0 0 30 2 *", "", "never comes"},
		{"@every 5s", "", "the field interval"},
		{"CRON_TZ=UTC * * * * *", "", "the field timeZone"},
		{"* * * * *", "Europe/Nowhere", "no time zone"},
		{"* * * * *", "Local", "on each machine"},
		{"* * * * *", "../../etc/passwd", "no time zone"},
		{strings.Repeat("1,", 200) + "1 * * * *", "", "at most 256"},
	} {
		if _, err := Cron(c.expression, c.zone); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %q: %v, want %q", c.expression, c.zone, err, c.want)
		}
	}
}

func FuzzCron(f *testing.F) {
	f.Add("*/5 * * * *", "Europe/Berlin")
	f.Add("0 30 2 * * MON-FRI", "America/New_York")
	f.Add("@monthly", "")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		s, err := Cron(expression, zone)
		if err != nil {
			return
		}
		v := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		for range 20 {
			next := s.Next(v)
			if next.IsZero() {
				return
			}
			if !next.After(v) {
				t.Fatalf("%q in %q: %v after %v", expression, zone, next, v)
			}
			v = next
		}
	})
}

func TestEvery(t *testing.T) {
	anchor := at(t, "2026-01-01T00:00:03Z")
	s := Every(anchor, 10*time.Second)
	for from, want := range map[string]string{
		"2025-12-31T00:00:00Z": "2026-01-01T00:00:03Z",
		"2026-01-01T00:00:03Z": "2026-01-01T00:00:13Z",
		"2026-01-01T00:00:12Z": "2026-01-01T00:00:13Z",
		"2026-01-02T00:00:00Z": "2026-01-02T00:00:03Z",
	} {
		if got := s.Next(at(t, from)); !got.Equal(at(t, want)) {
			t.Errorf("after %s: %v, want %s", from, got, want)
		}
	}
}

func TestDue(t *testing.T) {
	minutes, err := Cron("* * * * *", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, last, now string
		deadline        time.Duration
		run             string
		missed          int
	}{
		{"not yet", "2026-01-01T00:00:00Z", "2026-01-01T00:00:59Z", 0, "", 0},
		{"on time", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", 0, "2026-01-01T00:01:00Z", 0},
		{"late", "2026-01-01T00:00:00Z", "2026-01-01T00:01:40Z", 0, "2026-01-01T00:01:00Z", 0},
		{"nobody was there: one run, no storm", "2026-01-01T00:00:00Z", "2026-01-01T01:00:30Z", 0, "2026-01-01T01:00:00Z", 59},
		{"too late", "2026-01-01T00:00:00Z", "2026-01-01T00:01:40Z", 30 * time.Second, "", 1},
		{"just not too late", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z", 30 * time.Second, "2026-01-01T00:01:00Z", 0},
		{"the clock went back", "2026-01-01T12:00:00Z", "2026-01-01T11:30:00Z", 0, "", 0},
		{"and comes again", "2026-01-01T12:00:00Z", "2026-01-01T12:01:00Z", 0, "2026-01-01T12:01:00Z", 0},
		{"a year without", "2025-01-01T00:00:00Z", "2026-01-01T00:00:30Z", 0, "2026-01-01T00:00:00Z", 1440},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, missed := Due(minutes, at(t, c.last), at(t, c.now), c.deadline)
			var want time.Time
			if c.run != "" {
				want = at(t, c.run)
			}
			if !run.Equal(want) || missed != c.missed {
				t.Errorf("%v and %d missed, want %v and %d", run, missed, want, c.missed)
			}
		})
	}
	if run, _ := Due(Once(at(t, "2026-01-01T00:00:00Z")), at(t, "2026-01-01T00:00:00Z"), at(t, "2026-02-01T00:00:00Z"), 0); !run.IsZero() {
		t.Errorf("once, and again at %v", run)
	}
}
