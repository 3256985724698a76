#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Writes config/300-*.yaml, the custom resource definitions, from the Go types and
# their comments. `make generate` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CONTROLLER_TOOLS=v0.20.1

# crd KIND API: writes config/300-KIND.yaml, with all kinds of the API.
crd() {
	{
		echo "# Copyright 2026 The Kontain Eventing Authors"
		echo "# SPDX-License-Identifier: Apache-2.0"
		echo "#"
		echo "# Generated from pkg/apis/$2 by make generate. DO NOT EDIT."
		"${GO:-go}" run "sigs.k8s.io/controller-tools/cmd/controller-gen@$CONTROLLER_TOOLS" crd "paths=./pkg/apis/$2" output:stdout
	} >"config/300-$1.yaml"
}

crd kontainsink sinks/v1alpha1
crd kontainsource sources/v1alpha1
