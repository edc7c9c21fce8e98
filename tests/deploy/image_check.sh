#!/bin/bash
# Builds deploy/Dockerfile with buildah and starts what came of it, on a machine that has no engine and can pull no image:
# a Debian tree with its own Python stands in for the base image. Needs root and
#   apt-get install --no-install-recommends buildah crun mmdebstrap skopeo umoci
# Usage: tests/deploy/image_check.sh [arguments for zenlead]
# The entrypoint runs as the image's user on a read-only root with a writable /tmp, as the manifests have it; without
# arguments --version, then a short demo. What is built is kept in IMAGE_CHECK_DIR (a folder below TMPDIR).
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=${IMAGE_CHECK_DIR:-${TMPDIR:-/tmp}/zenlead-image-check}
mkdir -p "$work"
cd "$work"
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
base=docker.io/library/python:3.11-slim

if ! [ -f base.tar ]; then
  mmdebstrap --quiet --variant=minbase --include=python3-minimal,python3-venv,python3-pip,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/{doc,man,locale}/*' bookworm base.tar /etc/apt/sources.list.d/debian.sources
fi
if [ -z "$(buildah "${storage[@]}" images --quiet "$base" 2>/dev/null)" ]; then
  printf 'FROM scratch\nADD base.tar /\nRUN ln -s /usr/bin/python3 /usr/local/bin/python\nENV PATH=/usr/local/bin:/usr/bin:/bin\n' \
    >base.Dockerfile
  buildah "${storage[@]}" build --isolation chroot --quiet --tag "$base" --file base.Dockerfile .
fi

# The package index is reached as this machine reaches it, with the certificates that it trusts.
buildah "${storage[@]}" build --isolation chroot --network host --pull-never \
  --volume /etc/ssl/certs:/etc/ssl/certs:ro \
  --build-arg REVISION="$(git -C "$repository" rev-parse HEAD)" \
  --build-arg CREATED="$(date --utc +%Y-%m-%dT%H:%M:%SZ)" \
  --tag localhost/zenlead:check --file "$repository/deploy/Dockerfile" "$repository" | tail -n 3

rm -rf oci bundle
skopeo copy --insecure-policy --quiet \
  "containers-storage:[vfs@$work/storage+$work/run]localhost/zenlead:check" oci:oci:check
umoci unpack --image oci:check bundle
echo "packed: $(du -sh oci | cut -f 1); of the tree's $(du -sh bundle/rootfs | cut -f 1)," \
  "zenlead with its libraries: $(du -sh bundle/rootfs/opt/zenlead | cut -f 1)"
skopeo inspect --config oci:oci:check | python3 -m json.tool | sed -n '/"config"/,/^    }/p'

python3 - "$@" <<'PYTHON'
import json, shlex, shutil, sys
process = json.load(open("bundle/config.json"))["process"]
user = process["user"]
assert user["uid"] != 0 and user["gid"] != 0, "the image runs as root"
environ, command = shlex.join(process["env"]), shlex.join(process["args"])
chroot = shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin")
start = f"env -i {environ} {chroot} --userspec={user['uid']}:{user['gid']} bundle/rootfs {command}"
runs = [shlex.join(sys.argv[1:])] if sys.argv[1:] else ["--version", "demo --rounds 2"]
with open("run.sh", "w") as script:
    print("set -e", file=script)
    print("mount --bind bundle/rootfs bundle/rootfs", file=script)
    print("mount -o remount,ro,bind bundle/rootfs", file=script)
    print("mount -t tmpfs tmp bundle/rootfs/tmp", file=script)
    print("mount -t proc proc bundle/rootfs/proc", file=script)
    for run in runs:
        print(f"{start} {run}", file=script)
PYTHON
unshare --mount bash run.sh
