#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Fails when `make generate` would change a file. It generates in a copy of the
# work tree, so that work in progress is neither touched nor in the way.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

before=$(mktemp -d)
after=$(mktemp -d)
trap 'rm -rf "$before" "$after"' EXIT
git ls-files -z --cached --others --exclude-standard |
	while IFS= read -r -d '' f; do [[ -e $f ]] && printf '%s\0' "$f"; done |
	tar -c --null -T - | tee >(tar -x -C "$before") | tar -x -C "$after"
(cd "$after" && "${GO:-go}" generate ./...)
if ! diff -ru "$before" "$after"; then
	echo "generated files are out of date: run make generate and commit the result" >&2
	exit 1
fi
