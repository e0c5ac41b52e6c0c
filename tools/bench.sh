#!/bin/sh
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# bench.sh [REGEXP [TIME]]: run the benchmarks of every package that has some, with allocations.
# Fails when no benchmark ran.
set -eu
bench=${1:-.}
benchtime=${2:-1s}
log=$(mktemp)
trap 'rm -f "$log" "$log.rc"' EXIT

packages=$(find . \( -path ./.git -o -path ./bin -o -path ./tools -o -name node_modules -o -name testdata \) -prune -o -name '*_test.go' \
  -exec grep -l -E '^func Benchmark' {} + | sed 's|/[^/]*$||' | sort -u)
if [ -z "$packages" ]; then
  echo "bench: no package has a benchmark" >&2
  exit 1
fi
# $packages is a list of words on purpose.
# shellcheck disable=SC2086
{ go test -run '^$' -bench "$bench" -benchmem -benchtime "$benchtime" -timeout 30m $packages 2>&1 || echo $? >"$log.rc"; } | tee "$log"
[ ! -s "$log.rc" ] || exit "$(cat "$log.rc")"
count=$(grep -c -E '^Benchmark[^ ]+[[:space:]]+[0-9]+' "$log" || true)
if [ "$count" -eq 0 ]; then
  echo "bench: no benchmark matches '$bench'" >&2
  exit 1
fi
echo "bench: $count benchmarks"
