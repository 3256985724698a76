# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# Pipes, redirections, substitutions, and the exit statuses of lists.
set -u
i=0
while [ $i -lt 20 ]; do echo "line $i"; i=$((i + 1)); done | grep 1 | sort -r | head -n 3
echo "$(echo inner | tr a-z A-Z) $(printf '%03d' 7)"
false || echo "false is $?"
true && echo yes
(exit 4); echo "subshell $?"
cat > a.txt <<END
b
a
END
sort < a.txt > b.txt && cat b.txt
sh -c 'kill -TERM $$'; echo "signal $?"
{ echo out; echo err >&2; } 2>&1 | wc -l | tr -d ' '
seq 1 1000 | awk '{ s += $1 } END { print s }'
yes | head -n 2
no_such_program 2>/dev/null; echo "not found $?"
sleep 0.05 & wait $!; echo "waited $?"
trap 'echo trapped' USR1; kill -USR1 $$; echo after
find . -name '*.txt' | sort | xargs wc -c | tail -n 1 | awk '{ print $1 }'
