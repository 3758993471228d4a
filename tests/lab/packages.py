"""The lab's packages: what a minimal Photon has in its RPM database, and signed repositories to install from.

The packages are small, with Photon's names and versions: what they install is a script that prints its version. The
repositories are served by the lab at http://packages.lab/: `photon` and `photon-updates` are in order; `unsigned`,
`stranger` (signed with a key that nobody trusts) and `portal` (a web page instead of metadata) are there to be refused;
the first two also have an update of `tree`. `greeter-1.1` to `greeter-1.4` have good and bad updates of a service.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.lab import base, machine, rpms
from tests.lab.machine import say
from tests.lab.rpms import Advisory, Keyring, Package
from tests.lab.settings import REPOSITORY_HOST, cache_dir

KEY = "photon"
STRANGER = "stranger"
URL = f"http://{REPOSITORY_HOST}"

# name-version of what a minimal Photon 5.0 has; docker's version is the one of the base system's engine.
_MINIMAL = """
filesystem-1.1 glibc-2.36 bash-5.2 coreutils-9.1 util-linux-2.38 procps-ng-4.0.4 findutils-4.9.0 grep-3.11 sed-4.9
gawk-5.2.1 systemd-253.19 dbus-1.15.4 kmod-30 iproute2-6.2.0 iptables-1.8.9 openssh-9.3p2 openssh-server-9.3p2
openssh-clients-9.3p2 openssl-3.0.13 openssl-libs-3.0.13 curl-8.7.1 curl-libs-8.7.1 ca-certificates-20230315
e2fsprogs-1.47.0 python3-3.11.11 python3-libs-3.11.11 rpm-4.18.2 rpm-libs-4.18.2 tdnf-3.5.9 tdnf-cli-libs-3.5.9
photon-repos-5.0 linux-esx-6.1.111 open-vm-tools-12.5.0 tzdata-2025a shadow-4.13
docker-20.10.24 docker-engine-20.10.24 docker-cli-20.10.24 containerd-1.6.20
""".split()

_OPTIONAL = """
vim-9.1.0 less-643 htop-3.2.2 jq-1.7.1 lsof-4.98.0 logrotate-3.21.0 ntp-4.2.8p15 telnet-0.17
tree-2.1.0 nano-7.2 rsyslog-8.2306.0 linux-6.1.111 linux-rt-6.1.111
btrfs-progs-6.1.3 xfsprogs-6.0.0 nfs-utils-2.6.2
""".split()

# Their programs are Debian's own, of the base system.
_REAL = "nginx-1.22.1 ostree-2022.7 gnupg-2.2.40".split()

_UPDATES = (
    "openssl-3.0.16",
    "openssl-libs-3.0.16",
    "curl-8.12.0",
    "curl-libs-8.12.0",
    "tree-2.1.1",
    "jq-1.7.2",
)

_ADVISORIES = (
    Advisory(
        id="PHSA-2025-5.0-0500", packages=("openssl-3.0.16-1.ph5.x86_64", "openssl-libs-3.0.16-1.ph5.x86_64"),
        severity="7.5", title="openssl", description="An update of openssl.", cves=("CVE-2025-0001",),
    ),
    Advisory(
        id="PHSA-2025-5.0-0501", packages=("curl-8.12.0-1.ph5.x86_64", "curl-libs-8.12.0-1.ph5.x86_64"),
        severity="5.3", title="curl", description="An update of curl.", cves=("CVE-2025-0002",),
    ),
)  # fmt: skip


def _package(label: str, *, key: str | None = KEY, program: bool = False) -> Package:
    name, _, version = label.rpartition("-")
    script = (f"#!/bin/sh\necho {name} {version}\n", 0o755)
    return Package(
        name=name, version=version, summary=f"{name} (lab)", key=key,
        files={f"/usr/bin/{name}": script} if program else {},
        provides=("/bin/sh",) if name == "bash" else (),
    )  # fmt: skip


def _chrony() -> Package:
    """A stand-in: its unit sleeps and sets no clock. Photon's configuration file and unit have these names."""
    unit = "[Unit]\nDescription=chrony (lab)\n[Service]\nExecStart=/bin/sleep infinity\n"
    return Package(
        name="chrony", version="4.4", summary="chrony (lab)", key=KEY,
        files={"/usr/lib/systemd/system/chronyd.service": f"{unit}[Install]\nWantedBy=multi-user.target\n",
               "/etc/chrony.conf": "pool pool.example.com iburst\n"},
        post="systemctl daemon-reload",
    )  # fmt: skip


