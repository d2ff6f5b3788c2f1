#!/usr/bin/env bash
# The browser tests drive Chromium or Chrome: find one, or install it where that is possible.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
else
  echo "Chromium is not installed, and the browser tests need it: install the package" \
    "'chromium' (as root: apt-get install chromium fonts-dejavu-core), then try again." >&2
  exit 1
fi
