"""Which machines there are: read from the vCenter, or from what was read of it before."""

from __future__ import annotations

import time
from dataclasses import replace

from pyinfra import logger

from deploys.policies.vcenter import VCenter
from deploys.vsphere.errors import UnreachableError, VSphereError
from deploys.vsphere.kept import Read, keep, kept
from deploys.vsphere.reads import all_vms
from deploys.vsphere.rest import Rest
from deploys.vsphere.session import Session, session
from deploys.vsphere.tags import tags_of


def read(vcenter: VCenter, *, max_age: float = 0, offline: bool = False) -> Read:
    """The machines of a vCenter.

    Where it does not answer, those of the last read are taken, with a warning that says how old that is. A vCenter that
    refuses, or is not the pinned one, is an error in any case.

    Args:
        vcenter: which one.
        max_age: seconds; a read that is younger serves without asking again.
        offline: do not ask at all.

    Raises:
        VSphereError: it refuses; or it does not answer (or is not to be asked), and nothing was read before.
    """
    before = kept(vcenter) if offline or max_age else None
    if before is not None and (offline or time.time() - before.at <= max_age):
        logger.warning("vCenter %s is not asked; what is known of it is %s", vcenter.place, before.age())
        return before
    if offline:
        message = f"vCenter {vcenter.place} is not to be asked, and nothing that was read of it is kept here"
        raise VSphereError(message)
    try:
        found = _fresh(session(vcenter))
    except UnreachableError as error:
        before = kept(vcenter)
        if before is None:
            raise
        logger.warning("%s. What was read of it before is used: it is %s", error, before.age())
        return before
    keep(vcenter, found)
    return found


def _fresh(asked: Session) -> Read:
    at = time.time()
    rows = all_vms(asked)
    try:
        tags = tags_of(Rest(asked), [row.moid for row in rows])
    except VSphereError as error:
        # Another service of the vCenter, with outages of its own: machines are found by all else without it.
        logger.warning("%s: no machine is found by its tags in this run", error)
        return Read(tuple(rows), at, tagged=False)
    return Read(tuple(replace(row, tags=tags.get(row.moid, {})) for row in rows), at)
