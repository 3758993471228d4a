"""What the tests of the servers for fleets without internet share: an authority, certificates, and the two hosts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.converge.conftest import Done, changes, program, run

HEAD = """
from pathlib import Path
from deploys.policies.files import File, Files
from deploys.policies.ostree_server import OstreeBranch, OstreeServer
from deploys.policies.package_mirror import MirroredRepository, PackageMirror
from deploys.policies.packages import Packages, Repository, SigningKey
from deploys.policies.secret import Secret
from inventories._fleet import fleet, host
from inventories._lab import lab_key

key = SigningKey(name="photon-lab", **lab_key())
base = Packages(keys=[key], repositories=[Repository(id="photon", url="http://packages.lab/photon", key="photon-lab")])
"""


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=True).stdout


class Authority:
    """A certificate authority that nobody knows, below a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "ca.pem"
        self._new("ca", "/CN=Authority of the test", "basicConstraints=critical,CA:TRUE")

    def issue(self, name: str) -> Path:
        """The certificate for a host's name; its key is beside it, with the suffix .key."""
        ca = ("-CA", self.certificate, "-CAkey", self.certificate.with_suffix(".key"))
        return self._new(name, f"/CN={name}", f"subjectAltName=DNS:{name}", *ca)

    @property
    def hashed(self) -> str:
        """Where OpenSSL looks for it."""
        return f"/etc/ssl/certs/{openssl('x509', '-in', self.certificate, '-noout', '-hash').strip()}.0"

    def _new(self, name: str, subject: str, extension: str, *more: str | Path) -> Path:
        path = self.directory / f"{name}.pem"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
            subject, "-addext", extension, "-keyout", path.with_suffix(".key"), "-out", path, *more,
        )  # fmt: skip
        return path


@dataclass(frozen=True)
class Server:
    """A lab host with the policy of a server, and runs of it."""

    host: str
    policy: str
    entry: str
    directory: Path
    on: Callable[..., str]

    def inventory(self, text: str) -> str:
        path = self.directory / "fleet.py"
        path.write_text(f'{HEAD}\nhosts = fleet(host("{self.host}", base, {text}), connector="lab")\n')
        return str(path)

    def converge(self, text: str) -> Done:
        return run(program("pyinfra"), self.inventory(text), "deploys/host.py", "-y", "--json")

    def follows(self, text: str) -> None:
        """Bring the host to the policy; a second run then changes nothing, and the proof passes."""
        done = self.converge(text)
        assert done.status == 0, done.all
        again = self.converge(text)
        assert (again.status, changes(again)["success"]) == (0, 0), again.all

    def sound(self, text: str) -> None:
        """Bring the host to the policy, with its proof."""
        done = self.converge(text)
        assert done.status == 0, done.all

    def publishes(self, text: str, *data: str) -> Done:
        """What the server's own entry does, with its proof."""
        done = self.publish(text, *data)
        assert done.status == 0, done.all
        return done

    def publish(self, text: str, *data: str) -> Done:
        """What the server's own entry does."""
        words = [word for pair in data for word in ("--data", pair)]
        return run(program("pyinfra"), self.inventory(text), f"deploys/{self.entry}.py", "-y", "--json", *words)

    def open(self, port: int = 443) -> None:
        self.on(self.host, f"iptables -C INPUT -p tcp --dport {port} -j ACCEPT 2>/dev/null || "
                           f"iptables -I INPUT -p tcp --dport {port} -j ACCEPT")  # fmt: skip


# Does nothing for a minute, and says that it was called.
PAUSE = "mv {path} {path}.real; printf '#!/bin/sh\\ntouch {marker}; sleep 60\\n' > {path}; chmod 755 {path}"


def killed_while(server: Server, unit: str, path: str) -> None:
    """Fetch, and kill everything of it when it gets to a program."""
    marker = f"/srv/photon-fleet/{server.policy.replace('_', '-')}/reached"
    server.on(server.host, PAUSE.format(path=path, marker=marker))
    try:
        wait = f"for i in $(seq 100); do [ -e {marker} ] && break; sleep 0.1; done; rm {marker}"
        kill = f"systemctl kill --kill-whom=all -s KILL {unit}; systemctl stop {unit}"
        server.on(server.host, f"systemctl start --no-block {unit}; {wait} && {{ {kill}; }}")
    finally:
        server.on(server.host, f"mv -f {path}.real {path}")
