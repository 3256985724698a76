#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Makes a base image of packages of this machine's Debian or Ubuntu, without a
# container engine and without root:
#
#   hack/base-image.sh python localhost/python
#   hack/base-image.sh node   localhost/node
#   hack/base-image.sh -o python.tar python localhost/python
#   hack/base-image.sh "busybox-static" localhost/busybox /bin/busybox
#
# The packages, with all that they depend on, are fetched as apt verifies them
# and unpacked; no script of a package is run. Which versions were taken is in
# /usr/share/doc/base-image/packages of the image: the same versions give the
# same digest. KONTAIN names the program (default: bin/kontain of this checkout).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kontain=$(realpath -m "${KONTAIN:-$here/bin/kontain}")

usage() {
	sed -n '5,16p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2
	exit 2
}

output=()
if [[ ${1:-} == -o ]]; then
	output=(--output "$(realpath -m "${2:?}")")
	shift 2
fi
[[ $# -ge 2 ]] || usage
what=$1 tag=$2
shift 2
case $what in
python) packages=(python3-minimal libpython3-stdlib) entrypoint=(python3) ;;
node) packages=(nodejs) entrypoint=(node) ;;
*)
	read -ra packages <<<"$what"
	entrypoint=("$@")
	[[ $# -gt 0 ]] || usage
	;;
esac
for tool in apt-get apt-cache dpkg-deb; do
	command -v "$tool" >/dev/null || { echo "base-image: $tool is needed (Debian or Ubuntu)" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/root"

# What this machine has installed does not count: the archive's packages do.
apt=(-o Dir::State::status=/dev/null)

# What is depended on, without what no program of an image needs: Debian's own
# configuration tools, and the init system.
apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "${packages[@]}" |
	grep -E '^[a-z0-9]' | grep -vE ':i386$|^(debconf|cdebconf|dpkg|perl-base|sysvinit-utils|init-system-helpers|media-types|mime-support|tar|install-info)' |
	LC_ALL=C sort -u >"$work/names"
(
	cd "$work/debs"
	# apt's own user cannot write to a private folder; it says so, and goes on.
	mapfile -t names <"$work/names"
	apt-get "${apt[@]}" download -q "${names[@]}" 2>"$work/log" >&2 || { cat "$work/log" >&2; exit 1; }
)
for deb in "$work"/debs/*.deb; do
	dpkg-deb -f "$deb" Package Version | sed 's/^[^:]*: //' | paste -sd= >>"$work/packages"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --keep-directory-symlink --no-same-owner
done

cd "$work/root"
# Merged /usr, as the packages expect it.
for dir in bin sbin lib lib32 lib64 libx32; do
	if [[ -d $dir && ! -L $dir ]]; then
		mkdir -p "usr/$dir"
		cp -a "$dir/." "usr/$dir/"
		rm -rf "$dir"
	fi
	if [[ -d usr/$dir ]]; then ln -sfn "usr/$dir" "$dir"; fi
done
# Nobody reads these in a function's root.
rm -rf usr/share/{doc,man,info,locale,lintian,bug,doc-base,menu,applications,pixmaps} var/cache var/lib
mkdir -p tmp root etc usr/share/doc/base-image
LC_ALL=C sort "$work/packages" >usr/share/doc/base-image/packages
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
find . -name '*.pyc' -delete

words=()
for word in "${entrypoint[@]}"; do words+=(--entrypoint "$word"); done
"$kontain" build "$work/root" --type folder -t "$tag" "${words[@]}" "${output[@]}"
