# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# A repository from its first commit to a merge, a clone and a check of it all.
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
git init -q -b main repo
cd repo
seq 100 > numbers
git add numbers
git commit -qm first
git checkout -qb side
sed -i 's/^50$/fifty/' numbers
git commit -qam side
git checkout -q main
echo text > file
git add file
git commit -qm second
git merge -q -m merge side
git log --oneline --graph
git diff --stat HEAD~1
git status --short
git gc -q
git fsck 2>&1
cd ..
git clone -q repo copy
git -C copy rev-parse HEAD
git -C copy grep -n fifty