_SSHD = "/etc/systemd/system/sshd.service.d"


def _greeter(
    version: str, run: str = "/bin/sleep infinity", post: str = f"rm -rf {_SSHD}; systemctl start sshd.service"
) -> Package:
    """A service whose updates are good or bad: 1.1 does not start, 1.2 lets nobody log in any more, 1.3 is good.

    After 1.4 nobody can log in once the host has rebooted.
    """
    unit = f"[Unit]\nDescription=greeter (lab)\n[Service]\nExecStart={run}\n[Install]\nWantedBy=multi-user.target\n"
    return Package(
        name="greeter", version=version, summary="greeter (lab)", key=KEY,
        files={"/usr/lib/systemd/system/greeter.service": unit, "/etc/greeter.conf": "hello\n"},
        post=f"systemctl daemon-reload; systemctl try-restart greeter.service; {post}; :",
    )  # fmt: skip


def _sudo() -> Package:
    """Brings Debian's own sudo, which the base system has aside."""
    return Package(
        name="sudo", version="1.9.13p3", summary="sudo (lab)", key=KEY,
        post="cp -a /usr/share/lab-sudo/. /", postun="rm -f /usr/bin/sudo /usr/sbin/visudo",
    )  # fmt: skip


def _release() -> Package:
    return Package(
        name="photon-release",
        version="5.0",
        release="6.ph5",
        arch="noarch",
        provides=("system-release",),
        key=KEY,
    )


def _digest() -> str:
    sources = (Path(__file__), Path(rpms.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def build() -> Path:
    """Build, sign and index everything once; returns a directory with `installed/`, `www/` and the keys.

    Raises:
        LabError: not root, or this machine cannot be given what it lacks.
    """
    out = cache_dir() / f"packages-{_digest()}"
    if out.exists():
        return out
    machine.prepare()
    with base.locked("packages"):
        if not out.exists():
            say("building and signing the lab's packages")
            partial = out.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _build(partial)
            partial.rename(out)
    return out


def _build(out: Path) -> None:
    keyring = Keyring(out / "keyring")
    try:
        minimal = [_release(), *(_package(label) for label in _MINIMAL)]
        release = [*minimal, *(_package(label, program=True) for label in _OPTIONAL), *map(_package, _REAL)]
        release += [_sudo(), _chrony(), _greeter("1.0")]
        updates = [_package(label, program=not label.startswith(("openssl", "curl"))) for label in _UPDATES]
        files = rpms.build([*release, *updates], out / "rpms", keyring)
        installed = out / "installed"
        installed.mkdir()
        for file in files[: len(minimal)]:
            shutil.copy(file, installed)
        rpms.repository(out / "www/photon", files[: len(release)])
        rpms.repository(out / "www/photon-updates", files[len(release) :], _ADVISORIES)
        for name, key, update in (("unsigned", None, "tree-2.2.0"), (STRANGER, STRANGER, "tree-2.3.0")):
            refused = [_package(label, key=key, program=True) for label in (f"{name}-tool-1.0", update)]
            rpms.repository(out / "www" / name, rpms.build(refused, out / "rpms", keyring))
        broken = r"'[Service]\nExecStart=\nExecStart=/bin/false\n'"
        for name, package in (
            ("greeter-1.1", _greeter("1.1", run="/bin/false")),
            ("greeter-1.2", _greeter("1.2", post="systemctl stop sshd.service")),
            ("greeter-1.3", _greeter("1.3")),
            ("greeter-1.4", _greeter("1.4", post=f"mkdir -p {_SSHD}; printf {broken} > {_SSHD}/broken.conf")),
        ):
            rpms.repository(out / "www" / name, rpms.build([package], out / "rpms", keyring))
        portal = out / "www/portal/repodata"
        portal.mkdir(parents=True)
        (portal / "repomd.xml").write_text("<!DOCTYPE html><html><body>Please log in.</body></html>\n")
        for key in (KEY, STRANGER):
            (out / f"{key}.asc").write_text(keyring.public(key))
            (out / f"{key}.fingerprint").write_text(keyring.fingerprint(key))
    finally:
        keyring.close()
    for path in (out / "www").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def key_file(name: str = KEY) -> Path:
    """The armored public key that signs the lab's packages (or the stranger's)."""
    return build() / f"{name}.asc"


def fingerprint(name: str = KEY) -> str:
    return (build() / f"{name}.fingerprint").read_text().strip()
