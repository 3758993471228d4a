"""The journal's way to another host."""

from __future__ import annotations

import re

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import IsOlderThan, TextFile
from facts.systemd import Unit
from operations._contain import Commands, comes_first, operation, read
from operations.file import is_as_wanted, write

UPLOAD_UNIT = "systemd-journal-upload.service"
UPLOAD = "/etc/systemd/journal-upload.conf.d/90-photon-fleet.conf"
PACKAGE = "systemd-journal-remote"


@operation()
def upload(url: str | None) -> Commands:
    """
    Make sure that the journal is sent to a journal server, now and at boot, or to none by our file.

    + url: of systemd-journal-remote, such as "https://logs.example:19532"; None removes our file and stops the upload

    A host without systemd-journal-upload is refused with the name of the package that has it.

    **Example:**

    .. code:: python

        journal.upload(name="Send the journal to its server", url="https://logs.example:19532")
    """
    if url is not None and (not url.startswith(("https://", "http://")) or re.search(r"\s", url)):
        message = f"{url!r} is no http(s) URL"
        raise OperationError(message)
    found = read(TextFile, path=UPLOAD)
    if url is None:
        if found is None:
            host.noop("the journal is sent nowhere by us")
            return
        yield StringCommand(f"systemctl disable --now {UPLOAD_UNIT}; rm -f -- {UPLOAD}")
        return
    unit = read(Unit, unit=UPLOAD_UNIT)
    if unit["load"] == "not-found":
        comes_first(f"this host cannot send its journal: install the package {PACKAGE}")
    content = f"# Written by Photon Fleet (policy: logging).\n[Upload]\nURL={url}\n"
    wanted = is_as_wanted(found, content, mode="644")
    on = unit["active"] == "active" and unit["file"] == "enabled"
    if wanted and on and not read(IsOlderThan, unit=UPLOAD_UNIT, path=UPLOAD):
        host.noop(f"the journal is sent to {url}")
        return
    run = f"systemctl enable {UPLOAD_UNIT} && systemctl restart {UPLOAD_UNIT}"
    yield StringCommand(run) if wanted else write(UPLOAD, content, mode="644", after=run)
