"""Signed RPM packages and yum repositories, made on this machine from plain descriptions.

`build()` turns `Package` values into .rpm files: every tag comes from the value, nothing is found out from the files
(no automatic dependencies). A package with `key` is signed by that key of the `Keyring`; one without stays unsigned.
`repository()` puts files into `x86_64/` and `noarch/` and writes the metadata, with advisories in updateinfo.xml.
Needed on the machine: rpmbuild, rpmsign, gpg, createrepo_c and modifyrepo_c. Any failure is an `RpmToolError`
that carries the tool's own words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

Content = str | bytes | tuple[str | bytes, int]
"""A file's content, with its mode when that is not 644 (755 below a bin directory)."""

_DEFINES = {
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "_build_id_links": "none",
    "_binary_payload": "w6.gzdio",
    "_buildhost": "lab",
    "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
}

_HEAD = """Name: lab-packages
Version: 1
Release: 1
Summary: The packages below
License: none
%description
None."""


class RpmToolError(RuntimeError):
    """One of the RPM tools failed; the message holds what it said."""


@dataclass(frozen=True)
class Package:
    """One package. Dependencies are spelled as in a spec file: `nginx = 1:1.26.2-5.ph5`."""

    name: str
    version: str
    release: str = "1.ph5"
    epoch: int = 0
    arch: str = "x86_64"
    summary: str = ""
    description: str = ""
    license: str = "Apache-2.0"
    url: str = "https://vmware.github.io/photon/"
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    obsoletes: tuple[str, ...] = ()
    recommends: tuple[str, ...] = ()
    files: Mapping[str, Content] = field(default_factory=dict)
    """Files below /etc are marked %config(noreplace)."""
    pre: str = ""
    post: str = ""
    preun: str = ""
    postun: str = ""
    key: str | None = None

    @property
    def evr(self) -> str:
        """`version-release`, with the epoch in front when there is one."""
        return f"{self.epoch}:{self.version}-{self.release}" if self.epoch else f"{self.version}-{self.release}"

    @property
    def nevra(self) -> str:
        return f"{self.name}-{self.evr}.{self.arch}"

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


@dataclass(frozen=True)
class Advisory:
    """One entry of updateinfo.xml. `packages` are `name-[epoch:]version-release[.arch]`, x86_64 without an arch."""

    id: str
    packages: tuple[str, ...]
    type: str = "security"
    severity: str | None = None
    title: str = ""
    description: str = ""
    issued: str = "2025-01-01 00:00:00"
    updated: str | None = None
    reboot: bool = False
    cves: tuple[str, ...] = ()


class Keyring:
    """GPG keys below one directory, made when first asked for; they have no passphrase and never expire."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)

    def public(self, name: str) -> str:
        """Return the public key `name`, armored, making the pair when it is missing."""
        path = self.directory / f"{name}.asc"
        if not path.exists():
            self._make(name)
            path.write_text(self._gpg("--armor", "--export", self._address(name)))
        return path.read_text()

    def fingerprint(self, name: str) -> str:
        """Return the fingerprint of the key `name`, 40 upper-case hex digits."""
        self.public(name)
        listing = self._gpg("--with-colons", "--list-keys", self._address(name))
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def sign(self, name: str, files: Sequence[Path]) -> None:
        """Sign packages in place."""
        self.public(name)
        defines = {"_gpg_name": self._address(name), "_gpg_path": str(self.directory)}
        defines |= {"_gpg_digest_algo": "sha512", "__gpg": shutil.which("gpg") or "gpg"}
        _run(["rpmsign", *_defines(defines), "--addsign", *map(str, files)])
        self.close()

    def close(self) -> None:
        """Stop the agent that gpg starts by itself. Making keys and signing do that themselves."""
        subprocess.run(["gpgconf", "--homedir", str(self.directory), "--kill", "all"], check=False)

    def _address(self, name: str) -> str:
        return f"<{name.lower()}@photon.lab>"

    def _make(self, name: str) -> None:
        uid = f"{name} {self._address(name)}"
        self._gpg("--passphrase", "", "--quick-generate-key", uid, "rsa2048", "sign", "never")
        self.close()

    def _gpg(self, *arguments: str) -> str:
        return _run(["gpg", "--batch", "--quiet", "--homedir", str(self.directory), *arguments])


def build(packages: Sequence[Package], out: Path, keyring: Keyring) -> list[Path]:
    """Build `packages` into `out` and sign them; returns the files, in the order of `packages`."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / package.filename for package in packages]
    if len(set(files)) < len(files):
        raise ValueError(f"two packages with one file name: {sorted(map(str, files))}")
    with tempfile.TemporaryDirectory(prefix="rpms-") as scratch:
        for number, group in enumerate(_groups(packages)):
            _rpmbuild(group, Path(scratch) / str(number), out)
    for key in sorted({package.key for package in packages if package.key}):
        keyring.sign(key, [out / package.filename for package in packages if package.key == key])
    return files


