# Photon Fleet: the point that a package host can go back to, without a repository and without tdnf.
#   sh -s save OF NEVRA...  note what is installed, and lay down the package files of what is going to change or go;
#                         OF is the rollout that updates, "" for none
#   sh -s hold [OF]       note the versions that have come since the point: they are not to be installed again
#   point.sh watch N      go back by itself N seconds after the next boot, unless that is confirmed before
#   point.sh watch N now CHECK...
#                         N seconds from now, or after the next boot; these checks failed before the update
#   sh -s confirm         the host is well, or has gone back: do not
#   sh -s proved          the host is well; fails when it has gone back by itself meanwhile
#   sh -s back [OF]       make the installed packages those of the point again; may be repeated after whatever ended it
#                         With OF those of before the first update of that rollout: refused when the last one is another's
set -u
umask 077
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

state=/var/lib/photon-fleet/update
cache=/var/cache/tdnf
point=$state/point
new=$state/new
# Killed between putting the older one aside and the newer one in its place.
[ -e "$point" ] || [ ! -e "$state/before" ] || mv -T "$state/before" "$point"

fail() {
  echo "$*" >&2
  exit 1
}

# Not every file system: an NFS server that is gone would hold that up for ever.
written() {
  for each in / /boot /etc /usr /var; do [ ! -d "$each" ] || sync -f "$each"; done
}

# Keys are packages to rpm; they come and go with repositories and are no part of a point.
installed() {
  rpm -qa --qf '%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\n' > "$1.all" || return 1
  grep -v '^gpg-pubkey ' "$1.all" | sort > "$1" && rm -f "$1.all" && [ -s "$1" ]
}

# "curl 0:8.7.1-1.ph5 x86_64" on each line -> "curl-8.7.1-1.ph5.x86_64"
nevra() { sed 's/^\([^ ]*\) [0-9]*:\([^ ]*\) \([^ ]*\)$/\1-\2.\3/'; }

# A kernel does not take the place of another one.
is_kernel() { case $1 in linux|linux-aws|linux-esx|linux-rt|linux-secure) ;; *) return 1 ;; esac; }

# rpm -K of an unsigned package succeeds, but names no signature.
good() { [ -f "$1" ] && checked=$(rpm -K "$1" 2>&1) && case $checked in *'signatures OK') ;; *) return 1 ;; esac; }

at_hand() {
  for place in "$point/old" "$new/old"; do
    if good "$place/$1.rpm"; then
      [ "$place" = "$new/old" ] || cp "$place/$1.rpm" "$new/old/" || fail "no space left for the way back"
      return 0
    fi
  done
  found=$(find "$cache" -name "$1.rpm" -type f 2>/dev/null | head -n 1)
  [ -n "$found" ] && good "$found" && { cp "$found" "$new/old/" || fail "no space left for the way back"; }
}

fetch() {
  timeout -k 10 600 tdnf -y reinstall --downloadonly --downloaddir="$new/old" "$@" </dev/null >"$new/said" 2>&1
}

running() {
  systemctl list-units --type=service --state=running --plain --no-legend 2>/dev/null | cut -d' ' -f1
}

# What ran at the point and does not now, as a service that failed in between; at boot systemd starts them anyway.
start_again() {
  case $(systemctl is-system-running 2>/dev/null) in running|degraded) ;; *) return 0 ;; esac
  systemctl daemon-reload
  while read -r unit; do
    systemctl is-active --quiet "$unit" || [ "$(systemctl is-enabled "$unit" 2>/dev/null)" != enabled ] || {
      systemctl reset-failed "$unit" 2>/dev/null
      timeout -k 10 120 systemctl start "$unit" </dev/null || echo "$unit ran at the point and does not start" >&2
    }
  done < "$point/running"
}

