"""Update packages now: planned, refused when it could not be right, proved, and undone when it broke something.

pyinfra inventories/prod.py deploys/fixes/update.py --limit web-3 --data packages=openssl,curl --data why="CVE-..."
pyinfra inventories/prod.py deploys/fixes/update.py --limit web --data security=true --data score=7.0 --data why="..."
pyinfra inventories/prod.py deploys/fixes/update.py --data download=true --data why="..."        ahead of time
pyinfra inventories/prod.py deploys/fixes/update.py --data reboot=due --data why="..."           (or reboot=always)

First the package files of what changes are laid down on the host; a host where that cannot be done is not updated. It
goes back to them when nobody can log in any more, or when a check of any of its policies fails that passed before, and
then holds these versions back (deploys/fixes/release.py). After a reboot it also goes back by itself when no run has
proved it within ten minutes. --data no_way_back=true leaves all that out. Each host keeps to the windows of its update
policy, unless --data now=true is given; a download does not.
"""

from pyinfra import host

from deploys._run import contained
from deploys.fixes._fix import begin_fix, decimal, listed, number, one_of, yes
from deploys.guard import guarding
from deploys.update.leave import draining, holding_slot, pinned
from deploys.update.way_back import SECONDS, WATCHED_SECONDS, proved_before, proved_or_undone, undo
from inventories._merge import effective_of
from operations import reboot, updates

names, exclude = listed("packages"), listed("exclude")
security, download, way_back = yes("security"), yes("download"), not yes("no_way_back")
score = decimal("score", 0.0)
restart, seconds = one_of("reboot", ("no", "due", "always")), number("seconds", 600)
what = ", ".join(names) or ("security updates" if security or score else "all packages")
with contained():
    owner = begin_fix(
        __file__, f"downloaded the updates of {what}" if download else f"updated {what}", in_window=not download
    )
    policies = list(effective_of(host).policies.values()) if way_back and not download else []
    if policies:
        proved_before(name="Look what is proved before", policies=policies)
    # The guard takes the way back when nobody can log in afterwards; without files to go back to there is none.
    with guarding("update", undo() if policies else None, owner, SECONDS):
        updates.packages(
            name=f"Download the updates of {what}" if download else f"Update {what}",
            names=names, exclude=[*exclude, *pinned()], security=security, minimum_score=score, download_only=download,
            way_back=way_back,
        )  # fmt: skip
    if restart != "no" and not download:
        with holding_slot(owner):
            reboot.rebooted(
                name="Reboot", seconds=seconds, if_due=restart == "due", watched=WATCHED_SECONDS if policies else 0,
                **draining(),
            )  # fmt: skip
    if policies:
        proved_or_undone(name="Prove every policy", policies=policies, seconds=seconds)
