#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Writes pkg/client: clientset, listers, informers and Knative's injection and
# reconcilers for the kinds of API_VERSIONS. `make generate` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

API_VERSIONS=(sinks/v1alpha1 sources/v1alpha1)

module=kontain.dev/eventing
client=$module/pkg/client
go=${GO:-go}
header=pkg/apis/boilerplate.go.txt
code_generator=$("$go" list -m -f '{{.Version}}' k8s.io/apimachinery)
knative=$("$go" list -m -f '{{.Version}}' knative.dev/pkg)

packages=()
inputs=()
for v in "${API_VERSIONS[@]}"; do
	packages+=("$module/pkg/apis/$v")
	inputs+=(--input "$v")
done

# A kind that is gone must not stay behind.
rm -rf pkg/client

k8s() {
	"$go" run "k8s.io/code-generator/cmd/$1@$code_generator" --go-header-file "$header" "${@:2}"
}
k8s client-gen --clientset-name versioned --input-base "$module/pkg/apis" "${inputs[@]}" \
	--output-dir pkg/client/clientset --output-pkg "$client/clientset"
k8s lister-gen --output-dir pkg/client/listers --output-pkg "$client/listers" "${packages[@]}"
k8s informer-gen --versioned-clientset-package "$client/clientset/versioned" --listers-package "$client/listers" \
	--output-dir pkg/client/informers --output-pkg "$client/informers" "${packages[@]}"
"$go" run "knative.dev/pkg/codegen/cmd/injection-gen@$knative" --go-header-file "$header" \
	--input-dirs "$(IFS=,; echo "${packages[*]}")" \
	--versioned-clientset-package "$client/clientset/versioned" \
	--external-versions-informers-package "$client/informers/externalversions" \
	--listers-package "$client/listers" \
	--output-package "$client/injection" --output-dir pkg/client/injection