# What an update before this one has brought: of the same rollout it goes back with it, of another one it could not any
# more without this one.
follow() {
  [ -s "$point/installed" ] || return 0
  if [ -e "$point/over" ]; then tail -n 50 "$point/over" > "$new/over" || return 1; fi
  was=$(cat "$point/of" 2>/dev/null) earlier=$point
  [ ! -s "$point/first/installed" ] || earlier=$point/first
  # It went back, or never came.
  [ -n "$was" ] && [ ! -e "$point/undone" ] && [ -n "$(comm -3 "$earlier/installed" "$new/installed")" ] || return 0
  [ "$was" = "$1" ] || { echo "$was" >> "$new/over"; return; }
  mkdir -p "$new/first/old" && cp "$earlier/running" "$earlier/at" "$earlier/installed" "$new/first/" || return 1
  for file in "$point"/first/old/*.rpm "$point"/old/*.rpm; do
    [ ! -f "$file" ] || ln -f "$file" "$new/first/old/" || return 1
  done
}

save() {
  [ $# -gt 0 ] || fail "usage: save OF NEVRA..."
  rm -rf "$new" && mkdir -p "$new/old" || fail "no space left for the way back"
  installed "$new/installed" || fail "the RPM database cannot be read"
  follow "$1" && echo "$1" > "$new/of" || fail "no space left for the way back"
  shift
  names=
  for each; do at_hand "$each" || names="$names $(rpm -q --qf '%{NAME} ' "$each" 2>/dev/null)"; done
  if [ -n "$names" ] && ! fetch $names; then
    # One that no repository has keeps all others from being fetched.
    for name in $names; do fetch "$name"; done
  fi
  missing=
  for each; do at_hand "$each" || missing="$missing $each"; done
  if [ -n "$missing" ]; then
    why=$(tail -n 1 "$new/said" 2>/dev/null)
    rm -rf "$new"
    fail "this host could not go back: no signed package file is to be had of$missing${why:+ ($why)}"
  fi
  rm -f "$new/said"
  running > "$new/running"
  : > "$new/unproved" && cat /proc/sys/kernel/random/boot_id > "$new/boot" || fail "no space left for the way back"
  # The time alone would not tell two points of one second from each other.
  cat /proc/sys/kernel/random/uuid > "$new/id" || fail "no space left for the way back"
  date -u +%Y-%m-%dT%H:%M:%SZ > "$new/at" && sync -f "$new" || fail "no space left for the way back"
  rm -rf "$state/before"
  if [ -e "$point" ]; then mv -T "$point" "$state/before" || fail "the older point cannot be put aside"; fi
  mv -T "$new" "$point" && sync -f "$state" && rm -rf "$state/before" && echo saved
}

# What differs from its package, but for what someone has written into a configuration file.
differs() { rpm -V "$1" 2>/dev/null | grep -v '^..5[^ ]* *c ' | grep -q .; }

# Whole files only: a transaction that was killed may have left some of each version.
mend() {
  nevra < "$base/installed" > "$state/wanted" || fail "no space left to go back"
  for file in "$base"/old/*.rpm "$point"/old/*.rpm; do
    [ -f "$file" ] && grep -qxF -e "$(basename "$file" .rpm)" "$state/wanted" || continue
    name=$(rpm -qp --qf '%{NAME}' "$file" 2>/dev/null)
    if rpm -q "$name" >/dev/null 2>&1 && differs "$name"; then
      rpm -U --oldpackage --replacepkgs --nodeps "$file" || fail "$name could not be laid down again"
    fi
  done
}

# Before the last update; or before the first one of the rollout that has made the last one.
aim() {
  base=$point
  [ -s "$point/installed" ] || fail "there is no point on this host that it could go back to"
  [ -n "${1-}" ] || return 0
  [ "$(cat "$point/of" 2>/dev/null)" = "$1" ] || fail "the last update of this host is not of $1"
  [ ! -s "$point/first/installed" ] || base=$point/first
}

# The package file is at hand: in $file.
lies() {
  for place in "$point/old" "$base/old"; do
    file=$place/$1.rpm
    [ ! -f "$file" ] || return 0
  done
  return 1
}

# From now on the point is the one that was gone back to, and there is nothing of its update left.
settle() {
  if [ "$base" != "$point" ]; then
    for file in "$base"/old/*.rpm; do [ ! -f "$file" ] || mv -f "$file" "$point/old/" || return 1; done
    cp "$base/at" "$base/running" "$point/" && mv -f "$base/installed" "$point/installed" && rm -rf "$base" || return 1
  fi
  [ -s "$point/first/installed" ] || : > "$point/undone"
}

back() {
  aim "${1-}"
  now=$state/now
  installed "$now" || fail "the RPM database cannot be read"
  comm -23 "$base/installed" "$now" > "$state/gone"
  comm -13 "$base/installed" "$now" > "$state/arrived"
  missing=
  for each in $(nevra < "$state/gone"); do lies "$each" && good "$file" || missing="$missing $each"; done
  [ -z "$missing" ] || fail "this host cannot go back: no signed package file is to be had of$missing"
  set --
  while read -r name version arch; do
    lies "$(echo "$name $version $arch" | nevra)"
    if is_kernel "$name"; then
      rpm -i --oldpackage --nodeps "$file" </dev/null || fail "$name could not be put back"
    else
      set -- "$@" "$file"
    fi
  done < "$state/gone"
  # Without dependencies: what is there afterwards is what was there at the point, which had them.
  [ $# -eq 0 ] || rpm -U --oldpackage --nodeps "$@" || fail "rpm did not go back; run this again"
  installed "$now" || fail "the RPM database cannot be read"
  for each in $(comm -13 "$base/installed" "$now" | nevra); do
    rpm -e --nodeps "$each" || fail "$each could not be removed; run this again"
  done
  mend
  installed "$now" || fail "the RPM database cannot be read"
  left=$(comm -3 "$base/installed" "$now")
  [ -z "$left" ] || fail "the packages are not those of the point: $left"
  rm -f "$now" "$state/gone" "$state/arrived" "$state/wanted"
  settle || fail "the packages are those of the point, and this cannot be noted; run this again"
  written
  start_again
  echo back
}

hold() {
  aim "${1-}"
  installed "$state/now" || fail "the RPM database cannot be read"
  { cat "$state/held" 2>/dev/null; comm -13 "$base/installed" "$state/now"; } | sort -u > "$state/held.new" &&
    mv -f "$state/held.new" "$state/held" && sync -f "$state" || fail "the versions cannot be noted"
}

timer=photon-fleet-update.timer
units=/etc/systemd/system

watch() {
  seconds=$1 when=${2-}
  case $seconds in ''|*[!0-9]*) fail "$seconds is no number of seconds" ;; esac
  # A reboot without an update before it has nothing to go back from.
  [ -e "$point/unproved" ] || return 0
  if [ "$when" = now ]; then
    shift 2
    for each; do echo "$each"; done > "$point/failing" && sync -f "$point" || fail "no space left for the way back"
  fi
  cat > "$units/photon-fleet-update.service" <<UNIT || fail "the unit that goes back cannot be written"
[Unit]
Description=Go back from an update that nobody has proved (Photon Fleet)
[Service]
Type=oneshot
ExecStart=/bin/sh $state/point.sh expire
UNIT
  cat > "$units/$timer" <<UNIT || fail "the timer that goes back cannot be written"
[Unit]
Description=Wait for the proof of an update (Photon Fleet)
[Timer]
OnActiveSec=$seconds
AccuracySec=1s
[Install]
WantedBy=timers.target
UNIT
  chmod 644 "$units/photon-fleet-update.service" "$units/$timer"
  sync -f "$units" && systemctl daemon-reload && systemctl --quiet enable "$timer" || fail "the timer cannot be enabled"
  # It may be running since the update; a reboot that is about to come starts it anew.
  if [ "$when" = now ]; then systemctl restart "$timer"; else systemctl stop "$timer"; fi ||
    fail "the timer cannot be started"
}

confirm() {
  rm -f "$point/unproved" "$point/expired" "$point/proved"
  [ -e "$units/$timer" ] || return 0
  systemctl --quiet disable --now "$timer" && rm -f "$units/$timer" "$units/photon-fleet-update.service" &&
    systemctl daemon-reload || fail "the way back could not be called off"
}

# One of the two has it: who proves, or who goes back.
proved() {
  mv "$point/unproved" "$point/proved" 2>/dev/null ||
    fail "the host goes back by itself, or has gone back, as this proof came too late; the next run tells"
  confirm
}

# Called by the timer. The next run tells the record.
expire() {
  [ -e "$point/expired" ] || mv "$point/unproved" "$point/expired" 2>/dev/null || { confirm; return; }
  # In shells of their own: what fails ends them, and what follows must be done all the same.
  ( hold )
  if ( back ) >&2; then result="went back from an update that nobody proved in time"
  else result="could NOT go back from an update that nobody proved in time (see its journal)"; fi
  ( confirm )
  records=/var/lib/photon-fleet/records/new
  mkdir -p "$records" && { echo "what: $result"; echo "by: the host itself"; echo "why: no run logged in and proved it"
    echo "commit: none"; echo "at: $(date -u +%Y-%m-%dT%H:%M:%SZ)"; } > "$records/$(date -u +%Y%m%dT%H%M%SZ).update"
  written
  # What runs since a reboot, such as a kernel, came with the update.
  [ "$(cat "$point/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ] || systemctl --no-block reboot
}

case ${1-} in
  watch) shift; watch "$@" ;;
  confirm) confirm ;;
  proved) proved ;;
  expire) expire ;;
  save) shift; save "$@" ;;
  hold) hold "${2-}" ;;
  back) back "${2-}" ;;
  *) fail "usage: save OF NEVRA... | hold [OF] | watch N [now CHECK...] | confirm | proved | back [OF]" ;;
esac
exit
