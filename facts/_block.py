"""What a block device holds: asked in one way by the fact that looks, and again right before a change.

A disk counts as empty when nothing says otherwise: no signature that blkid or wipefs knows (file systems, RAID, LVM,
swap, partition tables), no mount, no swap, no holder, and only zeros in its first and its last MiB. What cannot be read
is a reason as well. Written with the shell's own means where it has some: on a busy host each program costs.
"""

from __future__ import annotations

DISKS = "/dev/sd* /dev/vd* /dev/xvd* /dev/nvme*"
"""The kernel's names for disks of a virtual machine; what is a partition, or no block device, is passed over."""

FUNCTIONS = r"""
mounted=" $(sed 's/^[0-9]* [0-9]* \([0-9:]*\) .*/\1/' /proc/self/mountinfo | tr '\n' ' ') "
swapped=" "; while read -r name rest; do swapped="$swapped$name "; done < /proc/swaps
sys_of() { # sets sys and number
  set -- $(stat -Lc '%t %T' "$1") && [ $# = 2 ] || return 1
  number=$((0x$1)):$((0x$2)); sys=/sys/dev/block/$number; [ -d $sys ]
}
word() { got=; [ ! -r "$1" ] || read -r got < "$1" || :; }
look() { # NODE; sets found, status, kind, table and name
  kind= table= name= status=0
  found=$(LC_ALL=C blkid -p -o udev "$1" 2>/dev/null) || status=$?
  while read -r line; do
    case $line in
      ID_FS_TYPE=*) kind=${line#*=};; ID_PART_TABLE_TYPE=*) table=${line#*=};; ID_PART_ENTRY_NAME=*) name=${line#*=};;
    esac
  done <<X
$found
X
}
# A disk that cannot be read is not one full of zeros.
zeros() { [ "$({ dd if="$1" bs=1048576 skip="$2" count=2 2>/dev/null || echo no; } | tr -d '\0' | wc -c)" -eq 0 ]; }
reasons() { # NODE MEBIBYTES, after sys_of and look; without a size only the signatures count
  word "$sys/ro"; [ "$got" = 0 ] || echo "is read-only"
  for holder in "$sys"/holders/*; do [ ! -e "$holder" ] || echo "is used by ${holder##*/}"; done
  case $mounted in *" $number "*) echo "is mounted";; esac
  case $swapped in *" $1 "*) echo "is swap in use";; esac
  case $status in 0|2) ;; 8) echo "has several signatures";; *) echo "cannot be probed by blkid";; esac
  [ -z "$table" ] || echo "has a partition table ($table)"
  [ -z "$kind" ] || echo "holds $kind"
  [ -z "$kind$table" ] || return 0
  known=$(wipefs -n -p "$1" 2>&1) || echo "cannot be probed by wipefs"
  while read -r line; do
    case $line in ""|"#"*) ;; *) echo "has a signature that wipefs knows";; esac
  done <<X
$known
X
  [ -n "$2" ] || return 0
  zeros "$1" 0 || echo "has data in its first MiB"
  zeros "$1" $(($2 - 1)) || echo "has data in its last MiB"
}
"""

LIST = (
    FUNCTIONS
    + r"""
[ ! -e /run/udev/control ] || echo "udev yes"
for node in """
    + DISKS
    + r"""; do
  [ -b "$node" ] && sys_of "$node" && [ ! -e $sys/partition ] || continue
  word $sys/size; mebibytes=$((${got:-0} / 2048)); [ $mebibytes -gt 1 ] || continue
  echo "disk $node"; echo "size $((got * 512))"
  word $sys/serial; [ -n "$got" ] || word $sys/device/serial
  [ -n "$got" ] || [ ! -r $sys/device/vpd_pg80 ] || got=$(tail -c +5 $sys/device/vpd_pg80 | tr -d '\0')
  echo "serial $got"
  word $sys/device/wwid; [ -n "$got" ] || word $sys/wwid; echo "wwn $got"
  got=$(readlink $sys/device); echo "scsi ${got##*/}"
  for link in /dev/disk/by-path/*; do [ ! "$link" -ef "$node" ] || echo "path ${link##*/}"; done
  look "$node"; echo "$found"
  reasons "$node" $mebibytes | while read -r line; do echo "reason $line"; done
  for entry in $sys/*/partition; do
    [ -e "$entry" ] || continue
    sys=${entry%/partition}; part=/dev/${sys##*/}
    echo "partition $part"; word $sys/size; echo "size $((got * 512))"; word $sys/start; echo "start $((got * 512))"
    word $sys/dev; number=$got
    look "$part"; echo "$found"
    reasons "$part" "" | while read -r line; do echo "reason $line"; done
  done
done
"""
)
"""Prints every disk and its partitions: `word value` or blkid's `WORD=value`, one a line."""

RESCAN = """
for each in /sys/class/block/sd*/device/rescan; do
  [ ! -w "$each" ] || { echo 1 > "$each"; } 2>/dev/null || :
done
"""
"""Asks the disks for their sizes, as the kernel does not notice that a virtual disk grew. Changes nothing else."""
