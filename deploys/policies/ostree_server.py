"""A curated OSTree repository for fleets without internet: verified, signed anew, and served over HTTPS by nginx.

A commit upstream is pulled only with a signature by a key that is pinned. Its tree is committed again under the fleet's
own refs (`photon/5.0/x86_64/minimal/staging`, `.../prod`), bound to all of them from the start and signed with the
fleet's own key: what was tried as `staging` is the very commit that `prod` names later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies._https_server import HttpsServer, Upstream
from deploys.policies.base import Check, Item, file_check
from deploys.policies.package_mirror import keys_in
from deploys.policies.packages import Fingerprint, SigningKey
from deploys.policies.secret import Secret
from deploys.policies.types import Word
from operations import file

if TYPE_CHECKING:
    from testinfra.host import Host

_IS_THE_KEY = """
home=$(mktemp -d) || exit 1
found=$(gpg --homedir "$home" --batch --with-colons --show-keys "$new" 2>/dev/null |
  sed -n '/^sec/,/^fpr/s/^fpr:*//p' | tr -d : | tr '\n' ' ')
rm -rf "$home"
[ "$found" = "{fingerprint} " ] || {{
  echo "signing_key is the private key ${{found:-of nobody}}, and not {fingerprint}" >&2; exit 1; }}
"""
"""Shell commands that fail unless the file `$new` has the private key of a fingerprint, and no other."""

_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
SECONDS = 60


def _ref(value: str) -> str:
    if not _REF.fullmatch(value) or ".." in value:
        message = f"{value!r} is no ref, such as photon/5.0/x86_64/minimal"
        raise ValueError(message)
    return value


Ref = Annotated[str, AfterValidator(_ref)]


class OstreeBranch(Item):
    """A branch upstream. It is served as `REF/CHANNEL`."""

    identity: ClassVar[str] = "ref"

    ref: Ref
    url: Upstream
    """The repository upstream."""
    keys: tuple[Word, ...] = Field(min_length=1)
    """Names of the keys of which one has signed each commit."""
    upstream: Ref | None = None
    """The branch's name upstream, when it is another one."""


class OstreeServer(HttpsServer):
    """Which branches a host curates, and how it signs and serves them."""

    name: ClassVar[str] = "ostree_server"
    base: ClassVar[str] = "/srv/photon-fleet/ostree-server"
    title: ClassVar[str] = "curated OSTree branches"
    tools: ClassVar[tuple[str, ...]] = ("ostree", "gnupg")
    unproved: ClassVar[Mapping[str, str]] = {
        **HttpsServer.unproved,
        "upstream_keys.file": "where the controller finds the key; what is trusted is proved by its fingerprint",
        "signing_key.kind": "where the controller finds the key; what it signs is proved by its fingerprint",
        "signing_key.reference": "as signing_key.kind: a key of another fingerprint is not put in place",
    }

    upstream_keys: tuple[SigningKey, ...] = ()
    branches: tuple[OstreeBranch, ...] = ()
    signing_key: Secret
    """The fleet's own private key, armored, without a passphrase (`gpg --armor --export-secret-keys`)."""
    signing_fingerprint: Fingerprint
    """The fingerprint that clients pin."""

    @override
    def problems(self) -> Iterable[str]:
        yield from super().problems()
        for key in self.upstream_keys:
            try:
                key.text()
            except ValueError as error:
                yield f"upstream_keys[{key.name}]: {error}"
        names = {key.name for key in self.upstream_keys}
        for branch in self.branches:
            for unknown in sorted({*branch.keys} - names):
                yield f"branches[{branch.ref}].keys: there is no key {unknown!r} among upstream_keys"
            for other in self.branches:
                if branch.ref.startswith(f"{other.ref}/"):
                    yield f"branches[{branch.ref}]: it is below {other.ref}, whose channels could be taken for it"
        if not self.branches:
            yield "branches: a server of nothing serves nobody"

    @override
    def ingredients(self) -> object:
        prints = {key.name: key.fingerprint for key in self.upstream_keys}
        return [
            self.signing_fingerprint, list(self.channels),
            [[each.ref, each.url, each.upstream, sorted(prints.get(key, key) for key in each.keys)]
             for each in self.branches],
        ]  # fmt: skip

    @override
    def script_values(self) -> dict[str, object]:
        return {"branches": self.branches, "fingerprint": self.signing_fingerprint}

    @override
    def own_files(self) -> dict[str, str]:
        return {f"{self.etc}/keys/{key.name}.asc": key.text() for key in self.upstream_keys}

    @override
    def apply_secrets(self) -> None:
        file.text(
            name="Give the server the fleet's key", path=f"{self.etc}/signing.asc", mode="600",
            content=self.signing_key.resolve(), check=_IS_THE_KEY.format(fingerprint=self.signing_fingerprint),
        )  # fmt: skip

    @override
    def checks(self) -> Iterable[Check]:
        yield from super().checks()
        for key in self.upstream_keys:
            yield Check(
                id=f"ostree_server.key[{key.name}]", field=f"upstream_keys[{key.name}].fingerprint",
                proves=f"upstream's commits are checked with the key {key.name} that was pinned",
                read=partial(keys_in, f"{self.etc}/keys/{key.name}.asc"), expect=[key.fingerprint],
            )  # fmt: skip
        yield file_check("ostree_server.signing-key", "signing_key", f"{self.etc}/signing.asc", "600")
        yield Check(
            id="ostree_server.fingerprint", field="signing_fingerprint", needs="ostree_server.last-fetch",
            proves="what is served was signed with the key of this fingerprint",
            read=partial(keys_in, f"{self.base}/signing.asc"), expect=[self.signing_fingerprint],
        )  # fmt: skip
        for branch in self.branches:
            for channel in ("staging", *self.channels):
                once = "" if channel == "staging" else ", once something is promoted to it,"
                yield Check(
                    id=f"ostree_server.channel[{branch.ref}/{channel}]", field=f"branches[{branch.ref}]",
                    needs="ostree_server.port",
                    proves=f"{branch.ref}/{channel}{once} is what a client gets that checks signatures and the summary",
                    read=partial(wrong_in, f"{branch.ref}/{channel}", self.base, self.server_name, self.port),
                    expect=[],
                )  # fmt: skip
        yield Check(
            id="ostree_server.kept", field="keep", needs="ostree_server.last-fetch",
            proves=f"no more than {self.keep} commits of a branch are kept, counted from what a channel names",
            read=partial(too_many, self.base, self.keep, tuple(branch.ref for branch in self.branches)), expect=[],
        )  # fmt: skip


