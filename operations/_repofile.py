"""A repository as a file that tdnf reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from facts._conffiles import REPOSITORIES, is_true
from operations._tdnf import REPOSITORY, refuse, require_match

if TYPE_CHECKING:
    from facts._types import RepositoryFile

BOOLEANS = frozenset({
    "enabled", "gpgcheck", "skip_if_unavailable", "skip_md_filelists", "skip_md_other", "skip_md_updateinfo",
    "sslverify",
})  # fmt: skip
EXTRA = frozenset({
    "metadata_expire", "metalink", "minrate", "mirrorlist", "priority", "retries", "skip_md_filelists",
    "skip_md_other", "skip_md_updateinfo", "snapshot", "sslcacert", "sslclientcert", "sslclientkey",
    "sslverify", "throttle", "timeout",
})  # fmt: skip
"""What `options` may have. Credentials are not among them: the file can be read by everybody."""

URL = re.compile(r"(https?|ftp|file)://\S+")
LOCATION = re.compile(r"[^\s'\"]+")
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")


def path_of(repository: str) -> str:
    """The file of a repository.

    Raises:
        OperationError: no repository id.
    """
    return f"{REPOSITORIES}/{require_match(REPOSITORY, repository, 'repository id')}.repo"


def options_of(
    *,
    title: str,
    baseurl: Sequence[str],
    gpgkey: Sequence[str],
    enabled: bool,
    gpgcheck: bool,
    skip_if_unavailable: bool,
    extra: Mapping[str, str | int | bool],
) -> dict[str, str]:
    """The options, as text and in the order of the file.

    Raises:
        OperationError: a value that tdnf would not understand, or would understand as something else.
    """
    if isinstance(baseurl, str) or isinstance(gpgkey, str):
        message = "baseurl and gpgkey are lists"
        raise refuse(message)
    if not baseurl and not {"metalink", "mirrorlist", "snapshot"} & set(extra):
        message = "a repository needs a baseurl"
        raise refuse(message)
    values: dict[str, str | int | bool] = {"name": title}
    if baseurl:
        values["baseurl"] = " ".join(require_match(URL, url, "URL") for url in baseurl)
    values |= {"enabled": enabled, "gpgcheck": gpgcheck}
    if gpgkey:
        values["gpgkey"] = " ".join(key_url(key) for key in gpgkey)
    values["skip_if_unavailable"] = skip_if_unavailable
    return {key: _text(key, value) for key, value in {**values, **_checked(extra)}.items()}


def key_url(key: str) -> str:
    """A key's place as URL; a path is a file.

    Raises:
        OperationError: neither a URL nor an absolute path.
    """
    require_match(LOCATION, key, "place of a key")
    return require_match(URL, f"file://{key}" if key.startswith("/") else key, "place of a key")


def _checked(extra: Mapping[str, str | int | bool]) -> Mapping[str, str | int | bool]:
    if unknown := sorted(set(extra) - EXTRA):
        message = f"{', '.join(unknown)}: no option of a repository that can be set here"
        raise refuse(message)
    return extra


def _text(key: str, value: str | int | bool) -> str:  # noqa: FBT001 - it is what becomes text
    """The value as tdnf reads it: booleans are numbers, because `yes` and `on` are false."""
    if isinstance(value, bool) or key in BOOLEANS:
        if not isinstance(value, bool):
            message = f"{key} is true or false, not {value!r}"
            raise refuse(message)
        return "1" if value else "0"
    return " ".join(require_match(PRINTABLE, str(value), f"value for {key}").split())


def render(repository: str, options: Mapping[str, str]) -> str:
    """The text of the file."""
    return "".join([f"[{repository}]\n", *(f"{key}={value}\n" for key, value in options.items())])


def is_as_wanted(repository: str, options: Mapping[str, str], files: Mapping[str, RepositoryFile]) -> bool:
    """Whether tdnf reads the same from the file that is there, and everybody can read it."""
    found = files.get(path_of(repository))
    if found is None or (found["mode"], found["owner"]) != ("644", "root:root"):
        return False
    return {name: _meaning(section) for name, section in found["repositories"].items()} == {
        repository: _meaning(options)
    }


def _meaning(options: Mapping[str, str]) -> dict[str, str]:
    return {key: str(is_true(value)) if key in BOOLEANS else value for key, value in options.items()}


def require_own_file(repository: str, files: Mapping[str, RepositoryFile]) -> None:
    """One file, one repository.

    Raises:
        OperationError: another file has the id (tdnf fails with error 1037 then), or this file has other ids.
    """
    own = path_of(repository)
    for path, found in sorted(files.items()):
        if path != own and repository in found["repositories"]:
            message = f"repository {repository!r} is defined in {path} already"
            raise refuse(message)
    others = sorted(set(files[own]["repositories"]) - {repository}) if own in files else []
    if others:
        message = f"{own} also has {', '.join(others)}: it is not written, they would be lost"
        raise refuse(message)
