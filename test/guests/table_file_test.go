// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("file",
	guest{name: "files"},
	guest{name: "files_musl", source: "files", flavour: build.Musl},
	guest{name: "file_attributes"},
	guest{name: "dev_files"},
	guest{name: "root_files", args: []string{"{root}"}, files: map[string]string{
		"data/a.txt":           "a text",
		"data/b.txt":           "b text, longer",
		"data/c.txt":           "",
		"data/link":            "-> a.txt",
		"data/broken":          "-> /nowhere/at/all",
		"data/sub/up":          "-> ../b.txt",
		"data/sub/deeper/x":    "moved about",
		"data/sub/.hidden":     "not listed",
		"data/sub/plain space": "a name with a space",
	}},
	guest{name: "bad_pointers"},
)
