"""What a block device holds: asked in one way by the fact that looks, and again right before a change.

A disk counts as empty when nothing says otherwise: no signature that blkid or wipefs knows (file systems, RAID, LVM,
swap, partition tables), no mount, no swap, no holder, and only zeros in its first and its last MiB. What cannot be read
is a reason as well.
"""

from __future__ import annotations

DISKS = "/dev/sd* /dev/vd* /dev/xvd* /dev/nvme*"
"""The kernel's names for disks of a virtual machine; what is a partition, or no block device, is passed over."""

FUNCTIONS = r"""
sys_of() { set -- $(stat -Lc '%t %T' "$1") && echo "/sys/dev/block/$((0x$1)):$((0x$2))"; }
signature() { LC_ALL=C blkid -p -o udev "$1" 2>/dev/null; }
# Counts what was read as well: a disk that cannot be read is not one full of zeros.
zeros() {
  read=$(dd if="$1" bs=1048576 skip="$2" count=2 2>/dev/null | wc -c)
  rest=$(dd if="$1" bs=1048576 skip="$2" count=2 2>/dev/null | tr -d '\0' | wc -c)
  [ "$read" -ge 1048576 ] && [ "$rest" -eq 0 ]
}
reasons() { # NODE MEBIBYTES; with less than two only the signatures count
  sys=$(sys_of "$1") || { echo "cannot be looked at"; return; }
  number=${sys##*/}
  [ "$(cat "$sys/ro")" = 0 ] || echo "is read-only"
  for holder in "$sys"/holders/*; do [ ! -e "$holder" ] || echo "is used by ${holder##*/}"; done
  ! grep -q "^[0-9]* [0-9]* $number " /proc/self/mountinfo || echo "is mounted"
  ! grep -q "^$1[[:space:]]" /proc/swaps || echo "is swap in use"
  found=$(signature "$1"); status=$?
  case $status in 0|2) ;; 8) echo "has several signatures";; *) echo "cannot be probed by blkid";; esac
  kind=$(printf '%s\n' "$found" | sed -n 's/^ID_FS_TYPE=//p')
  table=$(printf '%s\n' "$found" | sed -n 's/^ID_PART_TABLE_TYPE=//p')
  [ -z "$table" ] || echo "has a partition table ($table)"
  [ -z "$kind" ] || echo "holds $kind"
  known=$(wipefs -n -p "$1" 2>&1) || echo "cannot be probed by wipefs"
  [ -n "$kind$table" ] || [ -z "$(printf '%s\n' "$known" | grep -v '^#')" ] || echo "has a signature that wipefs knows"
  [ -z "$kind$table" ] && [ "$2" -ge 2 ] || return 0
  zeros "$1" 0 || echo "has data in its first MiB"
  zeros "$1" "$(($2 - 1))" || echo "has data in its last MiB"
}
"""

LIST = (
    FUNCTIONS
    + r"""
text() { [ ! -r "$1" ] || tr -d '\0' < "$1" | head -n 1; }
describe() { signature "$1" | sed -n 's/^\(ID_[A-Z_]*\)=/\1 /p'; }
[ ! -e /run/udev/control ] || echo "udev yes"
for node in """
    + DISKS
    + r"""; do
  [ -b "$node" ] && sys=$(sys_of "$node") && [ -d "$sys" ] && [ ! -e "$sys/partition" ] || continue
  size=$(blockdev --getsize64 "$node" 2>/dev/null) && [ "$size" -gt 0 ] || continue
  echo "disk $node"; echo "size $size"
  serial=$(text "$sys/serial"); [ -n "$serial" ] || serial=$(text "$sys/device/serial")
  page=$sys/device/vpd_pg80
  [ -n "$serial" ] || [ ! -r "$page" ] || serial=$(tail -c +5 "$page" | tr -d '\0')
  echo "serial $serial"
  wwn=$(text "$sys/device/wwid"); [ -n "$wwn" ] || wwn=$(text "$sys/wwid"); echo "wwn $wwn"
  address=$(readlink "$sys/device"); echo "scsi ${address##*/}"
  for link in /dev/disk/by-path/*; do [ ! "$link" -ef "$node" ] || echo "path ${link##*/}"; done
  describe "$node"
  reasons "$node" "$((size / 1048576))" | sed 's/^/reason /'
  for entry in "$sys"/*/partition; do
    [ -e "$entry" ] || continue
    entry=${entry%/partition}; part=/dev/$(basename "$entry")
    echo "partition $part"; echo "size $(($(cat "$entry/size") * 512))"; echo "start $(($(cat "$entry/start") * 512))"
    describe "$part"; reasons "$part" 0 | sed 's/^/reason /'
  done
done
"""
)
"""Prints every disk and its partitions, one `word value` a line."""

RESCAN = (
    'for each in /sys/class/block/sd*/device/rescan; do [ ! -w "$each" ] || echo 1 > "$each" 2>/dev/null || :; done'
)
"""Asks the disks for their sizes, as the kernel does not notice that a virtual disk grew. Changes nothing else."""
