#!/bin/sh
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# fuzz.sh TIME [REGEXP]: fuzz every target of the main module for TIME, named by package and target.
# Fails when no target matched, and when a target was named but executed nothing: `go test -fuzz` itself reports success then.
# Minimising an input that merely covers something new is bounded: left alone it takes most of a short run's time.
set -eu
fuzztime=${1:-5s}
filter=${2:-.}
longer=60s
log=$(mktemp)
trap 'rm -f "$log"' EXIT

targets=$(find . \( -path ./.git -o -path ./bin -o -path ./tools -o -name node_modules -o -name testdata \) -prune -o -name '*_test.go' \
  -exec grep -H -E -o '^func Fuzz[A-Za-z0-9_]*\(' {} + |
  sed -E 's|^(.*)/[^/]+_test\.go:func (Fuzz[A-Za-z0-9_]*)\($|\1 \2|' | grep -E -e "$filter" | sort -u || true)
if [ -z "$targets" ]; then
  echo "fuzz: no target matches '$filter'" >&2
  exit 1
fi

fuzz() {
  go test -run '^$' -fuzz "^$2\$" -fuzztime "$3" -fuzzminimizetime 10x -timeout 20m "$1" >"$log" 2>&1
}

# Before Go 1.27 a run may fail with nothing but this text when its time ends (https://go.dev/issue/75804). It has found nothing then.
only_deadline() {
  grep -q '^ *context deadline exceeded$' "$log" && ! grep -q -E 'Failing input|panic:|_test\.go:[0-9]+' "$log"
}

# The inputs that former runs kept are run first, and uncounted. Where there are many, a short run on a busy machine ends among them.
only_kept() {
  [ "$(executions)" -eq 0 ] && grep -q 'gathering baseline coverage: [0-9]*/[1-9]' "$log"
}

executions() {
  execs=$(sed -n -E 's/^fuzz: elapsed: .*execs: ([0-9]+) .*/\1/p' "$log" | tail -n 1)
  echo "${execs:-0}"
}

count=0
while read -r package target; do
  printf '=== %s %s (%s)\n' "$package" "$target" "$fuzztime"
  tries=1 time=$fuzztime
  while :; do
    status=0
    fuzz "$package" "$target" "$time" || status=$?
    if [ "$status" -ne 0 ] && [ "$tries" -lt 3 ] && only_deadline; then
      tries=$((tries + 1))
      echo "    the run failed at its deadline, without a finding: once more"
    elif [ "$status" -ne 0 ]; then
      cat "$log"
      echo "fuzz: $package $target failed" >&2
      exit 1
    elif [ "$time" != "$longer" ] && only_kept; then
      time=$longer
      echo "    the run ended before anything new was tried: once more, for $time"
    else
      break
    fi
  done
  execs=$(executions)
  if [ "$execs" -eq 0 ]; then
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
