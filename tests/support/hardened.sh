#!/bin/sh
# Run a command as a hardened service runs: hardened.sh STATE RUN [NAME=VALUE]... COMMAND...
# Only the folders STATE and RUN can be written to; no home, no capabilities, an environment of PATH and what is given.
# It has to be started in a mount namespace of its own: unshare --mount sh hardened.sh ...
set -eu
state=$1
run=$2
shift 2
mount --bind "$state" "$state"
mount --bind "$run" "$run"
for place in / /tmp /var/tmp /dev/shm /run /home; do
    if mountpoint -q "$place"; then
        mount -o remount,ro,bind "$place"
    fi
done
cd /
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all env -i PATH=/usr/bin:/bin HOME=/nonexistent "$@"
