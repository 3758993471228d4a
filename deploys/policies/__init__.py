"""The registry of policies. A host walks them in this order."""

from __future__ import annotations

from deploys.errors import near
from deploys.policies.accounts import Accounts
from deploys.policies.base import Policy
from deploys.policies.cloud_vm import CloudVm
from deploys.policies.docker import Docker
from deploys.policies.files import Files
from deploys.policies.firewall import Firewall
from deploys.policies.hardening import Hardening
from deploys.policies.kernel import Kernel
from deploys.policies.logging import Logging
from deploys.policies.network import Network
from deploys.policies.nfs import Nfs
from deploys.policies.ostree_server import OstreeServer
from deploys.policies.package_mirror import PackageMirror
from deploys.policies.packages import Packages
from deploys.policies.selinux import Selinux
from deploys.policies.services import Services
from deploys.policies.ssh import Ssh
from deploys.policies.storage import Storage
from deploys.policies.time import Time
from deploys.policies.update import Update
from deploys.policies.vm import Vm

POLICIES: tuple[type[Policy], ...] = (
    Network,
    Packages,
    Accounts,
    Kernel,
    Selinux,
    Time,
    Logging,
    Storage,
    Ssh,
    Firewall,
    Nfs,
    Docker,
    Files,
    Services,
    PackageMirror,
    OstreeServer,
    Update,
    Hardening,
    Vm,
    CloudVm,
)


def names_in(only: str) -> tuple[list[str], list[str]]:
    """Split `firewall,ssh` into policy names and complaints about what is not one."""
    known = [kind.name for kind in POLICIES]
    wanted = [word.strip() for word in only.split(",")]
    complaints = [
        f"there is no policy {word!r}{near(word, known)}; there are {', '.join(known)}"
        for word in wanted
        if word not in known
    ]
    return [word for word in wanted if word in known], complaints
