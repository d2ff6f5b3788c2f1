#!/usr/bin/env bash
# Find Chromium or Chrome for the browser tests; as root on Debian or Ubuntu, install Chromium.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
else
  echo "The browser tests require Chromium, which is not installed. Install the package" \
    "'chromium' (as root: apt-get install chromium fonts-dejavu-core) and try again." >&2
  exit 1
fi
