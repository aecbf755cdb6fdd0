# Sourced: finds what builds and runs images here, and says so. Sets `engine` (docker or podman); `build_image` and `run_image` use it.
# CA_FILE, if it is there, is the certificate authority of a proxy that the build has to go through.

if docker info >/dev/null 2>&1; then
  engine=docker
elif command -v podman >/dev/null && command -v buildah >/dev/null; then
  engine=podman
else
  echo "no images can be built here: neither a running docker, nor podman with buildah" >&2
  exit 1
fi
here=$(cd "$(dirname "$0")" && pwd)
node_image=${NODE_IMAGE:-node:24-trixie-slim}

# The base: there, or from its registry, or (as root, with debootstrap and npm) made of Debian's and npm's packages.
if ! "$engine" image inspect "$node_image" >/dev/null 2>&1 && ! "$engine" pull --quiet "$node_image" >/dev/null 2>&1; then
  if [ "$node_image" != node:24-trixie-slim ] || [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
    echo "$node_image is not here and cannot be pulled; base-image.sh would make it, as root with debootstrap and npm" >&2
    exit 1
  fi
  echo "$node_image cannot be pulled: making it of Debian's and npm's packages" >&2
  "$here/base-image.sh" "$engine"
fi

# build_image TAG TARGET CONTEXT [ARGUMENTS...]: times in it are those of the commit, SOURCE_DATE_EPOCH
build_image() {
  tag=$1 target=$2 context=$3
  shift 3
  if [ -e "${CA_FILE:-}" ]; then set -- "$@" --secret "id=ca,src=$CA_FILE"; fi
  set -- "$@" --build-arg "NODE_IMAGE=$node_image" --file "$context/deploy/docker/Dockerfile" --target "$target"
  if [ "$engine" = docker ]; then
    docker buildx build --provenance=false --output "type=docker,rewrite-timestamp=true,name=$tag" "$@" "$context"
  else
    # --format docker: OCI's own has no HEALTHCHECK
    buildah bud --format docker --layers --timestamp "$SOURCE_DATE_EPOCH" --isolation oci --network host \
      --ulimit nofile=16384:20000 --tag "$tag" "$@" "$context"
  fi
}
