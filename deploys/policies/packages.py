"""Packages: where they come from, who signed them, and which ones are there.

Only signed packages are accepted: `gpgcheck=1` alone lets unsigned ones pass, so rpm itself is told to refuse them.
A key is pinned by its fingerprint; the file that holds it is checked on the controller before anything is sent.
What is merely `present` is never upgraded by this policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field
from pyinfra import host
from typing_extensions import override

from deploys.policies.base import Check, Contains, Item, Policy, Risk, file_check
from deploys.policies.types import Line, Word
from facts._openpgp import fingerprints
from operations import rpm, tdnf

if TYPE_CHECKING:
    from testinfra.host import Host

KEY_DIRECTORY = "/etc/pki/rpm-gpg"
PROTECTED = frozenset(
    {
        "tdnf",
        "rpm",
        "systemd",
        "openssh-server",
        "glibc",
        "bash",
        "coreutils",
        "filesystem",
        "photon-release",
        "iptables",
    }
)
"""Packages whose removal leaves a host that cannot be reached, booted or mended."""


def _fingerprint(value: str) -> str:
    text = value.replace(" ", "").replace(":", "").upper()
    if len(text) != 40 or not all(letter in "0123456789ABCDEF" for letter in text):  # noqa: PLR2004 - SHA-1 in hexadecimal
        message = "a fingerprint has 40 hexadecimal digits (gpg --show-keys prints it)"
        raise ValueError(message)
    return text


def _url(value: str) -> str:
    if not value.startswith(("https://", "http://", "file:///")) or any(letter.isspace() for letter in value):
        message = f"{value!r} is no http(s) or file URL"
        raise ValueError(message)
    return value


Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
Url = Annotated[str, AfterValidator(_url)]


class SigningKey(Item):
    """A public key that may sign packages: a file of the controller, and the fingerprint it must have."""

    name: Word
    file: Path
    fingerprint: Fingerprint

    @property
    def path(self) -> str:
        """Where it is on the host."""
        return f"{KEY_DIRECTORY}/{self.name}"

    def text(self) -> str:
        """The armored key.

        Raises:
            ValueError: the file cannot be read, or holds another key than the pinned one.
        """
        return _armored(self.file, self.fingerprint)


@lru_cache(maxsize=256)
def _armored(file: Path, fingerprint: str) -> str:
    try:
        text = file.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file}: {error}"
        raise ValueError(message) from error
    found = fingerprints(text)
    if found != [fingerprint]:
        message = f"{file} holds {found or 'no key'}, pinned is {fingerprint}"
        raise ValueError(message)
    return text


class Repository(Item):
    """A tdnf repository; its section and file are named `id`."""

    identity: ClassVar[str] = "id"

    id: Word
    url: Url
    """$releasever and $basearch are filled in by tdnf."""
    key: Word
    """Name of the signing key."""
    title: Line | None = None
    enabled: bool = True
    priority: int = Field(default=50, ge=1, le=99)
    """Lower wins."""
    optional: bool = False
    """Carry on without it when it cannot be reached; tdnf then reports no updates from it."""


class Packages(Policy):
    """The packages of a host and where they come from."""

    name: ClassVar[str] = "packages"
    risk: ClassVar[Risk] = Risk.SERVICE
    unproved: ClassVar[Mapping[str, str]] = {
        "keys.file": "where the controller finds the key; what is trusted is proved by its fingerprint",
    }

    keys: tuple[SigningKey, ...] = ()
    repositories: tuple[Repository, ...] = ()
    present: tuple[Word, ...] = ()
    absent: tuple[Word, ...] = ()
    exact: Mapping[Word, Word] = Field(default_factory=dict)
    """Package -> version or version-release; made so by upgrade or downgrade."""
    held: tuple[Word, ...] = ()
    """No update touches them."""

    @override
    def problems(self) -> Iterable[str]:
        names = {key.name for key in self.keys}
        for key in self.keys:
            try:
                key.text()
            except ValueError as error:
                yield f"keys[{key.name}]: {error}"
        for repository in self.repositories:
            if repository.key not in names:
                yield f"repositories[{repository.id}].key: there is no key {repository.key!r} in this policy"
        for package in sorted({*self.present, *self.exact, *self.held} & {*self.absent}):
            yield f"absent: {package} is also to be present, exact or held"
        for package in sorted({*self.absent} & PROTECTED):
            yield f"absent: without {package} the host could not be reached, booted or mended"

    @override
    def apply(self) -> None:
        for key in host.loop(self.keys):
            rpm.key(
                name=f"Trust the key {key.name}",
                filename=key.name,
                fingerprint=key.fingerprint,
                text=key.text(),
            )
        tdnf.require_signatures(name="Refuse unsigned packages")
        keys = {key.name: key for key in self.keys}
        tdnf.repositories(
            name="Define the repositories",
            wanted={
                repository.id: {
                    "title": repository.title,
                    "baseurl": [repository.url],
                    "gpgkey": [f"file://{keys[repository.key].path}"],
                    "enabled": repository.enabled,
                    "skip_if_unavailable": repository.optional,
                    "options": {"priority": repository.priority},
                }
                for repository in self.repositories
            },
        )
        tdnf.packages(
            name="Install and remove packages", present=list(self.present), absent=list(self.absent),
            exact=dict(self.exact), held=list(self.held),
        )  # fmt: skip

    @override
    def checks(self) -> Iterable[Check]:
        for key in self.keys:
            yield Check(
                id=f"packages.key[{key.name}]", field=f"keys[{key.name}]",
                proves=f"packages signed by {key.name} are trusted",
                read=trusted_keys, expect=Contains((key.fingerprint,)),
            )  # fmt: skip
        yield Check(
            id="packages.signatures", field="", proves="rpm refuses packages without a good signature",
            read=lambda host: host.check_output("rpm --eval %s", "%_pkgverify_level"), expect="all",
        )  # fmt: skip
        yield Check(
            id="packages.gpgcheck", field="", proves="tdnf checks signatures",
            read=lambda host: host.check_output("grep -c %s /etc/tdnf/tdnf.conf", "^gpgcheck *= *1 *$"), expect="1",
        )  # fmt: skip
        for repository in self.repositories:
            yield from self._repository_checks(repository)
        for package in self.present:
            yield Check(
                id=f"packages.present[{package}]", field=f"present[{package}]", proves=f"{package} is installed",
                read=partial(is_installed, package), expect=True,
            )  # fmt: skip
        for package in self.absent:
            yield Check(
                id=f"packages.absent[{package}]", field=f"absent[{package}]", proves=f"{package} is not installed",
                read=partial(versions_of, package), expect=[],
            )  # fmt: skip
        for package, version in self.exact.items():
            yield Check(
                id=f"packages.exact[{package}]", field=f"exact[{package}]", proves=f"{package} is exactly {version}",
                read=partial(versions_like, version, package),
                expect=[version],
            )  # fmt: skip
        for package in self.held:
            yield Check(
                id=f"packages.held[{package}]", field=f"held[{package}]", proves=f"no update touches {package}",
                read=lambda host: host.check_output("cat /etc/tdnf/locks.d/*.conf").splitlines(),
                expect=Contains((package,)),
            )  # fmt: skip

    def _repository_checks(self, repository: Repository) -> Iterable[Check]:
        path = next(key.path for key in self.keys if key.name == repository.key)
        wanted = {
            "url": ("baseurl", repository.url),
            "key": ("gpgkey", f"file://{path}"),
            "title": ("name", repository.title or repository.id),
            "enabled": ("enabled", str(int(repository.enabled))),
            "priority": ("priority", str(repository.priority)),
            "optional": ("skip_if_unavailable", str(int(repository.optional))),
            "": ("gpgcheck", "1"),
        }
        file = f"/etc/yum.repos.d/{repository.id}.repo"
        yield file_check(f"packages.repository[{repository.id}].file", f"repositories[{repository.id}]", file, "644")
        for field, (option, value) in wanted.items():
            where = f"repositories[{repository.id}]"
            yield Check(
                id=f"packages.repository[{repository.id}].{option}", field=f"{where}.{field}" if field else where,
                proves=f"repository {repository.id} has {option}={value}",
                read=partial(option_of, repository.id, option), expect=value,
            )  # fmt: skip


def trusted_keys(host: Host) -> list[str]:
    """Fingerprints of the keys in the RPM database."""
    armored = host.check_output("rpm -q gpg-pubkey --qf %s", "%{description}\\n")
    blocks = armored.split("-----BEGIN PGP PUBLIC KEY BLOCK-----")[1:]
    return [
        fingerprint for block in blocks for fingerprint in fingerprints(f"-----BEGIN PGP PUBLIC KEY BLOCK-----{block}")
    ]


def versions(host: Host) -> dict[str, list[str]]:
    """Installed packages: name -> version-release, several for a kernel."""
    found: dict[str, list[str]] = {}
    for line in host.check_output("rpm -qa --qf %s", "%{NAME} %{VERSION}-%{RELEASE}\\n").splitlines():
        name, _, version = line.partition(" ")
        found.setdefault(name, []).append(version)
    return found


def versions_of(package: str, host: Host) -> list[str]:
    """The installed versions of one package."""
    return versions(host).get(package, [])


def is_installed(package: str, host: Host) -> bool:
    """Whether any version of a package is installed."""
    return bool(versions_of(package, host))


def versions_like(like: str, package: str, host: Host) -> list[str]:
    """The installed versions of a package, as detailed as `like`: without the release when it has none."""
    found = versions_of(package, host)
    return found if "-" in like else [version.partition("-")[0] for version in found]


def option_of(repository: str, option: str, host: Host) -> str:
    """One option of a repository's section, from its own file."""
    text: str = host.check_output("cat %s", f"/etc/yum.repos.d/{repository}.repo")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith(("#", "[")))
    return {key.strip(): value.strip() for key, _, value in pairs}.get(option, "not set")
