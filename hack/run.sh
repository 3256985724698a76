#!/usr/bin/env bash
# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# The demo behind `make run`: starts the receiver with the samples, sends each a
# CloudEvent, prints request and reply, and leaves the receiver running.
#
#   hack/run.sh [--once] [--port N]
#
# --once ends after the demo: with status 0 when every answer was the expected
# one, 1 otherwise. Build first (make build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

once=
port=8080
while (($#)); do
	case $1 in
	--once) once=yes ;;
	--port)
		port=${2:?--port needs a number}
		shift
		;;
	*)
		echo "run: unknown argument $1 (known: --once, --port N)" >&2
		exit 2
		;;
	esac
	shift
done

kontain=bin/kontain
if [[ ! -x $kontain ]]; then
	echo "run: $kontain is not there; run make build first" >&2
	exit 1
fi
if ! "$kontain" doctor >bin/doctor.txt 2>&1; then
	cat bin/doctor.txt >&2
	exit 1
fi
tail -n 1 bin/doctor.txt

# The images of the samples in Python, Node and shell: made when they are not there, or old.
export KONTAIN_IMAGE_DIR=${KONTAIN_IMAGE_DIR:-$PWD/bin/images}
old=()
for sample in http-python cloudevents-python lambda-python lambda-shell http-node; do
	if [[ ! -e bin/samples/$sample/index.json || -n $(find "samples/$sample" -newer "bin/samples/$sample/index.json" -print -quit) ]]; then
		old+=("$sample")
	fi
