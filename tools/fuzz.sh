#!/bin/sh
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# fuzz.sh TIME [REGEXP]: fuzz every target of the main module for TIME, named by package and target.
# Fails when no target matched, and when a target was named but executed nothing: `go test -fuzz` itself reports success then.
set -eu
fuzztime=${1:-5s}
filter=${2:-.}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

targets=$(find . \( -path ./.git -o -path ./bin -o -path ./tools -o -name node_modules -o -name testdata \) -prune -o -name '*_test.go' \
  -exec grep -H -E -o '^func Fuzz[A-Za-z0-9_]*\(' {} + |
  sed -E 's|^(.*)/[^/]+_test\.go:func (Fuzz[A-Za-z0-9_]*)\($|\1 \2|' | grep -E -e "$filter" | sort -u || true)
if [ -z "$targets" ]; then
  echo "fuzz: no target matches '$filter'" >&2
  exit 1
fi

count=0
while read -r package target; do
  printf '=== %s %s (%s)\n' "$package" "$target" "$fuzztime"
  if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -timeout 20m "$package" >"$log" 2>&1; then
    cat "$log"
    echo "fuzz: $package $target failed" >&2
    exit 1
  fi
  execs=$(sed -n -E 's/^fuzz: elapsed: .*execs: ([0-9]+) .*/\1/p' "$log" | tail -n 1)
  if [ "${execs:-0}" -eq 0 ]; then
    cat "$log"
    echo "fuzz: $package $target executed nothing" >&2
    exit 1
  fi
  printf '    %s executions\n' "$execs"
  count=$((count + 1))
done <<LIST
$targets
LIST
echo "fuzz: $count targets, all executed"
