// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("program",
	guest{name: "hello", stderr: true},
	guest{name: "hello_pie", source: "hello", flavour: build.PIE, stderr: true},
	guest{name: "hello_musl", source: "hello", flavour: build.Musl, stderr: true},
	guest{name: "exit_status", args: []string{"42"}, status: 42},
	guest{name: "exit_status_wraps", source: "exit_status", args: []string{"511"}, status: 255},
	guest{name: "args_env", args: []string{"one", "", "two words", "\xff\"'\\"}, env: []string{"A=1", "EMPTY=", "LONG=x=y"}, stderr: true},
	guest{name: "args_none", source: "args_env", env: []string{}, stderr: true},
	guest{name: "stdin_copy", stdin: []byte("first\nsecond\x00third\nno newline"), waits: true},
	guest{name: "stdin_copy_empty", source: "stdin_copy", quiet: true},
	guest{name: "stdin_copy_large", source: "stdin_copy", stdin: megabyte, waits: true},
	guest{name: "output_large", stderr: true},
	guest{name: "leak_state", stdin: []byte("quiet"), waits: true},
	guest{name: "event_mix", stdin: []byte("{\"some\": \"event\"}"), waits: true},
	guest{name: "uniqueness", stdin: []byte("check"), waits: true},
	guest{name: "uniqueness_musl", source: "uniqueness", flavour: build.Musl, stdin: []byte("check"), waits: true},
	guest{name: "system"},
	guest{name: "auxv"},
	guest{name: "auxv_pie", source: "auxv", flavour: build.PIE},
)