done
if ((${#old[@]})); then
	echo "making the images of ${old[*]}"
	hack/sample-images.sh "${old[@]}" >bin/images.txt 2>&1 || echo "run: hack/sample-images.sh failed; see bin/images.txt"
	grep 'left out' bin/images.txt || true
fi

# The manifests of the samples that are built.
manifests=()
missing=()
for manifest in samples/*/sink.yaml; do
	sample=$(basename "$(dirname "$manifest")")
	if [[ -x bin/samples/$sample ]]; then
		manifests+=(-f "$manifest")
	else
		missing+=("$sample")
	fi
done
if ((${#missing[@]})); then
	echo "run: not built and left out: ${missing[*]} (the C samples need gcc, those of Python and Node an interpreter; see samples/README.md)"
fi

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
wanted=$port
while in_use "$port"; do
	port=$((port + 1))
	if ((port > wanted + 100)); then
		echo "run: ports $wanted to $port are all in use" >&2
		exit 1
	fi
done
if ((port != wanted)); then
	echo "run: port $wanted is in use; using $port"
fi
base=http://127.0.0.1:$port

"$kontain" serve "${manifests[@]}" --listen "127.0.0.1:$port" --drain-quiet-period 10ms >bin/serve.log 2>&1 &
server=$!
stop() {
	trap - EXIT INT TERM
	kill -TERM "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
}
trap stop EXIT
trap 'stop; exit 130' INT
trap 'stop; exit 143' TERM

for _ in $(seq 100); do
	in_use "$port" && break
	if ! kill -0 "$server" 2>/dev/null; then
		break
	fi
	sleep 0.1
done
if ! in_use "$port"; then
	echo "run: the receiver did not start:" >&2
	cat bin/serve.log >&2
	exit 1
fi
echo "receiver: $base (log: bin/serve.log)"

failures=0
have_curl=yes
command -v curl >/dev/null || have_curl=
[[ $have_curl ]] || echo "run: curl is not installed; sending with kontain invoke"

# demo SAMPLE DATA STATUS TEXT: posts DATA to the sample's sink and expects the
# status, and TEXT in the answer.
number=0
demo() {
	local sample=$1 data=$2 status=$3 text=$4 sink answer got
	[[ -x bin/samples/$sample ]] || return 0
	sink=$(awk '$1 == "name:" {print $2; exit}' "samples/$sample/sink.yaml")
	number=$((number + 1))
	for _ in $(seq 600); do # an image is unpacked away from the requests
		grep -q "sink ready.* sink=default/$sink " bin/serve.log && break
		sleep 0.1
	done
	echo
	echo "── $sample ──────────────────────────────────────────"
	if [[ $have_curl ]]; then
		local command=(curl -sS -i "$base/default/$sink"
			-H 'Ce-Specversion: 1.0' -H 'Ce-Type: dev.kontain.demo' -H 'Ce-Source: /demo'
			-H "Ce-Id: demo-$number" -H 'Content-Type: application/json' -d "$data")
		printf '$ %s\n' "$(quoted "${command[@]}")"
		if ! answer=$("${command[@]}" --max-time 30 2>&1); then
			got=none
		else
			got=$(awk 'NR == 1 {print $2}' <<<"$answer")
		fi
	else
		local command=("$kontain" invoke "$base/default/$sink" --type dev.kontain.demo --source /demo --id "demo-$number" --data "$data")
		printf '$ %s\n' "$(quoted "${command[@]}")"
		answer=$("${command[@]}" 2>&1) || true
		got=$(grep -oE '^[0-9]{3} ' <<<"$answer" | head -n 1 | tr -d ' ') || got=none
	fi
	printf '%s\n' "$answer" | tr -d '\r'
	if [[ $got != "$status" || $answer != *"$text"* ]]; then
		echo "run: UNEXPECTED: wanted status $status${text:+ and \"$text\" in the answer}, got status $got"
		failures=$((failures + 1))
	fi
}

# quoted prints a command so that it can be pasted into a shell.
quoted() {
	local word out=
	for word; do
		if [[ $word =~ ^[A-Za-z0-9_./:=@%+-]+$ ]]; then
			out+=" $word"
		else
			out+=" '${word//\'/\'\\\'\'}'"
		fi
	done
	printf '%s' "${out# }"
}

demo uppercase-go '{"text":"hello from a virtual machine"}' 200 'HELLO FROM A VIRTUAL MACHINE'
demo jobsink-go '{"values":[3,4,8]}' 200 '"mean":5'
demo http-go '{"name":"you"}' 200 '"request":1'
demo http-go '{"name":"you"}' 200 '"request":1'
demo http-go '{}' 422 'status 400'
demo http-python '{"name":"you"}' 200 '"request": 1, "in_file": 1'
demo http-python '{"name":"you"}' 200 '"request": 1, "in_file": 1'
demo http-node '{"name":"you"}' 200 '"request":1,"in_file":1'
demo http-node '{"name":"you"}' 200 '"request":1,"in_file":1'
demo cloudevents-go '{"name":"you"}' 200 '"event":1,"in_file":1'
demo cloudevents-go '{"name":"you"}' 200 '"event":1,"in_file":1'
demo cloudevents-python '{"name":"you"}' 200 '"event": 1, "in_file": 1'
demo lambda-shell '{"text":"one two"}' 200 '"event":1,"in_file":1'
demo lambda-shell '{"text":"one two"}' 200 '"event":1,"in_file":1'
demo lambda-python '{"text":"one two three"}' 200 '"words": 3, "event": 1, "in_file": 1'
demo lambda-go '{"items":[{"price":2.5,"count":4}]}' 200 '"sum":10'
demo lambda-go '{"items":[]}' 502 'an order without items'
demo openwhisk-go '{"name":"Ada"}' 200 'Hello, Ada!'
demo openwhisk-go '{}' 422 'the parameter name is missing'
demo azure-go '{"item":"tea","quantity":24}' 200 '"parcels":3'
demo fetch-go "{\"url\":\"$base/healthz\"}" 200 '"text":"ok"'
demo fetch-go '{"url":"http://169.254.169.254/"}' 502 'network is unreachable'
demo wordcount-c '{"text":"one two three\nfour"}' 200 '"words":4'
demo audit-c '{"who":"you"}' 200 ''
demo faulty '{"mode":"none"}' 200 '"ok":true'
demo faulty '{"mode":"crash"}' 502 'SIGABRT'
demo faulty '{"mode":"memory"}' 502 'MemoryExceeded'
demo faulty '{"mode":"deadline"}' 504 'DeadlineExceeded'
demo faulty '{"mode":"reject"}' 422 'this event will never do'

echo
if ((failures)); then
	echo "run: $failures of $number answers were not the expected ones; the receiver's log ends with:"
	tail -n 20 bin/serve.log
else
	echo "all $number answers were the expected ones"
fi
if [[ $once ]]; then
	stop
	((failures == 0))
	exit
fi
echo
echo "The receiver is running. Try it (end with Ctrl-C):"
echo "  curl -i $base/default/uppercase -H 'Ce-Specversion: 1.0' -H 'Ce-Type: t' -H 'Ce-Source: /me' -H 'Ce-Id: 1' -H 'Content-Type: application/json' -d '{\"text\":\"hello\"}'"
wait "$server"
