"""What an update is asked to bring, in the words of package hosts and of image hosts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from pyinfra import host
from pyinfra.api import OperationError

from deploys.rollout import OF

Restart = Literal["no", "due", "always"]


@dataclass(frozen=True)
class Asked:
    """An update that somebody wants.

    Args:
        packages: only these; none for all.
        exclude: not these, as names or patterns.
        security: only what advisories are about.
        score: only what advisories of at least this CVSS score are about; 0 for no such limit.
        download: only fetch ahead of time.
        version: of an image, or its checksum; "" for the newest.
        restart: whether a reboot follows: when one is due, or always.
        seconds: how long it may take.
        only_after_change: "always" means whenever the update changed something.
        way_back: whether the host has to be able to go back, and does so when a proof fails.
        of: the rollout that updates, for the way back of that one; "" for none.
    """

    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    security: bool = False
    score: float = 0.0
    download: bool = False
    version: str = ""
    restart: Restart = "no"
    seconds: int = 600
    only_after_change: bool = False
    way_back: bool = True
    of: str = ""

    def what(self, *, image: bool) -> str:
        """What is updated, for a title or a record."""
        if image:
            return f"the image to {self.version}" if self.version else "the image"
        if self.packages:
            return ", ".join(self.packages)
        return "security updates" if self.security or self.score else "all packages"

    def require_fitting(self, *, image: bool) -> None:
        """Refuse what the host has no use for.

        Raises:
            OperationError: options about packages for an image host, or the other way round.
        """
        about_packages = {
            "packages": self.packages, "exclude": self.exclude, "security": self.security, "score": self.score,
            "download": self.download,
        }  # fmt: skip
        wrong = [f"{name}=" for name, value in about_packages.items() if value]
        if image and wrong:
            message = (
                f"refused: {', '.join(wrong)} choose{'s' if len(wrong) == 1 else ''} packages, and this host takes "
                "images. Leave it out for the newest image, or name one by version="
            )
            raise OperationError(message)
        if self.version and not image:
            message = "refused: version= names an image, and this host takes packages. Name these by packages="
            raise OperationError(message)


_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def of_run() -> str:
    """The rollout that the current run is one of, by `--data of=` or its environment; "" for none.

    Raises:
        OperationError: that is no name of one.
    """
    text = str(host.data.get("of", default="")) or os.environ.get(OF, "")
    if text and not _LABEL.fullmatch(text):
        message = f"--data of={text}: the name of a rollout, such as rollout-12"
        raise OperationError(message)
    return text
