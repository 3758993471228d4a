# Photon Fleet: a new image is started once. Until it is proved, every other boot starts the image before it.
#   sh -s ready ARGUMENT...                     give the kernel arguments that end a failed boot in a reboot
#   photon-fleet-try-boot.sh arm NEW OLD SECONDS VERSION     before the reboot into a staged image
#   sh -s keep                                  the new image is proved, or not to be tried: the menu's first is the default
#   sh -s leave WHY                             the new image is not to be kept: before the reboot that starts the old one
#   photon-fleet-try-boot.sh settle             at boot: where the old image runs again, forget the new one, and say so
#   photon-fleet-try-boot.sh expire             the time for the proof is over: boot again, which starts the old image
#   photon-fleet-try-boot.sh emergency OLD      instead of a shell that nobody sits at, unless it is the old image's
# NEW and OLD are deployments as ostree names their directories, CHECKSUM.SERIAL. What is below /etc goes over into the
# new image when that is put in place at shutdown, so that both have the script and its units.
set -u
umask 077
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

state=/var/lib/photon-fleet/update/try
grub=/boot/grub2
env=$grub/photon-fleet.env
loader=/boot/loader
units=/etc/systemd/system
records=/var/lib/photon-fleet/records/new
name=photon-fleet-try-boot
own=/etc/systemd/$name.sh
drop_in=$units/emergency.service.d/photon-fleet.conf

fail() {
  echo "$*" >&2
  exit 1
}

# The deployment that runs: where the link leads that the boot loader has given to the kernel.
running() {
  link=$(sed -n 's/.*[ ]\{0,1\}ostree=\([^ ]*\).*/\1/p' /proc/cmdline)
  [ -n "$link" ] && link=$(readlink -f "/sysroot$link") && echo "${link##*/}"
}

noted() { sed -n "s/^$1 //p" "$state/noted" 2>/dev/null; }

put() {
  cat > "$1.new" && chmod "$2" "$1.new" && sync -f "$1.new" && mv -f "$1.new" "$1" || fail "$1 cannot be written"
}

ready() {
  # With a staged image in between ostree 2022.7 would give that one these arguments alone.
  [ ! -e /run/ostree/staged-deployment ] || fail "an image is staged already: take it back first (ostree.cleaned_up)"
  for each; do set -- "$@" "--append-if-missing=$each"; shift; done
  timeout -k 10 120 ostree admin kargs edit-in-place "$@" || fail "the kernel arguments could not be given"
}

