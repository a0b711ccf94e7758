# shellcheck shell=bash
# Installs the package of a folder ($1) in a copy of this machine, which ends with the mount namespace of this shell: a
# layer over the machine. Its systemctl notes what it is asked for. Prints what each step started or stopped.
set -euo pipefail
[[ -n $1 ]]
if ! mount -t tmpfs tmpfs /mnt || ! mkdir /mnt/upper /mnt/work /mnt/copy ||
    ! mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/copy; then
    echo 'no copy'
    exit
fi
mount --bind /dev /mnt/copy/dev
cp "$1/package.deb" "$1/systemctl" /mnt/copy
echo mounted
# All that follows sees the copy alone.
exec chroot /mnt/copy /bin/bash -euo pipefail <<'IN'
mkdir -p /run/systemd/system
mv /systemctl /usr/bin/systemctl
policy=/usr/sbin/policy-rc.d

step() {
    echo "-- $1"
    dpkg "$2" "$3" >&2
    cat /asked
    : >/asked
}

: >/asked
printf '#!/bin/sh\nexit 101\n' >$policy
chmod 755 $policy
step denied --install /package.deb
step purged --purge referral-gateway
rm $policy
step allowed --install /package.deb
step again --install /package.deb
step purged --purge referral-gateway
IN