def repository(out: Path, files: Iterable[Path], advisories: Sequence[Advisory] = ()) -> None:
    """Make `out` a repository of `files` (linked, or copied from another file system)."""
    for file in files:
        directory = out / file.name.rsplit(".", 2)[1]
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / file.name
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copy2(file, target)
    out.mkdir(parents=True, exist_ok=True)
    _run(["createrepo_c", "--quiet", "--no-database", "--general-compress-type", "gz", str(out)])
    if advisories:
        with tempfile.TemporaryDirectory(prefix="updateinfo-") as scratch:
            path = Path(scratch) / "updateinfo.xml"
            path.write_bytes(_updateinfo(advisories))
            words = ["modifyrepo_c", "--mdtype=updateinfo", "--compress-type=gz"]
            _run([*words, str(path), str(out / "repodata")])


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as error:
        message = f"{command[0]} is not installed (Debian packages: rpm, gnupg, createrepo-c)."
        raise RpmToolError(message) from error
    if result.returncode:
        said = result.stdout[-2000:] + result.stderr[-2000:]
        message = f"{command[0]} failed (exit {result.returncode}):\n{said}"
        raise RpmToolError(message)
    return result.stdout


def _groups(packages: Sequence[Package]) -> list[list[Package]]:
    """Split into groups that fit in one spec file each: no name twice, no path with two contents."""
    groups: list[tuple[list[Package], dict[str, Content]]] = []
    for package in packages:
        for members, files in groups:
            clash = any(files.get(path, content) != content for path, content in package.files.items())
            if not clash and all(member.name != package.name for member in members):
                break
        else:
            members, files = [], {}
            groups.append((members, files))
        members.append(package)
        files.update(package.files)
    return [members for members, _ in groups]


def _rpmbuild(group: Sequence[Package], scratch: Path, out: Path) -> None:
    root = scratch / "files"
    for package in group:
        for path, content in package.files.items():
            _write(root / path.lstrip("/"), path, content)
    root.mkdir(parents=True, exist_ok=True)
    spec = scratch / "lab.spec"
    install = f"%install\ncp -a {root}/. %{{buildroot}}/"
    spec.write_text("\n".join([_HEAD, install, *map(_section, group), ""]))
    defines = {**_DEFINES, "_topdir": str(scratch / "top"), "_rpmdir": str(out)}
    _run(["rpmbuild", "-bb", "--quiet", "--nodeps", "--target", "x86_64", *_defines(defines), str(spec)])


def _defines(macros: Mapping[str, str]) -> list[str]:
    return [word for name, body in macros.items() for word in ("--define", f"{name} {body}")]


def _write(target: Path, path: str, content: Content) -> None:
    text, mode = content if isinstance(content, tuple) else (content, 0o755 if "/bin/" in path else 0o644)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text.encode() if isinstance(text, str) else text)
    target.chmod(mode)


def _section(package: Package) -> str:
    name = package.name
    tags = {"Version": package.version, "Release": package.release, "License": package.license}
    tags |= {"URL": package.url, "Summary": package.summary or name, "AutoReqProv": "no"}
    if package.epoch:
        tags["Epoch"] = str(package.epoch)
    if package.arch == "noarch":
        tags["BuildArch"] = "noarch"
    lines = [f"%package -n {name}", *(f"{tag}: {_plain(value)}" for tag, value in tags.items())]
    for tag in ("requires", "provides", "conflicts", "obsoletes", "recommends"):
        lines += [f"{tag.capitalize()}: {dependency}" for dependency in getattr(package, tag)]
    lines += [f"%description -n {name}", _plain(package.description or package.summary or name)]
    for script in ("pre", "post", "preun", "postun"):
        if getattr(package, script):
            lines += [f"%{script} -n {name}", _plain(getattr(package, script))]
    lines.append(f"%files -n {name}")
    lines += [f'{"%config(noreplace) " * path.startswith("/etc/")}"{path}"' for path in sorted(package.files)]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A text in which rpmbuild sees no macros."""
    return text.replace("%", "%%")


def _updateinfo(advisories: Iterable[Advisory]) -> bytes:
    root = ET.Element("updates")
    for advisory in advisories:
        update = ET.SubElement(root, "update", {"from": "lab", "type": advisory.type, "version": "1"})
        texts = {"id": advisory.id, "title": advisory.title or advisory.id, "severity": advisory.severity}
        texts |= {
            "reboot_suggested": "True" if advisory.reboot else None,
            "description": advisory.description,
        }
        for tag, text in texts.items():
            if text is not None:
                ET.SubElement(update, tag).text = text
        for tag, date in (("issued", advisory.issued), ("updated", advisory.updated)):
            if date is not None:
                ET.SubElement(update, tag, {"date": date})
        references = ET.SubElement(update, "references")
        for cve in advisory.cves:
            ET.SubElement(references, "reference", {"id": cve, "title": cve, "type": "cve"})
        collection = ET.SubElement(ET.SubElement(update, "pkglist"), "collection", {"short": "lab"})
        ET.SubElement(collection, "name").text = "lab"
        for package in advisory.packages:
            _collected(collection, package, reboot=advisory.reboot)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _collected(collection: ET.Element, text: str, *, reboot: bool) -> None:
    arch = next((arch for arch in ("x86_64", "noarch") if text.endswith(f".{arch}")), None)
    nevr = text.removesuffix(f".{arch}") if arch else text
    name, version, release = nevr.rsplit("-", 2)
    epoch, _, version = version.rpartition(":")
    arch = arch or "x86_64"
    attributes = {"name": name, "version": version, "release": release, "epoch": epoch or "0"}
    package = ET.SubElement(collection, "package", {**attributes, "arch": arch})
    ET.SubElement(package, "filename").text = f"{name}-{version}-{release}.{arch}.rpm"
    if reboot:
        ET.SubElement(package, "reboot_suggested").text = "True"
