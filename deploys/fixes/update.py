"""Update a host now: planned, refused when it could not be right, proved, and undone when it broke something.

pyinfra inventories/prod.py deploys/fixes/update.py --limit web-3 --data packages=openssl,curl --data why="CVE-..."
pyinfra inventories/prod.py deploys/fixes/update.py --limit web --data security=true --data score=7.0 --data why="..."
pyinfra inventories/prod.py deploys/fixes/update.py --data download=true --data why="..."        ahead of time
pyinfra inventories/prod.py deploys/fixes/update.py --data reboot=due --data why="..."           (or reboot=always)
pyinfra inventories/prod.py deploys/fixes/update.py --limit edge --data version=5.0_minimal.7 --data reboot=due ...

A host of packages lays down the package files of what changes first; one where that cannot be done is not updated. It
goes back to them when nobody can log in any more, or when a check of any of its policies fails that passed before, and
then holds these versions back (deploys/fixes/release.py). A host of images stages the newest image, or the one of
version=, which runs after the reboot; when that breaks a check, it boots the one from before, and holds it back.
After a reboot either goes back by itself when no run has proved it within ten minutes. --data no_way_back=true leaves
all that out; --data of=rollout-12 notes the update as one of a rollout, with which it goes back. Each host keeps to the
windows of its update policy, unless --data now=true is given; a download does not.
"""

from pyinfra import host

from deploys._run import contained
from deploys.fixes._fix import begin_fix, decimal, listed, number, one_of, option, yes
from deploys.update.asked import Asked, of_run
from deploys.update.image import take_image
from deploys.update.packages import take_packages
from deploys.update.way_back import SECONDS, WATCHED_SECONDS
from facts.ostree import Deployments
from inventories._merge import effective_of
from operations._contain import read

asked = Asked(
    packages=tuple(listed("packages")), exclude=tuple(listed("exclude")), security=yes("security"),
    score=decimal("score", 0.0), download=yes("download"), version=option("version", ""),
    restart=one_of("reboot", ("no", "due", "always")), seconds=number("seconds", 600), way_back=not yes("no_way_back"),
    of=of_run(),
)  # fmt: skip
with contained():
    image = read(Deployments) is not None
    asked.require_fitting(image=image)
    word = "downloaded the updates of" if asked.download else "updated"
    owner = begin_fix(__file__, f"{word} {asked.what(image=image)}", in_window=not asked.download)
    policies = list(effective_of(host).policies.values())
    if image:
        take_image(owner, asked, policies, watched=WATCHED_SECONDS)
    else:
        take_packages(owner, asked, policies, SECONDS, watched=WATCHED_SECONDS)
