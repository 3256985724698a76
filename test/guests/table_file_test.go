// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

// event returns a guest that takes its event from a file.
func event(name, how, event string) guest {
	return guest{name: name, source: "event_file", args: []string{how}, env: []string{"K_EVENT_PATH=" + eventMark}, stdin: []byte(event), waits: true}
}

var _ = family("file",
	guest{name: "files"},
	guest{name: "random_files", args: []string{"1", "40", "400"}},
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
	guest{name: "seek_holes"},
	guest{name: "statfs_nameless"},
	guest{name: "xattr_errors"},
	event("event_file", "open", "{\"some\": \"event\"}"),
	event("event_file_stat", "stat", "{\"some\": \"event\"}"),
	event("event_file_statx", "statx", "{\"some\": \"event\"}"),
	event("event_file_path", "path", "{\"some\": \"event\"}"),
	event("event_file_truncate", "truncate", "{\"some\": \"event\"}"),
	event("event_file_write", "write", "{\"some\": \"event\"}"),
	event("event_file_threads", "threads", "{\"some\": \"event\"}"),
	event("event_file_empty", "open", ""),
	event("event_file_large", "stat", string(megabyte)),
)
