#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module, one after the other, for the time given
# as the first argument (default 20s). Go keeps an input that fails under
# testdata/fuzz: commit it, it is then a test for ever. Last comes the guest that
# makes random system calls, for that time on each platform; KONTAIN_FUZZ_SEED
# makes a series that failed again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go=${GO:-go}
time=${1:-20s}
failed=()
while read -r dir pkg; do
	for target in $(grep -hoE '^func (Fuzz[A-Za-z0-9_]+)\(' "$dir"/*_test.go 2>/dev/null | sed -E 's/^func ([A-Za-z0-9_]+)\(/\1/'); do
		echo "== $pkg $target ($time)"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg" || failed+=("$pkg $target")
	done
done < <("$go" list -f '{{.Dir}} {{.ImportPath}}' ./...)
echo "== random system calls ($time)"
KONTAIN_FUZZ_TIME=$time "$go" test -count=1 -timeout 0 -v -run '^TestSyscallFuzz$' ./vmexec || failed+=("TestSyscallFuzz")
if ((${#failed[@]})); then
	printf 'failed: %s\n' "${failed[@]}" >&2
	exit 1
fi
