#!/bin/busybox sh
# The guest's first process. It stays in the initramfs, so the image's files are exactly the image's: read-only, with
# a volume and a fresh /tmp. Readings go to the second serial line, the service's own output to the first.
/bin/busybox mkdir -p /proc /dev /root
/bin/busybox mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1

for module in $(cat /modules/order); do insmod "/modules/$module" || echo "init: no module $module"; done
tries=0
while [ ! -b /dev/vdb ] && [ $tries -lt 200 ]; do usleep 50000; tries=$((tries + 1)); done
mount -t ext4 -o ro /dev/vda /root || echo "init: no root file system"
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mount -t tmpfs -o mode=1777 tmp /root/tmp
. /volume # mounts /dev/vdb where the image wants it, owned by the image's user

ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up

reading() {
    {
        grep -hE '^(MemTotal|MemAvailable):|^(oom_kill|pgmajfault|workingset_refault_file) ' /proc/meminfo /proc/vmstat
        [ -z "$1" ] || grep -hE '^(VmHWM|VmRSS|RssAnon):' "/proc/$1/status" 2>/dev/null
        echo end
    } >/dev/ttyS1
}

reading
/bin/busybox sh /service &
service=$!
while [ -e /proc/$service/exe ]; do # gone as soon as the process has ended
    reading $service
    usleep 500000
done
wait $service
echo "ended $?" >/dev/ttyS1
reading
sync
poweroff -f
