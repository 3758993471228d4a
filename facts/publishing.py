"""What a server for fleets without internet has: versions, and the channels that name them."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

END = "end"


class Publishing(TypedDict):
    """`versions`: version -> its branches; `channels`: channel -> branch -> version.

    A server without branches has the one named "". `made_of` is the digest of the policy's wishes that `staging` was
    made of, "" before the first fetch; `there` tells whether the host is such a server at all,
    `failed` whether its last fetch failed.
    """

    there: bool
    failed: bool
    made_of: str
    versions: dict[str, list[str]]
    channels: dict[str, dict[str, str]]


def script_of(server: str) -> str:
    """The path of a server's script."""
    return f"/etc/photon-fleet/{server}/publish.sh"


class Published(FactBase[Publishing]):
    """
    Returns what a server has published:

    .. code:: python

        {"there": True, "failed": False, "made_of": "9f86d081...", "versions": {"20261129T101500Z": [""]},
         "channels": {"staging": {"": "20261129T101500Z"}}}

    Source of the format: our own script on the host, publish.sh of the server's policy: lines of
    `version NAME [BRANCH]`, `channel NAME VERSION [BRANCH]` and `made-of DIGEST` and `failed`, then `end`.
    """

    @override
    def command(self, server: str) -> StringCommand:
        path = script_of(server)
        return StringCommand(f"if [ -e {path} ]; then /bin/sh {path} state; else echo absent; fi")

    @override
    def process(self, output: list[str]) -> Publishing:
        found: Publishing = {
            "there": output != ["absent"], "failed": False, "made_of": "", "versions": {}, "channels": {},
        }  # fmt: skip
        if not found["there"]:
            return found
        if not output or output[-1] != END:
            message = f"the state of what is published did not get to its end: {output!r}"
            raise FactProcessError(message)
        for line in output[:-1]:
            match line.split():
                case ["version", version, *branch] if len(branch) < 2:  # noqa: PLR2004 - one or none
                    found["versions"].setdefault(version, []).append("".join(branch))
                case ["channel", channel, version, *branch] if len(branch) < 2:  # noqa: PLR2004 - one or none
                    found["channels"].setdefault(channel, {})["".join(branch)] = version
                case ["made-of", digest]:
                    found["made_of"] = digest
                case ["failed"]:
                    found["failed"] = True
                case _:
                    message = f"the state of what is published has the line {line!r}"
                    raise FactProcessError(message)
        return found
