"""Unit files and drop-ins as systemd itself understands them, before they are put in place."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pyinfra.api import StringCommand

DIRECTORY = "/etc/systemd/system"

# The files lie in a directory of their own that comes first in systemd's search path: units of one policy see each
# other there, and a drop-in is read with the unit that the host has. systemd only warns of a misspelt key: a warning
# about one of these files counts as an error. Distributions' own units may be wrong: theirs is looked at first.
_VERIFY = r"""
command -v systemd-analyze >/dev/null || exit 0
wrong() { printf '%s\n' "$out" | sed "s#$new/##g" >&2; echo "$1: systemd does not accept it; nothing was changed" >&2; }
check() { out=$(SYSTEMD_UNIT_PATH="$new:" systemd-analyze verify --man=no "$1" 2>&1); }
names() { case "$out" in *"$new/$1"*) return 0;; *) return 1;; esac; }
failed=
for place in "$@"; do
  case "$place" in
    */*)
      unit=${place%%.d/*}; [ -e "$new/$unit" ] && continue
      case "$unit" in *@.*) shown="${unit%@.*}@any.${unit##*@.}";; *) shown=$unit;; esac
      path=$(systemctl show --property=FragmentPath --value "$shown")
      [ -n "$path" ] || { echo "there is no unit $unit on this host" >&2; failed=1; continue; }
      systemd-analyze verify --man=no "$path" >/dev/null 2>&1 && sound=1 || sound=
      check "$path" || [ -z "$sound" ] || { wrong "$place"; failed=1; continue; }
      ! names "$unit.d/" || { wrong "$place"; failed=1; };;
    *)
      if ! check "$new/$place" || names "$place"; then wrong "$place"; failed=1; fi;;
  esac
done
[ -z "$failed" ]
"""


def unit_of(place: str) -> str:
    """The unit that a file below the directory belongs to: `x.service`, or `x.service.d/y.conf`."""
    head, slash, _ = place.partition("/")
    return head.removesuffix(".d") if slash else place


def verify(contents: Mapping[str, str]) -> StringCommand:
    """The command that fails, with systemd's own words, when one of these files would not do. It changes nothing."""
    steps = []
    for place, content in contents.items():
        quoted = shlex.quote(place)
        if "/" in place:
            steps.append(f'mkdir -p "$new"/{shlex.quote(place.rpartition("/")[0])}')
        steps.append(f'head -c {len(content.encode())} > "$new"/{quoted}')
    places = " ".join(map(shlex.quote, contents))
    script = f"new=$(mktemp -d) && ({{ {' && '.join(steps)}; }} && set -- {places} && (\n{_VERIFY}\n)); "
    return StringCommand(f'{script}status=$?; rm -rf "$new"; [ $status -eq 0 ]', _stdin="".join(contents.values()))
