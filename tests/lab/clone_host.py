"""A lab host that stands for a machine of a simulated vCenter: a copy of Photon's OVA, and a first boot by cloud-init.

Nobody can log in to it as it is made: root's password is known and has expired, there is no key of a host and none of a
user. Debian's cloud-init reads the machine's guestinfo, through a stand-in for vmware-rpctool, in the four steps and
before sshd, as on Photon. The lab gives the address, as a DHCP server would that knows the card. The image knows one
repository, whose key lies beside it, as Photon's does: a first login by sudo has that installed from there.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab import packages, seed
from tests.lab.host import LabHost
from tests.lab.settings import REPOSITORY_HOST

GUEST = Path(__file__).parent / "guest"
HOSTNAME = "photon-machine"
REPOSITORY = f"""[photon]
name=Photon (lab)
baseurl=http://{REPOSITORY_HOST}/photon
gpgkey=file:///etc/pki/rpm-gpg/photon.asc
gpgcheck=1
enabled=1
"""


class CloneHost(LabHost):
    """A host that has never booted, and the thread that keeps it running."""

    def _seed(self) -> None:
        if (self.spec.directory / "seeded").exists():
            return
        seed.write_blank(self.spec, HOSTNAME)
        upper = self.spec.directory / "upper"
        wanted = upper / "etc/systemd/system/multi-user.target.wants"
        for path in sorted(GUEST.rglob("*")):
            target = upper / path.relative_to(GUEST)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                shutil.copy(path, target)
            # Git keeps no modes but the executable bit, and this machine's umask must not shape the hosts.
            target.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        wanted.mkdir()
        for unit in (upper / "etc/systemd/system").glob("*.service"):
            (wanted / unit.name).symlink_to(f"../{unit.name}")
        seed.replace_text(upper / "etc/lab-vcenter", f"{self.spec.machine}\n", 0o600)
        _repository(upper)
        (self.spec.directory / "seeded").touch()


def _repository(upper: Path) -> None:
    for name, text in (
        ("yum.repos.d/photon.repo", REPOSITORY),
        ("pki/rpm-gpg/photon.asc", packages.key_file().read_text()),
    ):
        path = upper / "etc" / name
        for directory in reversed(path.relative_to(upper).parents[:-2]):
            (upper / directory).mkdir(exist_ok=True)
            (upper / directory).chmod(0o755)
        seed.replace_text(path, text)
