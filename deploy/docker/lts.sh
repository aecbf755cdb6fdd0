#!/bin/sh
# npm run test:lts: the whole suite on the platform of record (Node 24, Debian 13, Redis 8, NATS 2.15, PostgreSQL 17), in the `test` stage
# of the Dockerfile, then what rests on Redis once more on Valkey 8. With words behind `--`, only that, as vitest takes it.
# The image stays as a cache; the container, and all in it, goes away.
set -eu
. "$(dirname "$0")/engine.sh"
cd "$here/../.."
tag=doorbuster-test:lts
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
# The last commit and what is changed and known to git; tests ask for history: the version before this one.
mkdir "$work/context"
git ls-files -z | tar --null --files-from - --ignore-failed-read -c | tar -x -C "$work/context"
git clone --quiet --bare . "$work/git"
git -C "$work/git" config core.bare false
build_image "$tag" test "$work/context"

# in_image COMMAND...: --init reaps what tests leave to process 1; the limits are those of a server, which the default ones are not.
in_image() {
  "$engine" run --rm --init --shm-size 1g --ulimit nofile=16384:20000 --network "${NETWORK:-host}" \
    --env CI="${CI:-}" --volume "$work/git:/app/.git:ro" "$tag" "$@"
}
in_image sh -c 'node --version; redis-server --version; /opt/valkey/redis-server --version; nats-server --version
  "$(ls -d /usr/lib/postgresql/*/bin/postgres)" --version; . /etc/os-release; echo "$PRETTY_NAME"'

if [ $# -gt 0 ]; then
  in_image sh -c 'npm run -s build && exec npx vitest run "$@"' sh "$@"
  exit
fi
in_image npm test
echo "on Valkey: scripts, shards, faults of stores"
# shellcheck disable=SC2016 # PATH is the container's
in_image sh -c 'export PATH=/opt/valkey:$PATH; npm run -s build && exec npx vitest run lua test/scripts coordinator/shards gateway/stores test/faults/stores'
