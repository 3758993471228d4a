# Photon Fleet: the update of an image host, noted on the host, and the way back that it takes by itself.
#   sh -s note OF BOOTED VERSION FAILING...  note what runs, and which checks fail before the update; OF is the rollout
#                         that updates, "" for none
#   sh -s staged          note what the next boot is going to start
#   sh -s hold            note that this image is not to be installed again
#   image.sh watch N      go back by itself N seconds after the next boot, unless that is confirmed before
#   sh -s confirm         the host is well, or has gone back: do not
#   sh -s back            let the next boot start the image that ran before; may be repeated after whatever ended it
set -u
umask 077
# A unit has no /usr/local/bin in its path.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8

state=/var/lib/photon-fleet/update
note=$state/image
held=$state/held-images
# Killed between putting the older one aside and the newer one in its place.
[ -e "$note" ] || [ ! -e "$note.before" ] || mv -T "$note.before" "$note"

fail() {
  echo "$*" >&2
  exit 1
}

# Not every file system: an NFS server that is gone would hold that up for ever.
written() {
  for each in / /boot /etc /usr /var; do [ ! -d "$each" ] || sync -f "$each"; done
}

# Each `ostree admin` waits for its lock for ever.
limited() { timeout -k 10 "$@" </dev/null 9>&-; }

status() { limited 60 ostree admin status; }

# "* photon 965c....0 (staged)" -> the commit of the image that runs, and of the one that the next boot starts
running() { status | sed -n 's/^[*] [^ ]* \([0-9a-f]*\)[.][0-9].*/\1/p'; }
first() { status | sed -n '1s/^[* ] [^ ]* \([0-9a-f]*\)[.][0-9].*/\1/p'; }
first_version() { status | sed -n '2s/^ *Version: //p'; }

value() { cat "$note/$1" 2>/dev/null; }

# What an update before this one has brought: of the same rollout it goes back with it, of another one it could not any
# more without this one.
follow() {
  if [ -e "$note/over" ]; then tail -n 50 "$note/over" > "$new/over" || return 1; fi
  was=$(value of) earlier=$(value first) version=$(value first_version)
  [ -n "$earlier" ] || earlier=$(value before) version=$(value before_version)
  # It went back, or was never booted.
  [ -n "$was" ] && [ -n "$earlier" ] && [ "$earlier" != "$2" ] || return 0
  [ "$was" = "$1" ] || { echo "$was" >> "$new/over"; return; }
  echo "$earlier" > "$new/first" && echo "$version" > "$new/first_version"
}

note() {
  [ -n "${2-}" ] || fail "usage: note OF BOOTED VERSION FAILING..."
  new=$state/image.new
  rm -rf "$new" && mkdir -p "$new" && follow "$1" "$2" && echo "$1" > "$new/of" ||
    fail "no space left to note the update"
  shift
  echo "$1" > "$new/before" && echo "$2" > "$new/before_version" || fail "no space left to note the update"
  shift 2
  for each; do echo "$each"; done > "$new/failing" || fail "no space left to note the update"
  cat /proc/sys/kernel/random/boot_id > "$new/boot" && date -u +%Y-%m-%dT%H:%M:%SZ > "$new/at" &&
    : > "$new/unproved" && sync -f "$new" || fail "no space left to note the update"
  rm -rf "$note.before"
  if [ -e "$note" ]; then mv -T "$note" "$note.before" || fail "the older note cannot be put aside"; fi
  mv -T "$new" "$note" && sync -f "$state" && rm -rf "$note.before" || fail "the update cannot be noted"
}

staged() {
  next=$(first)
  [ -n "$next" ] || fail "ostree does not say what the next boot starts"
  first_version > "$note/staged_version" && echo "$next" > "$note/staged" && sync -f "$note" ||
    fail "no space left to note the update"
}

hold() {
  bad=$(value staged)
  [ -n "$bad" ] || bad=$(running)
  [ -n "$bad" ] && [ "$bad" != "$(value before)" ] || fail "there is no update that could be held back"
  { cat "$held" 2>/dev/null; echo "$bad $(value staged_version)"; } | sort -u > "$held.new" &&
    mv -f "$held.new" "$held" && sync -f "$state" || fail "the image cannot be noted"
}

