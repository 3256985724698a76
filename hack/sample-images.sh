#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Makes the images of the samples in Python, Node and shell, as OCI layouts in bin/samples:
#
#   hack/sample-images.sh                      # with this machine's python3 and node
#   hack/sample-images.sh --debian             # with Debian's packages, downloaded
#   hack/sample-images.sh --debian http-python # of some samples
#
# A sample whose interpreter is not on this machine is left out, and named. Debian's
# packages are unpacked by hack/base-image.sh. The images are kept in KONTAIN_IMAGE_DIR
# (default: bin/images). Build first (make build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export KONTAIN_IMAGE_DIR=${KONTAIN_IMAGE_DIR:-$PWD/bin/images}

debian=
if [[ ${1:-} == --debian ]]; then
	debian=yes
	shift
fi
samples=("$@")
((${#samples[@]})) || samples=(http-python cloudevents-python lambda-python lambda-shell http-node)
kontain=bin/kontain
if [[ ! -x $kontain ]]; then
	echo "sample-images: $kontain is not there; run make build first" >&2
	exit 1
fi

# base LANGUAGE PROGRAM makes the image with the interpreter, once. Status 1: there is
# no such interpreter here.
declare -A made
base() {
	[[ ${made[$1]:-} ]] && return
	if [[ $debian && $1 == shell ]]; then
		hack/base-image.sh "dash curl sed" "localhost/sample-$1" /bin/sh || exit 1
	elif [[ $debian ]]; then
		hack/base-image.sh "$1" "localhost/sample-$1" || exit 1
	else
		command -v "${@:2}" >/dev/null || return 1
		"$kontain" image import --from-host "${@:2}" -t "localhost/sample-$1" || exit 1
	fi
	made[$1]=yes
}

for sample in "${samples[@]}"; do
	case $sample in
	*-python) language=python program=(python3) ;;
	*-node) language=node program=(node) ;;
	*-shell) language=shell program=(sh curl sed) ;;
	*)
		echo "sample-images: $sample needs no image (those that do: http-python, cloudevents-python, lambda-python, lambda-shell, http-node)" >&2
		exit 2
		;;
	esac
	if ! base $language "${program[@]}"; then
		echo "sample-images: ${program[*]} is not installed: $sample is left out (--debian downloads it)"
		continue
	fi
	rm -rf "bin/samples/$sample"
	if ! "$kontain" build "samples/$sample" --quiet -t "localhost/$sample" --base "localhost/sample-$language" --output "bin/samples/$sample"; then
		rm -rf "bin/samples/$sample"
		# Modules are downloaded; without them the others still work.
		echo "sample-images: $sample could not be built, and is left out" >&2
		[[ $language == node || $sample == cloudevents-python ]] || exit 1
	fi
done
