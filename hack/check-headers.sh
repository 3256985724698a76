#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Fails when a source file lacks the two-line licence header near its top.
# Generated files are exempt when their generator's mark is on the first line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bad=0
while IFS= read -r file; do
	[[ -f $file ]] || continue
	head=$(head -n 6 "$file")
	[[ $head == *'DO NOT EDIT'* ]] && continue
	if [[ $head != *'Copyright 2026 The Kontain Eventing Authors'* || $head != *'SPDX-License-Identifier: Apache-2.0'* ]]; then
		echo "$file: no licence header (two lines: Copyright 2026 The Kontain Eventing Authors, SPDX-License-Identifier: Apache-2.0)" >&2
		bad=1
	fi
done < <(git ls-files --cached --others --exclude-standard -- '*.go' '*.c' '*.h' '*.S' '*.s' '*.sh' Makefile '.ci/*')
exit $bad