back() {
  before=$(value before)
  # A run and the timer may come to this at once, and rpm-ostree's way is a toggle.
  exec 9> "$state/image.lock" && flock -w 300 9 || fail "somebody else goes back on this host, and does not end"
  [ -n "$before" ] || fail "it is not noted what ran before the update"
  [ "$(first)" != "$before" ] || { echo back; return 0; }
  place=$(status | sed -n "s/^[* ] \([^ ]*\) \($before[.][0-9]*\).*/\1 \2/p" | head -n 1)
  [ -n "$place" ] || fail "the image that ran before is not on this host any more"
  if command -v rpm-ostree >/dev/null 2>&1; then
    # What waits in front of the image that runs would be the other side of this toggle.
    [ "$(first)" = "$(running)" ] || limited 120 rpm-ostree cleanup -p || fail "rpm-ostree did not take back what waits"
    [ "$(first)" = "$before" ] || limited 120 rpm-ostree rollback || fail "rpm-ostree did not go back"
  else
    limited 600 ostree admin deploy --stage \
      --origin-file="/ostree/deploy/${place% *}/deploy/${place#* }.origin" "$before" || fail "ostree did not go back"
  fi
  [ "$(first)" = "$before" ] || fail "the next boot would not start the image that ran before"
  echo back
}

service=photon-fleet-update.service
timer=photon-fleet-update.timer
units=/etc/systemd/system

# These units are in /etc, which the update takes along into the new image.
watch() {
  case $1 in ''|*[!0-9]*) fail "$1 is no number of seconds" ;; esac
  is_open || return 0
  cat > "$units/$service" <<UNIT || fail "the unit that goes back cannot be written"
[Unit]
Description=Go back from an image that nobody confirmed after its first boot (Photon Fleet)
[Service]
Type=oneshot
ExecStart=/bin/sh $state/image.sh expire
UNIT
  cat > "$units/$timer" <<UNIT || fail "the timer that goes back cannot be written"
[Unit]
Description=Wait for an image to be confirmed after its first boot (Photon Fleet)
[Timer]
OnBootSec=$1
AccuracySec=1s
[Install]
WantedBy=timers.target
UNIT
  chmod 644 "$units/$service" "$units/$timer"
  sync -f "$units" && systemctl daemon-reload && systemctl --quiet enable "$timer" || fail "the timer cannot be enabled"
}

disarm() {
  [ -e "$units/$timer" ] || return 0
  systemctl --quiet disable --now "$timer" && rm -f "$units/$timer" "$units/$service" &&
    systemctl daemon-reload || fail "the way back could not be called off"
}

# Confirmed or expired is decided by who renames this file; a way back that was cut short leaves the other one.
is_open() { [ -e "$note/unproved" ] || [ -e "$note/expired" ]; }

confirm() {
  if ! mv -f "$note/unproved" "$note/proved" 2>/dev/null && [ -e "$note/expired" ]; then
    case $(systemctl show --property=ActiveState --value "$service") in
      activating) fail "nobody confirmed the image in time: the host goes back from it at this moment" ;;
    esac
    rm -f "$note/expired"
  fi
  disarm
}

record() {
  records=/var/lib/photon-fleet/records/new
  mkdir -p "$records" && { echo "what: $1"; echo "by: the host itself"; echo "why: no run logged in and proved it"
    echo "commit: none"; echo "at: $(date -u +%Y-%m-%dT%H:%M:%SZ)"; } > "$records/$(date -u +%Y%m%dT%H%M%SZ).update"
}

# Called by the timer; in the /etc of an older image it may still be there when all is over.
expire() {
  is_open || { disarm; exit 0; }
  # The update is not what runs: there is nothing to go back from, and the next run has to tell why.
  [ "$(running)" != "$(value before)" ] || { disarm; exit 0; }
  mv -f "$note/unproved" "$note/expired" 2>/dev/null
  [ -e "$note/expired" ] || exit 0
  image=$(value staged_version)
  # In shells of their own: what fails ends them, and what follows must be done all the same.
  ( hold )
  if ( back ) >&2; then
    record "went back from image ${image:-?}, as nobody confirmed it after its first boot"
    rm -f "$note/expired"
    ( disarm )
    written
    systemctl --no-block reboot
  else
    # It boots again into the same image, if at all: each time it is tried once more.
    record "could NOT go back from image ${image:-?}, which nobody confirmed after its first boot (see its journal)"
  fi
}

case ${1-} in
  note) shift; note "$@" ;;
  staged) staged ;;
  hold) hold ;;
  watch) watch "${2-}" ;;
  confirm) confirm ;;
  back) back ;;
  expire) expire ;;
  *) fail "usage: note OF BOOTED VERSION FAILING... | staged | hold | watch N | confirm | back" ;;
esac
exit
