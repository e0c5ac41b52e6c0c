#!/bin/sh
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Installs what whole nodes need of a Debian machine and it lacks. Nothing of it is started.
set -eu

missing=
for pair in containerd:containerd runc:runc iptables:iptables conntrack:conntrack ip:iproute2 nsenter:util-linux; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -x /usr/lib/cni/bridge ] || missing="$missing containernetworking-plugins"
[ -n "$missing" ] || exit 0

echo "installing:$missing"
if [ "$(id -u)" -ne 0 ]; then
  echo "whole nodes need root" >&2
  exit 1
fi
# A package that starts its daemon would have it run beside ours.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -q
# shellcheck disable=SC2086 # several words are meant
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