# A client of its own for a moment: it believes the fleet's key alone, and takes this host for the server's name, which
# is known in a mount namespace of its own.
_CLIENT = """
set -e
ref=$1 base=$2 name=$3 port=$4
head=$base/www/repo/refs/heads/$ref
case $ref in */staging) ;; *) [ -e "$head" ] || exit 0 ;; esac
read -r commit < "$head"
new=$(mktemp -d)
trap 'umount /etc/hosts 2>/dev/null; rm -rf "$new"' EXIT
exec 2>&1
echo "127.0.0.1 $name" > "$new/hosts"
mount --bind "$new/hosts" /etc/hosts
ostree init --repo="$new" --mode=archive
ostree remote add --repo="$new" --set=gpg-verify-summary=true --set=tls-permissive=true \
  --gpg-import="$base/signing.asc" fleet "https://$name:$port/repo" > "$new/said"
ostree pull --repo="$new" --commit-metadata-only --disable-static-deltas fleet "$ref" > "$new/said" || {
  tail -n 1 "$new/said"; exit 0; }
got=$(ostree rev-parse --repo="$new" "fleet:$ref")
[ "$got" = "$commit" ] || echo "$ref is $commit, and clients get $got"
"""


def wrong_in(ref: str, base: str, server_name: str, port: int, host: Host) -> list[str]:
    """What a client complains of, as lines; nothing for a channel that nothing was promoted to yet."""
    done = host.run(
        f"timeout {SECONDS} unshare --mount sh -c %s sh %s %s %s %s", _CLIENT, ref, base, server_name, str(port),
    )  # fmt: skip
    said = str(done.stdout + done.stderr).splitlines()
    return said or ([f"{ref} could not be asked for"] if done.rc else [])


def too_many(base: str, keep: int, refs: tuple[str, ...], host: Host) -> list[str]:
    """Commits of a branch that are further down the history of all its channels than are kept."""
    found = []
    for ref in refs:
        heads = host.check_output("find %s -type f -printf %s", f"{base}/www/repo/refs/heads/{ref}", "%f\\n").split()
        logs = [
            [line.split()[1] for line in host.check_output("ostree log --repo=%s %s", f"{base}/www/repo", each)
             .splitlines() if line.startswith("commit ")]
            for each in (f"{ref}/{channel}" for channel in heads)
        ]  # fmt: skip
        kept = {commit for commits in logs for commit in commits[:keep]}
        found += [f"{ref}: {commit}" for commit in sorted({each for commits in logs for each in commits} - kept)]
    return found
