#!/usr/bin/env bash
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs AWS' own clients against a `podid dev` of its own: the JavaScript SDK always (Node and npm are needed),
# boto3 and the AWS CLI where they are present. Says at the end what ran and what was absent.
set -euo pipefail
cd "$(dirname "$0")"
export PODID=${PODID:-$PWD/../../bin/podid}

[ -x "$PODID" ] || { echo "$PODID is not there: run 'make build'" >&2; exit 1; }
for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: these tests need Node 20 or newer, with npm" >&2; exit 1; }
done
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || { echo "Node $major is too old: the SDK wants 20 or newer" >&2; exit 1; }

# Nothing of the caller's own AWS settings may reach the clients.
for name in $(compgen -e AWS_ || true); do unset "$name"; done
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
export AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

dir=$(mktemp -d)
server=""
finish() {
  local status=$?
  trap - EXIT
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill -INT "$server"
    wait "$server" || [ $? -eq 130 ] || { echo "podid dev did not stop cleanly" >&2; status=1; }
  fi
  [ "$status" -eq 0 ] || { echo "--- log of podid dev, its end:" >&2; tail -n 40 "$dir/log" >&2 || true; }
  rm -rf "$dir"
  exit "$status"
}
trap finish EXIT

npm ci --no-audit --no-fund --loglevel=error

"$PODID" dev --dir "$dir/state" --clusters my-cluster,other >"$dir/log" 2>&1 &
server=$!
for _ in $(seq 300); do
  [ -e "$dir/state/env" ] && break
  kill -0 "$server" 2>/dev/null || { server=""; echo "podid dev ended before it was ready" >&2; exit 1; }
  sleep 0.1
done
[ -e "$dir/state/env" ] || { echo "podid dev was not ready after 30 s" >&2; exit 1; }
# shellcheck disable=SC1091
. "$dir/state/env"
# AWS CLI 1 and boto3 read the region from this variable alone.
export AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-$AWS_REGION}

ran=() absent=()

echo "--- JavaScript SDK on Node $(node --version)"
npm test --silent
ran+=("JavaScript SDK")

python=""
for candidate in python3 python; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import boto3' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  absent+=("boto3 (no Python with it)")
elif ! "$python" -c 'import boto3; boto3.client("eks-auth", region_name="us-west-2")' 2>/dev/null; then
  absent+=("boto3 (present, but older than Pod Identity)")
else
  echo "--- boto3 $("$python" -c 'import boto3; print(boto3.__version__)')"
  "$python" -m unittest -v boto3_test
  ran+=("boto3")
fi

if ! command -v aws >/dev/null || ! aws --version >/dev/null 2>&1; then
  absent+=("AWS CLI")
elif ! aws eks-auth assume-role-for-pod-identity --generate-cli-skeleton >/dev/null 2>&1; then
  absent+=("AWS CLI (present, but older than Pod Identity)")
else
  echo "--- $(aws --version 2>&1)"
  ./aws-cli.sh
  ran+=("AWS CLI")
fi

echo "--- clients that ran:"
printf '    %s\n' "${ran[@]}"
if [ "${#absent[@]}" -gt 0 ]; then
  echo "--- clients that are ABSENT here and were not run:"
  printf '    %s\n' "${absent[@]}"
fi
