#!/usr/bin/env bash
# Makes the real parts of the end-to-end tests available: Debian's nginx (the backend), curl (the client) and openssl (which
# makes its certificates), redis-server and redis-sentinel (the state of several machines), haproxy (in front of them), faketime (another time of day),
# systemd's and Prometheus' own checkers of what deploy/ holds, Node, and from npm, in build/node/, jose (a backend that
# verifies assertions by somebody else's library) and oidc-provider (an OpenID provider), and chromium (people's browser).
# With the argument `slow` testssl.sh too, which looks for what is weak.
#
# What is missing is installed where that is allowed (root, apt-get), within some minutes; else it is named loudly and
# the tests that need it are skipped. With AUTHPROXY_REQUIRE_REAL=1 a missing part fails here, and in the tests.
set -uo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
modules="${BASH_SOURCE[0]%/*}/../build/node"

parts=(nginx curl openssl redis-server redis-sentinel haproxy faketime systemd-analyze promtool node npm chromium)
[ "${1:-}" = slow ] && parts+=(testssl)

missing() {
  local part
  for part in "${parts[@]}"; do command -v "$part" >/dev/null || echo "$part"; done
  for part in jose oidc-provider; do [ -d "$modules/node_modules/$part" ] || echo "$part"; done
}

install_modules() {
  command -v npm >/dev/null || return 0
  mkdir -p "$modules"
  timeout 180 npm install --prefix "$modules" --no-save --no-audit --no-fund --loglevel=error jose@6 oidc-provider@9 >&2
}

install_parts() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 0
  local guard=/usr/sbin/policy-rc.d log
  log="$(mktemp)"
  # Tests start nginx themselves, with their own configuration: no service of the system is wanted (see invoke-rc.d(8)).
  if [ ! -e "$guard" ] && printf '#!/bin/sh\nexit 101\n' >"$guard" && chmod +x "$guard"; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  local install=(timeout 400 apt-get install -y -qq --no-install-recommends "$@")
  if ! "${install[@]}" >"$log" 2>&1; then
    timeout 120 apt-get update -qq >>"$log" 2>&1
    "${install[@]}" >>"$log" 2>&1 || tail -n 5 "$log" >&2
  fi
  rm -f "$log"
}

wanted="$(missing)"
[ -z "$wanted" ] && exit 0
packages="${wanted//oidc-provider/}"
packages="${packages//jose/}"
packages="${packages/testssl/testssl.sh}"
packages="${packages/systemd-analyze/systemd}"
packages="${packages/promtool/prometheus}"
# shellcheck disable=SC2086  # one word a package; but for two, the packages are called as their programs are
[ -z "${packages//[[:space:]]/}" ] || install_parts ${packages/node/nodejs}
[[ "$wanted" != *jose* && "$wanted" != *oidc-provider* ]] || install_modules
wanted="$(missing)"
[ -z "$wanted" ] && exit 0
for part in $wanted; do
  echo "real_parts: $part IS MISSING and could not be installed: what it would prove is NOT tested" >&2
done
[ "${AUTHPROXY_REQUIRE_REAL:-}" != 1 ]
