#!/bin/sh
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# A custom runtime for AWS Lambda of a shell and curl. It counts its events, and the
# bytes of each.
set -eu
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
events=0
while :; do
	event=$(curl -sS -D /tmp/headers "$api/invocation/next")
	id=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *\([^[:space:]]*\).*/\1/p' /tmp/headers)
	events=$((events + 1))
	curl -sS -o /dev/null -H 'Content-Type: application/json' \
		-d "{\"event\":$events,\"bytes\":${#event}}" "$api/invocation/$id/response"
done
