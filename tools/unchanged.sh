#!/bin/sh
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# unchanged.sh COMMAND: run COMMAND and fail when it changed, added or removed a file of the tree.
# Compares contents, not `git diff`, so that it also tells the truth in a tree with uncommitted work.
set -eu
before=$(mktemp)
after=$(mktemp)
trap 'rm -f "$before" "$after"' EXIT

sums() {
  find . \( -path ./.git -o -path ./bin -o -name node_modules \) -prune -o -type f -exec sha256sum {} + | sort -k2
}

sums >"$before"
sh -c "$1"
sums >"$after"
if ! diff "$before" "$after" >/dev/null; then
  echo "out of date, run 'make generate' and commit:" >&2
  diff "$before" "$after" | sed -n -E 's/^[<>] [0-9a-f]+ [ *]/  /p' | sort -u >&2
  exit 1
fi
