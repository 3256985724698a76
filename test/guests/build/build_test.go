// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sources makes a folder of guests with one C file.
func sources(t *testing.T, text string) string {
	t.Helper()
	src := t.TempDir()
	if err := os.Mkdir(filepath.Join(src, "family"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"family/a.c": text, "guest.h": ""} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return src
}

func buildOne(t *testing.T, src, dir string, g Guest) Result {
	t.Helper()
	results, err := All(t.Context(), src, dir, []Guest{g, g})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 {
		t.Fatalf("%d results for one guest", len(results))
	}
	return results[g]
}

func TestAllMissingTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for flavour, want := range map[Flavour]string{
		Glibc: "gcc not found: C guests are not tested",
		PIE:   "gcc not found: C guests are not tested",
		Musl:  "musl-gcc not found: musl guests are not tested",
		Cxx:   "g++ not found: C++ guests are not tested",
		Go:    "go not found: Go guests are not tested",
	} {
		r := buildOne(t, sources(t, ""), t.TempDir(), Guest{"a", flavour})
		var missing *MissingToolError
		if !errors.As(r.Err, &missing) || r.Err.Error() != want {
			t.Errorf("%s: error %v, want %s", flavour, r.Err, want)
		}
	}
}

func TestAllErrors(t *testing.T) {
	if r := buildOne(t, sources(t, ""), t.TempDir(), Guest{"a", "cobol"}); r.Err == nil {
		t.Error("an unknown flavour has no error")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(&MissingToolError{Tool: "gcc", Guests: "compiler messages"})
	}
	r := buildOne(t, sources(t, "int main(void) { return undeclared; }"), t.TempDir(), Guest{"a", Glibc})
	if r.Err == nil || !strings.Contains(r.Err.Error(), "undeclared") {
		t.Errorf("error %v does not hold what the compiler said", r.Err)
	}
	if r := buildOne(t, sources(t, ""), t.TempDir(), Guest{"none", Glibc}); !errors.Is(r.Err, os.ErrNotExist) {
		t.Errorf("error %v of a missing source", r.Err)
	}
}

// TestSources holds that a source is found in its family, and that a name which
// two families use is refused.
func TestSources(t *testing.T) {
	src := sources(t, "")
	list, err := Sources(src)
	if want := []Guest{{"a", Glibc}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("sources %v, %v; want %v", list, err, want)
	}
	if err := os.Mkdir(filepath.Join(src, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "other", "a.c"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err := find(src, "a.c"); err == nil {
		t.Errorf("of two sources with one name %s was taken", f)
	}
}

// TestAllKeeps holds that a guest is compiled when its source changed, only
// then, and that the old program goes.
func TestAllKeeps(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(&MissingToolError{Tool: "gcc", Guests: "kept programs"})
	}
	src, dir := sources(t, "int main(void) { return 5; }"), t.TempDir()
	g := Guest{"a", Glibc}
	first := buildOne(t, src, dir, g)
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	before, err := os.Stat(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	again := buildOne(t, src, dir, g)
	after, err := os.Stat(again.Path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Path != first.Path || !os.SameFile(before, after) {
		t.Errorf("compiled again without a change")
	}
	if err := os.WriteFile(filepath.Join(src, "family", "a.c"), []byte("int main(void) { return 6; }"), 0o644); err != nil {
		t.Fatal(err)
	}
	changed := buildOne(t, src, dir, g)
	if changed.Err != nil || changed.Path == first.Path {
		t.Errorf("not compiled again after a change: %v", changed.Err)
	}
	if _, err := os.Stat(first.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old program stays: %v", err)
	}
}
