"""NFS: directories of servers, mounted so that a dead one holds nothing up, and a server of version 4.

A client's mounts are systemd units; a boot, a run and a proof never wait for a server, as none of them looks at a
mount point. A server speaks version 4 alone, on port 2049, unless it is told to speak version 3 as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from pyinfra import host
from typing_extensions import override

from deploys.policies._nfs_checks import client_checks, server_checks
from deploys.policies.base import Check, Policy, Risk
from deploys.policies.firewall_rules import Rule
from deploys.policies.nfs_models import Export, NfsMount
from deploys.policies.storage import Storage
from deploys.policies.types import Port, Word
from operations import _mount_units, file, nfs, systemd, tdnf

if TYPE_CHECKING:
    from testinfra.host import Host

IDMAPD = "/etc/idmapd.conf"
ORDER = "/etc/systemd/system/nfs-server.service.d/photon-fleet.conf"
MODPROBE = "/etc/modprobe.d/photon-fleet-nfs.conf"
NFSD_PORT = 2049
RPCBIND_PORT = 111


class Nfs(Policy):
    """What a host mounts from NFS servers, and what it serves."""

    name: ClassVar[str] = "nfs"
    risk: ClassVar[Risk] = Risk.SERVICE

    mounts: tuple[NfsMount, ...] = ()
    exports: tuple[Export, ...] = ()
    """A host with exports is a server."""
    threads: int = Field(default=8, ge=1, le=512)
    version3: bool = False
    """Serve version 3 as well: needs rpcbind and three more ports."""
    mountd_port: Port = 20048
    statd_port: Port = 32765
    lockd_port: Port = 32768
    domain: Word | None = None
    """In which names of users are sent (idmapd.conf); only with another security than sec=sys does it matter."""

    @override
    def problems(self) -> Iterable[str]:
        if len({self.mountd_port, self.statd_port, self.lockd_port, NFSD_PORT, RPCBIND_PORT}) != 5:  # noqa: PLR2004
            yield "mountd_port, statd_port, lockd_port: each service needs a port of its own, and not 2049 or 111"
        served = {export.path for export in self.exports}
        for mount in self.mounts:
            for other in self.mounts:
                if mount.path.startswith(f"{other.path}/"):
                    yield f"mounts[{mount.path}]: it is below {other.path}, whose server it would depend on"
            if mount.path in served:
                yield f"mounts[{mount.path}]: what is mounted from a server cannot be exported again"

    @override
    def conflicts(self, others: Mapping[str, Policy]) -> Iterable[str]:
        storage = others.get("storage")
        if isinstance(storage, Storage):
            places = {path for volume in storage.volumes for path, *_ in volume.mounts()}
            for mount in self.mounts:
                if mount.path in places:
                    yield f"mounts[{mount.path}]: the storage policy mounts a volume there"

    def firewall_rules(self) -> tuple[Rule, ...]:
        """What the firewall policy has to let in for the exports: `Firewall(rules=[*nfs.firewall_rules(), ...])`.

        The sources are the clients of the exports; everybody, when one of them is a name.
        """
        if not self.exports:
            return ()
        clients = {client.who for export in self.exports for client in export.clients}
        sources = sorted(clients) if all(map(_is_network, clients)) else []
        rules = [Rule(name="nfs", ports=[NFSD_PORT], sources=sources)]
        if self.version3:
            ports = [RPCBIND_PORT, self.mountd_port, self.statd_port, self.lockd_port]
            rules += [
                Rule(name=f"nfs3-{protocol}", protocol=protocol, ports=ports, sources=sources)
                for protocol in ("tcp", "udp")
            ]
        return tuple(rules)

    def settings(self) -> dict[str, dict[str, str]]:
        """The sections of nfs.conf."""
        version3 = "y" if self.version3 else "n"
        nfsd = {"threads": str(self.threads), "vers2": "n", "vers3": version3, "vers4": "y", "tcp": "y", "udp": "n"}
        return {
            "nfsd": {**nfsd, "port": str(NFSD_PORT)},
            "mountd": {"port": str(self.mountd_port)},
            "statd": {"port": str(self.statd_port)},
            "lockd": {"port": str(self.lockd_port), "udp-port": str(self.lockd_port)},
        }

    def nfs_conf(self) -> str:
        """The text of nfs.conf."""
        blocks = [
            "\n".join([f"[{section}]", *(f"{key} = {value}" for key, value in values.items())])
            for section, values in self.settings().items()
        ]
        return "\n\n".join(["# Photon Fleet (policy: nfs)", *blocks]) + "\n"

    def exports_text(self) -> str:
        """The text of our file of exports; empty when nothing is exported."""
        if not self.exports:
            return ""
        return "# Photon Fleet (policy: nfs)\n" + "".join(f"{export.line()}\n" for export in self.exports)

    @override
    def apply(self) -> None:
        tdnf.packages(name="Install NFS", present=["nfs-utils"])
        if self.domain is not None:
            file.text(
                name="Name the domain of users", path=IDMAPD, mode="644", after="nfsidmap -c || :",
                content=f"# Photon Fleet (policy: nfs)\n[General]\nDomain = {self.domain}\n",
            )  # fmt: skip
        if self.exports:
            self._serve()
        nfs.exports(
            name="Export directories", content=self.exports_text(),
            wanted=[(export.path, client.shown) for export in self.exports for client in export.clients],
        )  # fmt: skip
        if self.mounts:
            systemd.unit(name="Mount from servers at boot", unit="remote-fs.target", enabled=True)
        for each in host.loop(self.mounts):
            nfs.mounted(
                name=f"Mount {each.source} at {each.path}", where=each.path, source=each.source,
                options=each.mount_options(), automount=each.automount, idle_seconds=each.idle_seconds,
                mount_seconds=each.mount_seconds,
            )  # fmt: skip

    def _serve(self) -> None:
        if self.version3:
            port = self.lockd_port
            file.text(
                name="Give the lock manager its port", path=MODPROBE, mode="644",
                content=f"# Photon Fleet (policy: nfs)\noptions lockd nlm_tcpport={port} nlm_udpport={port}\n",
            )  # fmt: skip
            systemd.unit(name="Run rpcbind for version 3", unit="rpcbind.service", running=True, enabled=True)
        paths = tuple(export.path for export in self.exports)
        file.text(
            name="Export a directory only when it is mounted", path=ORDER, mode="644", after="systemctl daemon-reload",
            content=_mount_units.text("nfs", {"Unit": {"RequiresMountsFor": paths}}),
        )  # fmt: skip
        nfs.configured(name="Configure the NFS server", content=self.nfs_conf())
        systemd.unit(name="Run the NFS server, now and at boot", unit=nfs.SERVER, running=True, enabled=True)

    @override
    def checks(self) -> Iterable[Check]:
        if self.mounts:
            yield Check(
                id="nfs.remote-fs", field="mounts", proves="a boot starts remote-fs.target, which starts the mounts",
                read=lambda host: host.service("remote-fs.target").is_enabled, expect=True,
            )  # fmt: skip
        for mount in self.mounts:
            yield from client_checks(mount)
        if self.domain is not None:
            yield Check(
                id="nfs.domain", field="domain", proves=f"users are named in the domain {self.domain}",
                read=partial(_lines, IDMAPD), expect=["[General]", f"Domain = {self.domain}"],
            )  # fmt: skip
        if self.exports:
            yield from server_checks(self.exports, self.settings(), version3=self.version3)


def _is_network(value: str) -> bool:
    try:
        ip_network(value)
    except ValueError:
        return False
    return True


def _lines(path: str, host: Host) -> list[str]:
    text: str = host.check_output("cat %s", path)
    return [line for line in text.splitlines() if line and not line.startswith("#")]
