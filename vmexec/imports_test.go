// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImports holds the monitor to what it may stand on: the standard library,
// golang.org/x, itself and, for the jail, the libraries of seccomp and Landlock. Nothing
// of this project's pkg, Kubernetes, Knative
// or CloudEvents.
func TestImports(t *testing.T) {
	allowed := []string{
		"kontain.dev/eventing/vmexec", "golang.org/x/sys", "golang.org/x/sync", "golang.org/x/net/dns/dnsmessage",
		"github.com/elastic/go-seccomp-bpf", "github.com/landlock-lsm/go-landlock",
	}
	// Tests also compile the golden guests, which the monitor knows nothing of.
	allowedInTests := append([]string{"github.com/google/go-cmp", "go.uber.org/goleak", "kontain.dev/eventing/test/guests/build"}, allowed...)

	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		list := allowed
		if strings.HasSuffix(path, "_test.go") {
			list = allowedInTests
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !importAllowed(name, list) {
				t.Errorf("%s imports %s; vmexec may import the standard library and %s", path, name, strings.Join(list, ", "))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go files found")
	}
}

// importAllowed reports whether an import path belongs to the standard library,
// whose paths have no dot in their first element, or is below one of the roots.
func importAllowed(path string, roots []string) bool {
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") {
		return true
	}
	for _, root := range roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}
