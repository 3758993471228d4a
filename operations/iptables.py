"""The filter table: owned chains replaced in one transaction, and the same rules kept for the next boot.

Other chains (Docker's) and other tables are not touched: iptables.service is never restarted, as its start script
flushes every chain of every table.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from facts.file import TextFile
from facts.iptables import Family, Filter, FilterTable
from operations._contain import Commands, operation, read
from operations.file import is_as_wanted, write
from operations.sshd import Refusal, require_access

SAVE_FILES: Mapping[Family, str] = {
    "ipv4": "/etc/systemd/scripts/ip4save",
    "ipv6": "/etc/systemd/scripts/ip6save",
}
BUILT_IN = {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "DROP"}
FIRST = {"FORWARD": "-j DOCKER-USER"}
"""The rule that comes first in a chain whose rules are Docker's: one before it would let traffic past ours.

Docker makes it when it starts, at the top. It is not in the file for the next boot: Docker leaves a jump that it
finds where it is, and puts its own rules before it.
"""
HEADER = "# Written by Photon Fleet (policy: firewall). Changes made here are undone by the next run."

# Matches that iptables adds by itself to a rule that names the protocol.
_IMPLIED = {"tcp", "udp", "sctp", "icmp", "icmp6", "multiport"}

Chains = Mapping[str, Sequence[str]]


# Hosts of one role have the same rules, and each is compared several times.
@lru_cache(maxsize=4096)
def canonical(rule: str) -> tuple[tuple[str, ...], ...]:
    """A rule as a set of options in a fixed order, so that two spellings of one rule are equal.

    iptables prints options in its own order, names matches that a protocol implies, and gives /32 to an address.
    """
    try:
        words = shlex.split(rule)
    except ValueError:
        # Somebody's comment with half a quotation mark: equal to itself only.
        return (("unreadable", rule),)
    options: list[tuple[str, ...]] = []
    negated = False
    for word in words:
        if word == "!":
            negated = True
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            options.append(("!", word) if negated else (word,))
            negated = False
        elif options:
            options[-1] = (*options[-1], _value(options[-1][-1], word))
    return tuple(sorted(option for option in options if not _says_nothing(option)))


def _says_nothing(option: tuple[str, ...]) -> bool:
    """Whether iptables leaves an option out when it prints the rule: an implied match, or the whole Internet."""
    implied = option[0] == "-m" and set(option[1:]) <= _IMPLIED
    return implied or (option[0] in {"-s", "-d"} and option[1:] in {("0.0.0.0/0",), ("::/0",)})


def _value(option: str, word: str) -> str:
    if option in {"-s", "-d"}:
        return word.removesuffix("/32").removesuffix("/128")
    return ",".join(sorted(word.split(","))) if option == "--ctstate" else word


def _declarations(chains: Chains) -> list[str]:
    built_in = [f":{chain} {policy} [0:0]" for chain, policy in BUILT_IN.items()]
    return ["*filter", *built_in, *(f":{chain} - [0:0]" for chain in chains if chain not in BUILT_IN)]


def _rules(chains: Chains) -> list[str]:
    return [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]


def saved_text(chains: Chains) -> str:
    """The file that Photon's iptables.service loads at boot, after it has flushed everything."""
    return "\n".join([HEADER, *_declarations(chains), *_rules(chains), "COMMIT", ""])


def comes_first(chain: str, table: Filter) -> bool:
    """Whether the rule of `FIRST` is the first of its chain, and stands there once; so it is with no rules at all."""
    rules = [canonical(rule) for rule in table["chains"].get(chain, [])]
    wanted = canonical(FIRST[chain])
    return not rules or (rules[0] == wanted and rules.count(wanted) == 1)


def transaction_text(chains: Chains, table: Filter) -> str:
    """The same for a running host: only the chains of the policy are emptied."""
    lines = [f"-F {chain}" for chain in chains]
    for chain, rule in FIRST.items():
        if not comes_first(chain, table):
            found = [canonical(other) for other in table["chains"].get(chain, [])].count(canonical(rule))
            lines += [f"-D {chain} {rule}"] * found + [f"-I {chain} 1 {rule}"]
    return "\n".join([*_declarations(chains), *lines, *_rules(chains), "COMMIT", ""])


def require_one_line_rules(chains: Chains) -> None:
    """Refuse rules that are more than a rule.

    Raises:
        OperationError: a line break, which would start another command of the transaction.
    """
    for chain, rules in chains.items():
        for text in (chain, *rules):
            if "\n" in text or "\r" in text or "\0" in text:
                message = f"chain {chain!r}: {text!r} is more than one line"
                raise OperationError(message)


@operation()
def ruleset(family: Family, chains: Chains, refuse: Refusal) -> Commands:
    """
    Make sure that chains of the filter table have exactly these rules, now and after the next boot.

    + family: "ipv4" or "ipv6"
    + chains: chain -> rules in iptables' words, without `-A CHAIN`. INPUT, FORWARD and OUTPUT get the policy DROP,
      and FORWARD, when it has rules (Docker's), begins with the jump to DOCKER-USER
    + refuse: given the connection of this run (or None when it is not known), returns why the rules would cut it, or
      None. With a reason nothing is changed and the host fails

    **Example:**

    .. code:: python

        iptables.ruleset(name="Load the IPv4 rules", family="ipv4", chains={"INPUT": ["-i lo -j ACCEPT"]}, refuse=...)
    """
    require_one_line_rules(chains)
    table = read(FilterTable, family=family)
    current = (
        table["policies"] == BUILT_IN
        and all(_same(table["chains"].get(chain), rules) for chain, rules in chains.items())
        and all(comes_first(chain, table) for chain in FIRST)
    )
    saved = is_as_wanted(read(TextFile, path=SAVE_FILES[family]), saved_text(chains), mode="644")
    if current and saved:
        host.noop(f"the {family} rules are as wanted")
        return
    require_access(refuse)
    program = "iptables-restore" if family == "ipv4" else "ip6tables-restore"
    if not saved:
        yield write(SAVE_FILES[family], saved_text(chains), mode="644", check=f'{program} --wait 5 --test < "$new"')
    if not current:
        yield StringCommand(f"{program} --wait 5 --noflush", _stdin=transaction_text(chains, table))


def _same(actual: Sequence[str] | None, wanted: Sequence[str]) -> bool:
    return actual is not None and [canonical(rule) for rule in actual] == [canonical(rule) for rule in wanted]