# The block has a fixed size, as GRUB writes into it without knowing the file system.
block() {
  text="# GRUB Environment Block
photon_fleet_try=$1
"
  printf '%s' "$text"
  head -c $((1024 - ${#text})) /dev/zero | tr '\0' '#'
}

menu() {
  cat <<'GRUB'
# Photon Fleet: a new image is tried once. Until it is proved, every other boot starts the one before it.
set photon_fleet_env=${config_directory}/photon-fleet.env
if [ -s "${photon_fleet_env}" ]; then
  load_env --file "${photon_fleet_env}" photon_fleet_try
  set default=1
  if [ "${photon_fleet_try}" = "armed" ]; then
    set photon_fleet_try=tried
    # Where it cannot be noted that the new image was tried, it is not.
    if save_env --file "${photon_fleet_env}" photon_fleet_try; then
      set default=0
      set fallback=1
    fi
  elif [ "${photon_fleet_try}" = "left" -a ! -f "${config_directory}/../loader/photon-fleet-tried" ]; then
    set default=0
  fi
fi
GRUB
}

unit_files() {
  put "$units/$name.service" 644 <<UNIT
[Unit]
Description=Settle the try of a new image (Photon Fleet)
ConditionPathExists=/run/ostree-booted
RequiresMountsFor=/boot /sysroot /var/lib
After=ostree-boot-complete.service
[Service]
Type=oneshot
TimeoutStartSec=15min
ExecStart=/bin/sh $own settle
[Install]
WantedBy=multi-user.target
UNIT
  put "$units/$name-expired.service" 644 <<UNIT
[Unit]
Description=Leave a new image that nobody has proved (Photon Fleet)
[Service]
Type=oneshot
ExecStart=/bin/sh $own expire
UNIT
  put "$units/$name.timer" 644 <<UNIT
[Unit]
Description=Wait for the proof of a new image (Photon Fleet)
[Timer]
OnBootSec=$1
AccuracySec=1s
Unit=$name-expired.service
[Install]
WantedBy=timers.target
UNIT
  mkdir -p "${drop_in%/*}" && chmod 755 "${drop_in%/*}"
  put "$drop_in" 644 <<UNIT
[Service]
ExecStartPre=-/bin/sh $own emergency $2
UNIT
  # For the next boot only, so that nothing is loaded now.
  systemctl --quiet --no-reload enable "$name.service" "$name.timer" || fail "$name cannot be enabled"
}

arm() {
  new=$1 old=$2 seconds=$3 version=$4
  case $seconds in ''|*[!0-9]*) fail "$seconds is no number of seconds" ;; esac
  [ -e /run/ostree/staged-deployment ] || fail "no image is staged: there is nothing to try"
  [ -s "$own" ] || fail "$own is not there"
  [ "$(running)" = "$old" ] || fail "another image runs than $old"
  rm -f "$env" && rm -rf "$state" && mkdir -p "$state" || fail "the try cannot be noted"
  unit_files "$seconds" "$old"
  put "$state/noted" 600 <<NOTED
new $new
old $old
seconds $seconds
version $version
boot $(cat /proc/sys/kernel/random/boot_id)
NOTED
  # In shells of their own, which a failure ends alone.
  menu | put "$grub/custom.cfg" 644 || exit 1
  block armed | put "$env" 600 || exit 1
  sync -f "$grub" || fail "the try cannot be noted for the boot loader"
}

disarm() {
  rm -f "$env" "$grub/custom.cfg" "$loader/photon-fleet-tried" && sync -f "$grub" ||
    fail "the boot loader still has a try to make"
  if [ -e "$own" ]; then
    # Not the service: this may be the very one.
    systemctl --no-block stop "$name.timer" 2>/dev/null
    systemctl --quiet --no-reload disable "$name.service" "$name.timer"
    rm -f "$units/$name.service" "$units/$name.timer" "$units/$name-expired.service" "$drop_in" "$own"
    rmdir "${drop_in%/*}" 2>/dev/null
  fi
  return 0
}

keep() {
  disarm
  # Not where the service itself settles the try: without its file systemd would give it 90 seconds, and end it.
  systemctl --no-block daemon-reload
  # Whoever calls this tells it, or has seen that there is nothing to tell.
  rm -f "$records/photon-fleet.try"
  rm -rf "$state" && sync -f "${state%/*}" || fail "the note of the try cannot be removed"
}

index_of() {
  timeout -k 10 60 ostree admin status | sed -n 's/^[* ] [^ ]* \([0-9a-f]*\.[0-9]*\)\( .*\)\{0,1\}$/\1/p' |
    grep -n -x -F "$1" | cut -d: -f1
}

settle() {
  new=$(noted new) runs=$(running)
  # Kept, or called off: what is left in an older image's /etc has no meaning any more.
  [ -n "$new" ] || { disarm; return 0; }
  [ "$runs" != "$new" ] || { : > "$state/up"; return 0; }
  place=$(index_of "$new")
  verdict="it did not come up"
  ! grep -q '^photon_fleet_try=armed' "$env" 2>/dev/null || verdict="the boot loader did not start it"
  [ ! -e "$state/up" ] || verdict="it came up, and the host was booted again before it was proved"
  [ ! -s "$state/why" ] || verdict=$(cat "$state/why")
  [ "$place" = 1 ] || verdict="it was not put in place at shutdown"
  # What was noted by a run of this that was cut off, is right.
  if [ ! -e "$state/back" ]; then
    mkdir -p "$records" && { echo "what: came back from image $(noted version): $verdict"; echo "by: the host itself"
      echo "why: it was not proved"; echo "commit: none"; echo "at: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    } > "$records/photon-fleet.try"
    echo "$verdict" > "$state/back.new" && mv -f "$state/back.new" "$state/back" && sync -f "$state" ||
      fail "what became of the try cannot be noted"
  fi
  if [ "$place" = 1 ]; then
    # ostree puts another directory in the place of this one when the menu is without the new image: whenever power is
    # lost meanwhile, GRUB sees which of the two menus it has.
    : > "$loader/photon-fleet-tried" && block left | put "$env" 600 || fail "the boot loader cannot be told"
    timeout -k 10 600 ostree admin undeploy 0 || fail "the image that was tried cannot be removed"
  fi
  disarm
}

leave() {
  [ "$(running)" = "$(noted new)" ] || fail "the image that runs is not one that is tried"
  echo "$1" > "$state/why.new" && mv -f "$state/why.new" "$state/why" && sync -f "$state" || fail "it cannot be noted"
}

expire() {
  [ "$(running)" = "$(noted new)" ] || return 0
  leave "nobody proved it within $(noted seconds) s of its boot"
  systemctl --no-block reboot
}

emergency() {
  [ "$(running)" != "$1" ] || return 0
  systemctl --force reboot
}

case ${1-} in
  ready) shift; ready "$@" ;;
  arm) arm "${2-}" "${3-}" "${4-}" "${5-}" ;;
  keep|settle|expire) "$1" ;;
  leave) leave "${2-}" ;;
  emergency) emergency "${2-}" ;;
  *) fail "usage: ready ARGUMENT... | arm NEW OLD SECONDS VERSION | keep | leave WHY | settle | expire | emergency OLD" ;;
esac
exit
