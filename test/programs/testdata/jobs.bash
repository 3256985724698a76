# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Processes in the background, process substitution, coprocesses, arrays, traps.
set -u
for n in 3 1 2; do (sleep 0.0$n; exit $n) & pids+=($!); done
for p in "${pids[@]}"; do wait "$p"; echo "job $?"; done
diff <(printf 'a\nb\n') <(printf 'a\nc\n'); echo "diff $?"
coproc UP { tr a-z A-Z; }
echo hello >&"${UP[1]}"
eval "exec ${UP[1]}>&-"
read -r answer <&"${UP[0]}"; echo "$answer"
wait
set -o pipefail
true | false | true; echo "pipefail $? ${PIPESTATUS[*]}"
declare -A m=([x]=1 [y]=2); echo "${m[x]}${m[y]}"
mapfile -t rows < <(seq 3); echo "${rows[*]}"
(trap 'echo "exit trap"' EXIT; exit 5); echo $?
timeout 0.1 sleep 5; echo "timeout $?"
[[ $(ulimit -n) -gt 10 ]] && echo limits
