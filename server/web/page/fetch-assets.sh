#!/usr/bin/env bash
# Fetches the files of assets/PINNED from the npm registry, compares each package with its pinned integrity, and puts them in their
# places. Run it from the root of the tree: make assets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -v '^#' server/web/page/assets/PINNED | while read -r name version integrity from to; do
  tarball="$work/${name//\//-}-$version.tgz"
  [ -f "$tarball" ] || curl -fsSL -o "$tarball" "https://registry.npmjs.org/$name/-/${name##*/}-$version.tgz"
  found="sha512-$(openssl dgst -sha512 -binary "$tarball" | openssl base64 -A)"
  [ "$found" = "$integrity" ] || { echo "$name $version is not what is pinned: $found"; exit 1; }
  case "$to" in
    *.gz) tar -xzOf "$tarball" "package/$from" | gzip -9n >"$to" ;;
    *) tar -xzOf "$tarball" "package/$from" >"$to" ;;
  esac
  echo "$to: $name $version"
done
