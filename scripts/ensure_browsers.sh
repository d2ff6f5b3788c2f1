#!/usr/bin/env bash
# Find Chromium or Chrome, and Firefox, for the browser tests; as root on Debian or Ubuntu, install
# what is missing.
set -euo pipefail

has_any() {
  for name in "$@"; do
    if command -v "$name" >/dev/null; then return 0; fi
  done
  return 1
}

missing=()
has_any chromium chromium-browser google-chrome || missing+=(chromium fonts-dejavu-core)
has_any firefox-esr firefox || missing+=(firefox-esr)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
  echo "The browser tests require Chromium and Firefox. Install ${missing[*]}" \
    "(as root: apt-get install ${missing[*]}) and try again." >&2
  exit 1
fi
