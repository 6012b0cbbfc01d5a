#!/bin/bash
# First process of a guest: mounts, modules, then runs each command file that appears in /ctl.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
grep -q ' /dev ' /proc/mounts || busybox mount -t devtmpfs dev /dev
mkdir -p /dev/shm
for at in /dev/shm /run /tmp; do busybox mount -t tmpfs tmpfs "$at"; done
shared=$(sed -n 's/.*ctl=\([^ ]*\).*/\1/p' /proc/cmdline)
busybox mount -t hostfs -o "$shared" none /ctl
for module in xfrm_user esp4 esp6 authenc echainiv seqiv cbc ctr gcm hmac sha256_generic sha512_generic chacha_generic \
  poly1305_generic chacha20poly1305; do
  modprobe -q "$module"
done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
# A tap is opened with its link; from then on it may be moved to another namespace. The driver gives a link up for
# good when a packet leaves while its tap is on the way: until the taps are in place nothing must be sent.
echo 1 > /proc/sys/net/ipv6/conf/vec0/disable_ipv6
echo 1 > /proc/sys/net/ipv6/conf/vec1/disable_ipv6
ip link set vec0 up
ip link set vec1 up
# Waiting for input that never comes costs no process, as a sleep would.
mkfifo /run/never
exec 9<> /run/never
echo up > /ctl/ready
while :; do
  for file in /ctl/*.cmd; do
    [ -e "$file" ] || continue
    base=${file%.cmd}
    mv "$file" "$base.sh"
    [ "$(< "$base.sh")" = poweroff ] && busybox poweroff -f
    (
      /bin/bash "$base.sh" > "$base.out" 2>&1 < /dev/null
      echo $? > "$base.tmp"
      mv "$base.tmp" "$base.rc"
    ) &
  done
  read -r -t 0.02 -u 9
done
