"""The commands that look at policies without changing a host: explain, rules, seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from deploys.clouds.seed import user_data
from deploys.errors import InputError
from deploys.policies.base import Item, Model
from deploys.rules import rows
from deploys.verify.session import connect, loaded
from deploys.vsphere.seed.inventory import asked_of, new_host
from deploys.vsphere.seed.kickstart import Kickstart
from deploys.vsphere.seed.shown import answers, shown, write_answers
from inventories._clouds import cloud_policy
from inventories._merge import Provenance, effective_of


@click.command()
@click.argument("inventory")
@click.argument("host")
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
def explain(inventory: str, host: str, *, as_json: bool) -> None:
    """Print the effective policy of HOST in INVENTORY, and where each value comes from."""
    with loaded(inventory, [host]) as session:
        member = session.hosts[0]
        effective = effective_of(member)
        if as_json:
            report = {"schema": 1, "host": member.name, "groups": member.groups, "policies": effective.to_json(),
                      "provenance": effective.provenance}  # fmt: skip
            click.echo(json.dumps(report, indent=2))
            return
        click.echo(f"{member.name}: {', '.join(member.groups)}")
        for name, policy in effective.policies.items():
            click.echo(f"\n{name}")
            for path, value in _leaves(policy):
                click.echo(f"    {path:34} {value!s:44} {_source(path, effective.provenance[name])}")


@click.command()
@click.argument("inventory")
@click.argument("host")
@click.option("--prove", "live", is_flag=True, help="Read the host, and say which rules hold.")
def rules(inventory: str, host: str, *, live: bool) -> None:
    """Print what becomes of each rule of a security guide on HOST in INVENTORY."""
    with loaded(inventory, [host]) as session:
        member = session.hosts[0]
        if live:
            connect(session)
            if member.name in session.unreachable:
                message = f"{member.name}: {session.unreachable[member.name]}"
                raise InputError(message)
        found = rows(member, live=live)
        for row in found:
            click.echo(f"{row.rule}  {row.state:15} {row.topic:50} {row.more}".rstrip())
        if any(row.state == "FAILED" for row in found):
            raise click.exceptions.Exit(1)


@click.command()
@click.argument("inventory")
@click.argument("host")
@click.option("--kickstart", "iso", is_flag=True, help="The answers for the installer of Photon's ISO instead.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="With --kickstart: a new file for all of it, hashes too."
)
def seed(inventory: str, host: str, *, iso: bool, output: Path | None) -> None:
    """Print what HOST in INVENTORY would be given for its first boot, without secrets."""
    with loaded(inventory, [host]) as session:
        member = session.hosts[0]
        made, asked = new_host(member), asked_of(member, "kickstart", Kickstart)
        if output and not iso:
            message = "--output goes with --kickstart: what a VM is given goes through vCenter"
            raise InputError(message)
        if output:
            write_answers(made, asked, output)
        elif cloud_policy(member) is not None and not iso:
            click.echo(user_data(made, "made-when-the-machine-is"))
        else:
            click.echo(answers(made, asked) if iso else shown(made))


def _leaves(model: Model, prefix: str = "") -> list[tuple[str, Any]]:
    """Every field of a policy with its value; items and elements of lists by their key."""
    rows: list[tuple[str, Any]] = []
    for name in type(model).model_fields:
        value, path = getattr(model, name), f"{prefix}{name}"
        if isinstance(value, Model):
            rows += _leaves(value, f"{path}.")
        elif isinstance(value, tuple) and value:
            rows += [(f"{path}[{_label(item)}]", _short(item)) for item in value]
        else:
            rows.append((path, value))
    return rows


def _label(item: object) -> str:
    return item.ident if isinstance(item, Item) else str(item)


def _short(item: object) -> str:
    if not isinstance(item, Item):
        return ""
    given = {name: getattr(item, name) for name in type(item).model_fields if name in item.model_fields_set}
    return ", ".join(f"{name}={value}" for name, value in given.items() if name != item.identity)


def _source(path: str, provenance: Provenance) -> str:
    candidates = [path, path.rpartition(".")[0]]
    for candidate in candidates:
        if candidate in provenance:
            return "; ".join(provenance[candidate])
    return "default"
