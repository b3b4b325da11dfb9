#!/bin/bash
# The way of a box (see box.py) from fresh namespaces to systemd as its first process.
#
#   boot.sh NAME IMAGE CGROUP...     each CGROUP is FOLDER:OPTIONS, a mount below /sys/fs/cgroup
#
# Runs as process 1 of the box's namespaces, still on the machine's own tree. Every mount is made in the box's mount
# namespace, so the kernel drops them all with the box's last process, whatever goes wrong.
set -euo pipefail
name=$1 image=$2
shift 2
read -r _ # until our parent has left our control groups: systemd cannot show a group that holds strangers

# --- the tree: the machine's own below, never written, and what the box writes on its image above
disk=$(mktemp -d)
root=$disk/root
mount -o loop,noatime "$image" "$disk"
mkdir -p "$disk/upper" "$disk/work" "$root"
chmod 755 "$disk/upper" # it is the box's `/`, which every user must get through
mount -t overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" box "$root"

# --- what the kernel shows: own processes, own network, control groups with the box's own as their top
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
for cgroup; do
    folder=$root/sys/fs/cgroup${cgroup%%:*} options=${cgroup#*:}
    if [ "$folder" = "$root/sys/fs/cgroup" ]; then # version 2 alone
        mount -t cgroup2 cgroup2 "$folder"
        continue
    fi
    mountpoint -q "$root/sys/fs/cgroup" || mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs "$root/sys/fs/cgroup"
    mkdir "$folder"
    if [ "$options" = v2 ]; then
        mount -t cgroup2 cgroup2 "$folder"
    else
        mount -t cgroup -o "$options" cgroup "$folder"
    fi
done

# --- devices: the harmless ones
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    cp -a "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5,nosuid,noexec devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/run"

# --- a machine of its own, made when the box first boots: none of the machine's services, nothing that would touch it
if [ ! -e "$disk/made" ]; then
    etc=$root/etc
    rm -rf "$etc/systemd/system" "$etc/systemd/user" "$etc/tmpfiles.d" "$etc/machine-id" "$etc/hostname" "$root/var/log/journal"
    mkdir -p "$etc/systemd/system" "$etc/systemd/user" "$etc/systemd/system-generators" "$etc/tmpfiles.d" \
        "$etc/systemd/journald.conf.d" "$etc/systemd/system.conf.d"
    for unit in systemd-sysctl.service systemd-modules-load.service systemd-udevd.service systemd-udev-trigger.service \
        systemd-random-seed.service systemd-binfmt.service systemd-journald-audit.socket systemd-remount-fs.service \
        proc-sys-fs-binfmt_misc.automount dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
        sys-kernel-config.mount sys-fs-fuse-connections.mount getty.target; do
        ln -s /dev/null "$etc/systemd/system/$unit"
    done
    ln -s /dev/null "$etc/systemd/system-generators/systemd-sysv-generator" # makes units of /etc/rc*.d
    ln -s /dev/null "$etc/tmpfiles.d/tmp.conf"                              # would empty /tmp
    printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$etc/systemd/journald.conf.d/box.conf"
    printf '[Manager]\nDefaultTimeoutStopSec=10s\nStatusUnitFormat=name\n' >"$etc/systemd/system.conf.d/box.conf"
    tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
    : >"$etc/fstab"
    echo "$name" >"$etc/hostname"
    echo "127.0.1.1 $name" >>"$etc/hosts"
    : >"$disk/made"
fi
hostname "$name"
ip link set lo up

# --- leave the machine's tree behind. LoadCredential= needs a shared tree, which systemd leaves to the program that starts it;
# $container tells it to keep its hands off the kernel's settings.
cd "$root"
mkdir -p .old
pivot_root . .old
exec chroot . /bin/bash -euc '
    umount -l /.old
    mount --make-rshared /
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=box \
        /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=false' </dev/null
