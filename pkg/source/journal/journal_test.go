// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func reopen(t *testing.T, j *Journal) *Journal {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, j.dir)
}

func add(t *testing.T, j *Journal, n int) {
	t.Helper()
	e := json.RawMessage(fmt.Sprintf(`{"id":"%d"}`, n))
	if _, err := j.Add(day.Add(time.Duration(n)*time.Minute), []json.RawMessage{e}, fmt.Append(nil, "state ", n)); err != nil {
		t.Fatal(err)
	}
}

func oldest(t *testing.T, j *Journal, n int) *Run {
	t.Helper()
	r, err := j.Oldest()
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		if r != nil {
			t.Fatalf("run %d waits, want none", r.Number)
		}
		return nil
	}
	if r == nil || r.Number != uint64(n) || string(r.Events[0]) != fmt.Sprintf(`{"id":"%d"}`, n) || !r.Scheduled.Equal(day.Add(time.Duration(n)*time.Minute)) {
		t.Fatalf("%+v waits, want run %d", r, n)
	}
	return r
}

// Runs are delivered in their order, and their state is taken over then, also when
// the process ends in between.
func TestJournal(t *testing.T) {
	j := open(t, t.TempDir())
	begun := j.Reached().Begun
	if begun.IsZero() {
		t.Error("it is not known when the source began")
	}
	oldest(t, j, 0)
	for n := 1; n <= 3; n++ {
		add(t, j, n)
	}
	j = reopen(t, j)
	for n := 1; n <= 3; n++ {
		if err := j.Delivered(oldest(t, j, n)); err != nil {
			t.Fatal(err)
		}
		j = reopen(t, j)
		r := j.Reached()
		if r.Run != uint64(n) || string(r.State) != fmt.Sprint("state ", n) || r.Delivered.IsZero() || !r.Begun.Equal(begun) {
			t.Errorf("reached %+v after run %d", r, n)
		}
		if want := day.Add(3 * time.Minute); !j.Dealt().Equal(want) {
			t.Errorf("dealt with up to %v, want %v", j.Dealt(), want)
		}
	}
	oldest(t, j, 0)
	if runs, bytes := j.Waiting(); runs != 0 || bytes != 0 {
		t.Errorf("%d runs with %d bytes wait", runs, bytes)
	}
	if err := j.Passed(day.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := j.Passed(day); err != nil { // nothing goes back
		t.Fatal(err)
	}
	if j = reopen(t, j); !j.Dealt().Equal(day.Add(time.Hour)) {
		t.Errorf("dealt with up to %v", j.Dealt())
	}
	if n, err := j.Add(day.Add(2*time.Hour), nil, nil); n != 4 || err != nil {
		t.Errorf("run %d, %v", n, err)
	}
}

// The process may end between any two writes.
func TestKilledInBetween(t *testing.T) {
	j := open(t, t.TempDir())
	add(t, j, 1)
	file := j.runPath(1)
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Delivered(oldest(t, j, 1)); err != nil {
		t.Fatal(err)
	}
	// Delivered had noted what was reached, and not removed the run.
	if err := os.WriteFile(file, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	j = reopen(t, j)
	oldest(t, j, 0)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a run that was delivered: %v", err)
	}
	// A file was not yet in its place.
	if err := os.WriteFile(filepath.Join(j.dir, ".run-00000000000000000002.json123"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	j = reopen(t, j)
	oldest(t, j, 0)
}

func TestBounds(t *testing.T) {
	j, err := Open(t.TempDir(), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	add(t, j, 1)
	if err := j.Room(); err != nil {
		t.Error(err)
	}
	add(t, j, 2)
	var full *FullError
	if err := j.Room(); !errors.As(err, &full) || full.Runs != 2 {
		t.Errorf("%v with 2 of 2 runs", err)
	}
	if err := j.Delivered(oldest(t, j, 1)); err != nil {
		t.Fatal(err)
	}
	if err := j.Room(); err != nil {
		t.Error(err)
	}
	few, err := Open(t.TempDir(), 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = few.Close() }()
	add(t, few, 1)
	if err := few.Room(); !errors.As(err, &full) {
		t.Errorf("%v with more than 10 bytes", err)
	}
}

func TestRefused(t *testing.T) {
	j := open(t, t.TempDir())
	if _, err := Open(j.dir, 0, 0); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	add(t, j, 1)
	for _, c := range []struct{ file, text, want string }{
		{"reached.json", "{", "is damaged"},
		{"reached.json", `{"version":7}`, "the format 7"},
		{"run-00000000000000000001.json", "", "is damaged"},
		{"run-00000000000000000001.json", `{"version":1,"run":9}`, "holds run 9"},
	} {
		path := filepath.Join(j.dir, c.file)
		kept, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if again, err := Open(j.dir, 0, 0); err == nil {
			_ = again.Close()
			t.Errorf("%s with %q was taken", c.file, c.text)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s with %q: %v, want %q and the path", c.file, c.text, err, c.want)
		}
		if err := os.WriteFile(path, kept, 0o600); err != nil {
			t.Fatal(err)
		}
		j = open(t, j.dir)
	}
}
