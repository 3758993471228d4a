"""What ostree and rpm-ostree say when something is wrong, as a sentence for the person who reads it. Pure.

Held to every failed run in tests/transcripts/ostree. What is not known is told in the program's own last line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facts._answer import Answer

NOT_FOUND = {126, 127}
TIMED_OUT = {124, 137}

_TABLE: tuple[tuple[str, str], ...] = (
    (r"Installing kernel: .*No space left on device",
     ("/boot is full: the kernel of the new image does not fit beside the others. Take back what is not needed "
     "(ostree admin status lists it; one that is pinned stays until it is unpinned), or make /boot larger")),
    (r"min-free-space-percent '(?P<percent>[^']+)' would be exceeded, at least (?P<size>.+) requested",
     "the disk is too full for the image: {percent} of it must stay free, and {size} are needed"),
    (r"No space left on device", "the disk is full: nothing was installed"),
    (r"While fetching (?P<url>\S+): \[7\]",
     "the repository does not answer at {url}: see whether its server runs, and whether this host may reach it"),
    (r"While fetching (?P<url>\S+): \[6\]",
     "the name in {url} is not known to this host: see its name servers, and the url of the remote"),
    (r"While fetching (?P<url>\S+): \[(?:60|35|77|58)\] (?P<text>.+)",
     "the server at {url} is not trusted or speaks no TLS ({text}): see the remote's tls_ca_path"),
    (r"While fetching (?P<url>\S+): \[18\]", "the transfer of {url} was cut off: try again"),
    (r"While fetching (?P<url>\S+): \[\d+\] (?P<text>.+)", "{url} could not be read: {text}"),
    (r"Server returned HTTP 404",
     ("the repository lacks a file that it should have (HTTP 404): the remote's url is wrong, or the repository was "
     "pruned or published in part")),
    (r"Server returned HTTP (?P<status>\d+)", "the server of the repository answered HTTP {status}"),
    (r"Not normal form",
     "what answers at the remote's url is no OSTree repository: most likely a web page, such as a proxy's"),
    (r"server has no summary file",
     "the repository has no summary: its url is wrong, or `ostree summary -u` was never run there"),
    (r"no summary\.sig found",
     ("the summary of the repository is not signed, and the remote asks for that (gpg-verify-summary): sign it with "
     "`ostree summary -u --gpg-sign=KEY` on the server")),
    (r"Commit (?P<commit>[0-9a-f]{12})[0-9a-f]*: GPG verification enabled, but no signatures found",
     "commit {commit} is not signed, and its remote accepts signed ones only: sign it on the server (ostree gpg-sign)"),
    (r"GPG verification enabled, but no signatures found",
     ("a commit is not signed, and its remote accepts signed ones only: sign it on the server (ostree gpg-sign), "
     "or look at the origin and the remotes of this host")),
    (r"(?s)Commit (?P<commit>[0-9a-f]{12})[0-9a-f]*: .*key ID (?P<key>[0-9A-F]+)\s+Can't check signature: public key",
     ("commit {commit} is signed with the key {key}, which this host does not trust for the remote: give the remote "
     "that key if it is yours, and find out who signed if it is not")),
    (r"Can't check signature: public key not found",
     "it is signed with a key that this host does not trust for the remote"),
    (r"(?i)BAD signature", "a signature does not match what it signs: the repository was damaged or tampered with"),
    (r"Remote \"(?P<remote>[^\"]+)\" not found",
     ("this host has no remote {remote!r}: define it (after a way back to an older image, remotes that were made "
     "since are gone)")),
    (r"Remote \"(?P<remote>[^\"]+)\" already defined in (?P<file>\S+)",
     "the remote {remote!r} is defined in {file}: it is changed there only"),
    (r"Remote configuration for \"(?P<remote>[^\"]+)\" already exists", "there is a remote {remote!r} already"),
    (r"No such branch '(?P<ref>[^']+)' in repository summary",
     ("the repository does not offer {ref!r}: see the name, and whether `ostree summary -u` was run on the server "
     "since it was published")),
    (r"Commit has no requested ref .(?P<ref>\S+). in ref binding metadata .*?[^\w\s(](?P<bound>[\w./-]+)",
     ("the commit was made for {bound}, not for {ref}: it must be committed with --bind-ref for every branch that "
     "it is promoted to")),
    (r"Refspec '(?P<ref>[^']+)' not found", "this host has never pulled {ref!r}"),
    (r"is chronologically older than", "the image is older than the one that runs: ask for its version by name"),
    (r"Old and new refs are equal: (?P<ref>\S+)", "the host follows {ref} already"),
    (r"Pinned to commit; no upgrade available",
     "the host follows a single commit and no branch: rebase it to a branch of a remote"),
    (r"Cannot look up version while pinned to commit",
     "the host follows a single commit and no branch: rebase it to a branch before asking for a version"),
    (r"(?:loading sysroot: opendir\(ostree/repo\)|not booted via libostree|[Nn]ot currently booted into an OSTree)",
     "this is not an image host: it was not booted from an ostree deployment"),
    (r"opening repo: opendir\((?P<path>[^)]+)\)", "there is no ostree repository in {path}"),
    (r"(?:Transaction in progress: (?P<title>.+)|System transaction in progress)",
     "rpm-ostree is busy with something else: wait until `rpm-ostree status` says idle. {title}"),
    (r"Reboot initiated", "a reboot of this host has begun: nothing is changed until it is over"),
    (r"Updates and deployments are driven by (?P<driver>.+?)(?: \(|$)",
     "updates of this host are left to {driver}: stop that first"),
    (r"Staged deployment \(remove with cleanup -p\)", "an update is staged, which has to be taken back first"),
    (r"No rollback deployment found", "there is no other image on this host to go back to"),
    (r"Unsupported path: (?P<path>\S+?);",
     ("a package has the file /{path}, and images cannot carry files there: it has to come as a container or in the "
     "image itself, below /usr")),
    (r"Packages not found: (?P<names>.+)", "no repository of this host has {names}"),
    (r"Package/capability '(?P<names>[^']+)' is already requested", "{names} is layered already"),
    (r"Package/capability '(?P<names>[^']+)' is not currently requested", "{names} is not layered"),
    (r"Cannot undeploy currently booted deployment", "the image that runs cannot be removed"),
    (r"Out of range deployment index|Invalid index", "the deployments have changed meanwhile: run again"),
    (r"Failed to find kernel in", "the image has no kernel below /usr/lib/modules: it cannot be booted"),
    (r"Deployment is already in unlocked state: (?P<state>\w+)", "the image is unlocked already ({state})"),
    (r"(?:File header size|Corrupted file object|Bad checksum|fsck-detected corruption)",
     "an object of the repository is damaged: run `ostree fsck` on the server and on this host"),
    (r"(?:Couldn't find file object|No such metadata object)",
     "an object is missing in this host's repository: pull the branch again (ostree pull), which mends it"),
    (r"finalize-staged\.service failed on previous boot: (?P<text>.+)",
     "the last update was not put in place at shutdown: {text}"),
    (r"opendir\((?P<path>[^)]+)\): No such file or directory", "{path} is not there"),
    (r"Key file does not have group|No such metadata key", "it is not set"),
    (r"Permission denied|must be root|not authorized", "only root may do this: see how this host is connected to"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), sentence) for pattern, sentence in _TABLE)


def known(text: str) -> str | None:
    """The sentence for what a program said; None when it is nothing that is known."""
    for pattern, sentence in _PATTERNS:
        if match := pattern.search(text):
            words = {key: " ".join((value or "").split()) for key, value in match.groupdict().items()}
            return sentence.format(**words).strip()
    return None


def sentence(command: str, given: Answer) -> str:
    """Why a run of ostree or rpm-ostree failed, with the command as the people know it.

    The answer must be one of a failed run; its standard output counts too, as the wait for the lock is told there.
    """
    if given.exit in NOT_FOUND:
        return f"{command} could not be run: {_last(given.stderr) or 'it is not there'}"
    if "Waiting for sysroot lock" in given.stdout and given.exit in TIMED_OUT:
        return f"{command}: another run of ostree holds the lock of this host's deployments: wait for its end"
    if given.exit in TIMED_OUT:
        return f"{command} did not end in time"
    reason = known(given.stderr)
    if reason is not None:
        return f"{command}: {reason}"
    last = _last(given.stderr) or _last(given.stdout)
    if given.exit > 128:  # noqa: PLR2004 - a shell's number for a signal
        last = f"it was killed by signal {given.exit - 128}: is the repository of this host damaged? {last}".strip()
    return f"{command} ended with status {given.exit}" + (f": {last}" if last else " and said nothing")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""
