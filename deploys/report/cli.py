"""The commands that show rows: report, metrics, web."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from deploys.refusal import Refusal
from deploys.report.document import document
from deploys.report.html import html
from deploys.report.junit import junit
from deploys.report.markdown import markdown
from deploys.report.metrics import metrics as metrics_of
from deploys.report.model import Report
from deploys.report.read import of_fleet, of_names, of_rollout
from deploys.report.web import serve
from deploys.rollout.place import place_of, store_of
from deploys.rollout.store.policies import HostRow, hosts_in, hosts_of_fleet
from deploys.rollout.store.store import Store


@click.command()
@click.argument("ident", type=int, required=False)
@click.option("--fleet", metavar="INVENTORY", default=None, help="The hosts of an inventory, also untouched ones.")
@click.option("--format", "form", type=click.Choice(["html", "markdown", "junit", "json"]), default="html")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="A file. [default: standard output]")
def report(ident: int | None, fleet: str | None, form: str, output: Path | None) -> None:
    """Report on rollout IDENT, or (without it) on the fleet: the newest word on every host."""
    if ident is not None and fleet is not None:
        message = "report: give a rollout's number or --fleet, not both"
        raise Refusal(message)
    store = store_of(place_of(Path.cwd()))
    written(_rendered(store, ident, _names(fleet), form), output)


def _names(inventory: str | None) -> list[str] | None:
    if inventory is None:
        return None
    from deploys.verify.session import loaded  # noqa: PLC0415 - a rollout's report needs no inventory

    with loaded(inventory, ()) as session:
        return [member.name for member in session.hosts]


def _rendered(store: Store, ident: int | None, names: list[str] | None, form: str) -> Iterable[str]:
    now = datetime.now(UTC)

    def hosts() -> Iterator[HostRow]:
        if ident is not None:
            return hosts_in(store, ident)
        return hosts_of_fleet(store) if names is None else of_names(hosts_of_fleet(store), names)

    found = of_rollout(store, ident, now) if ident is not None else of_fleet(store, now, names)
    forms: dict[str, Callable[[Report], Iterable[str]]] = {
        "html": lambda found: html(found).splitlines(), "markdown": markdown,
        "junit": lambda found: junit(found.title, hosts, found.progress), "json": lambda found: document(found, hosts),
    }  # fmt: skip
    return forms[form](found)


def written(lines: Iterable[str], output: Path | None) -> None:
    """Write lines to standard output, or to a file that is whole at every moment.

    Raises:
        Refusal: the file cannot be written.
    """
    if output is None:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        return
    # Hidden, and without the suffix that a collector of such files looks for.
    new = output.with_name(f".{output.name}.{os.getpid()}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        new.replace(output)
    except OSError as error:
        new.unlink(missing_ok=True)
        message = f"{output}: {error.strerror or error}"
        raise Refusal(message) from error


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=None, help="A file, such as a textfile collector's.")
def metrics(output: Path | None) -> None:
    """Print metrics in Prometheus' text form."""
    store = store_of(place_of(Path.cwd()))
    written(metrics_of(store, datetime.now(UTC)).splitlines(), output)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--listen", default="127.0.0.1", show_default=True, help="A loopback address.")
def web(port: int, listen: str) -> None:
    """Show rollouts and the fleet in a browser on this machine. It can only be looked at."""
    store = store_of(place_of(Path.cwd()))
    serve(store, listen, port, click.echo)
