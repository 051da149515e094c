#!/bin/sh
# Installs lavapipe, Mesa's Vulkan driver for the CPU, on a Debian-like machine: the fastest device for a machine without a GPU.
# Does nothing where Dawn accepts a lavapipe already. The build puts it beside the command line, whose `setup --lavapipe` runs it.
set -eu
cd "$(dirname "$0")/../.."
BACKPORTS=/etc/apt/sources.list.d/paraformer-backports.list

fail() {
  echo "setup --lavapipe: $1" >&2
  exit 2
}

# One line on the lavapipe that Dawn accepts, or failure.
probe() {
  node --input-type=module -e "
    import { create } from 'webgpu'
    const adapter = await create(['adapter=llvmpipe']).requestAdapter().catch(() => null)
    if (!adapter) process.exit(1)
    console.log(adapter.info.description + ', subgroups of ' + adapter.info.subgroupMinSize)
  " 2>/dev/null
}

# The base address and suite of each source that apt reads for this distribution's main packages, in either format of sources.
sources() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sed -n 's/ main$//p'
}

node --input-type=module -e "import 'webgpu'" 2>/dev/null || fail 'needs Dawn to try the driver with; run: npm install webgpu'
if found=$(probe); then
  echo "lavapipe is there already; 'paraformer devices' lists it: $found"
  exit 0
fi
command -v apt-get >/dev/null || fail "needs apt-get (Debian, Ubuntu); elsewhere install Mesa's lavapipe and the Vulkan loader by hand"
[ "$(id -u)" = 0 ] || fail 'needs root to install packages; run: sudo npx paraformer setup --lavapipe'

. /etc/os-release
export DEBIAN_FRONTEND=noninteractive
apt-get update
release=
# Dawn does not accept the Mesa of Debian 12 itself, 22.3.
if [ "$ID" = debian ] && [ "${VERSION_CODENAME-}" = bookworm ]; then
  release=bookworm-backports
  if ! sources | grep -q " $release$"; then
    mirror=$(sources | sed -n 's/ bookworm$//p' | head -n 1)
    [ -n "$mirror" ] || fail "apt's sources name no mirror of bookworm; add one, then run this again"
    # A mirror without backports must not break later runs of apt-get update.
    trap 'rm -f "$BACKPORTS"' EXIT
    echo "deb $mirror $release main" >"$BACKPORTS"
    apt-get update
  fi
fi
apt-get install -y --no-install-recommends ${release:+-t "$release"} libvulkan1 mesa-vulkan-drivers
trap - EXIT

found=$(probe) || fail "installed $(dpkg-query -W mesa-vulkan-drivers), but Dawn does not accept it: take a newer release of $NAME"
echo "Done. 'paraformer devices' now lists lavapipe: $found"
