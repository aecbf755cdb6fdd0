#!/bin/sh
# Builds the image of the last commit: `npm run image [-- TAG]`. What is not committed is not in it.
set -eu
tag=${1:-doorbuster:dev}
[ $# -eq 0 ] || shift
. "$(dirname "$0")/engine.sh"
cd "$here/../.."
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT TERM HUP
git archive HEAD | tar -x -C "$context"
build_image "$tag" runtime "$context" \
  --build-arg "VERSION=$(node -p 'require("./package.json").version')" \
  --build-arg "REVISION=$(git rev-parse HEAD)" \
  --build-arg "CREATED=$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)" "$@"
"$engine" image inspect "$tag" --format 'built {{.Id}}, {{.Size}} bytes'
