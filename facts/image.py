"""The update of an image host, as it was noted on the host itself: what ran before, what came, what is held back."""

from __future__ import annotations

from typing import Literal, TypedDict

from pyinfra.api import FactBase
from typing_extensions import override

from facts._answer import AnswerError
from facts.tdnf import contained

__all__ = ["HELD_IMAGES", "Held", "ImageUpdate", "Note", "Standing", "is_held", "note", "standing"]

NOTE = "/var/lib/photon-fleet/update/image"
HELD_IMAGES = "/var/lib/photon-fleet/update/held-images"
_VALUES = ("before", "before_version", "staged", "staged_version", "boot", "at", "of", "first", "first_version")

Standing = Literal["settled", "waits", "runs", "gone", "undone"]


class Held(TypedDict):
    """An image that was gone back from."""

    checksum: str
    version: str


class Note(TypedDict):
    """The last update. What was not noted is ""; `boot` is the boot in which it was.

    `of` is the rollout that has updated, `first` what ran before the first update of it when that was another one, and
    `over` are other rollouts whose images were still there then. `unproved`: no proof has passed since. `failing` are
    the checks that failed before it.
    """

    before: str
    before_version: str
    staged: str
    staged_version: str
    boot: str
    at: str
    of: str
    first: str
    first_version: str
    over: list[str]
    unproved: bool
    failing: list[str]
    held: list[Held]


class ImageUpdate(FactBase[Note]):
    """
    Returns the last update of an image host that was made with a way back, and the images that are held back:

    .. code:: python

        {"before": "965c1a...", "before_version": "5.0_minimal.1", "staged": "0bd8f4...",
         "staged_version": "5.0_minimal.2", "boot": "2b477ce4-...", "at": "2026-11-29T11:30:00Z", "of": "rollout-12",
         "first": "", "first_version": "", "over": [], "unproved": True, "failing": ["time.zone"],
         "held": [{"checksum": "0bd8f4...", "version": "5.0_minimal.2"}]}

    A host without one has "" in their places. Source of the format: our own files, one for each value, written by
    templates/update/image.sh.
    """

    @override
    def command(self) -> str:
        return (
            # One that was killed while it noted a newer one has left it there.
            f"n={NOTE}; [ -e $n ] || n={NOTE}.before; "
            f'for f in {" ".join(_VALUES)}; do [ ! -s $n/$f ] || echo "$f $(cat $n/$f)"; done; '
            f"{{ [ ! -e $n/unproved ] && [ ! -e $n/expired ]; }} || echo unproved; "
            f"[ ! -s $n/failing ] || sed 's/^/failing /' $n/failing; [ ! -s $n/over ] || sed 's/^/over /' $n/over; "
            f"[ ! -s {HELD_IMAGES} ] || sed 's/^/held /' {HELD_IMAGES}; echo end"
        )

    @override
    @contained
    def process(self, output: list[str]) -> Note:
        return note(output)


def note(lines: list[str]) -> Note:
    """What `ImageUpdate` printed.

    Raises:
        AnswerError: something else.
    """
    found: Note = {
        "before": "", "before_version": "", "staged": "", "staged_version": "", "boot": "", "at": "",
        "of": "", "first": "", "first_version": "", "over": [], "unproved": False, "failing": [], "held": [],
    }  # fmt: skip
    if lines[-1:] != ["end"]:
        message = f"the last update of the image could not be read: {lines[-1:]!r}"
        raise AnswerError(message)
    for line in lines[:-1]:
        word, _, rest = line.partition(" ")
        if word in _VALUES:
            found[word] = rest.strip()  # type: ignore[literal-required]
        elif word == "unproved":
            found["unproved"] = True
        elif word == "failing":
            found["failing"].append(rest)
        elif word == "over":
            found["over"].append(rest)
        elif word == "held":
            checksum, _, version = rest.partition(" ")
            found["held"].append({"checksum": checksum, "version": version.strip()})
        else:
            message = f"the note of the last update has the line {line!r}"
            raise AnswerError(message)
    return found


def is_held(noted: Note, wanted: str) -> bool:
    """Whether an image is held back, by its version or checksum."""
    return any(wanted in {each["checksum"], each["version"]} for each in noted["held"])


def standing(noted: Note, running: str, boot: str) -> Standing:
    """How far the last update is, on a host that runs the image `running` in the boot `boot`.

    settled: proved, or never begun. waits: for the reboot. runs: and is not proved. gone: the reboot was made, and it
    is not there. undone: it was gone back from, and nobody has said so yet.
    """
    if not noted["unproved"]:
        return "settled"
    if boot == noted["boot"]:
        return "waits" if noted["staged"] else "settled"
    if running != noted["before"] and running == (noted["staged"] or running):
        return "runs"
    if not noted["staged"]:
        return "settled"
    return "undone" if any(each["checksum"] == noted["staged"] for each in noted["held"]) else "gone"
