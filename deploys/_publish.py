"""What the entries of the servers for fleets without internet do: fetch now, or promote a version to a channel."""

from __future__ import annotations

from functools import cache

from pyinfra import host

from deploys._run import begin, contained, known_to_inspect, proof, summarise_at_exit
from deploys.errors import InputError
from deploys.policies._https_server import HttpsServer
from deploys.policies.base import Policy
from inventories._merge import effective_of
from operations import publishing


@cache
def _asked(word: str) -> None:
    """Refuse a run that does not say what to do, once, before anything is read.

    Raises:
        InputError: neither or both of promote= and sync=, or a version without promote=.
    """
    promote, sync = host.data.get("promote"), str(host.data.get("sync", default="")).lower()
    if (promote is None) == (sync != "true"):
        message = "say what to do: either --data promote=CHANNEL, or --data sync=true (look at staging between the two)"
        raise InputError(message)
    if promote is None and host.data.get(word) is not None:
        message = f"--data {word}= goes with --data promote=CHANNEL"
        raise InputError(message)


def publish(deploy_file: str, server: type[HttpsServer], word: str) -> None:
    """Do what `--data` asks for on the current host, and prove it; a host without the policy is left alone.

    Args:
        deploy_file: the entry.
        server: the policy.
        word: the name of the option that tells the version.
    """
    known_to_inspect(deploy_file)
    summarise_at_exit()
    _asked(word)
    begin()
    with contained():
        policy = effective_of(host).get(server.name)
        proof(name="Prove what is published", policies=_published(policy, word))


def _published(policy: Policy | None, word: str) -> list[Policy]:
    if not isinstance(policy, HttpsServer):
        return []
    channel = host.data.get("promote")
    if channel is None:
        publishing.fetched_now(name="Fetch what is new", server=policy.name)
        return [policy]
    if channel not in policy.channels:
        message = f"--data promote={channel}: the policy's channels are {', '.join(policy.channels)}"
        raise InputError(message)
    version = host.data.get(word)
    publishing.promoted(
        name=f"Promote to {channel}", server=policy.name, channel=str(channel),
        version=None if version is None else str(version),
    )  # fmt: skip
    return [policy]
