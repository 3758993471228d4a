"""photon-fleet, or python -m deploys: what pyinfra's own command line does not tell, and rollouts."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

import click
from typing_extensions import override

from deploys.refusal import Refusal
from deploys.statuses import Status

COMMANDS = {
    **dict.fromkeys(("explain", "rules", "seed"), "deploys._look"),
    "verify": "deploys._verify",
    **dict.fromkeys(("plan", "drift"), "deploys.rollout.look"),
    "doctor": "deploys.rollout.doctor",
    **dict.fromkeys(("rollout", "serve", "watch"), "deploys.rollout.cli"),
    **dict.fromkeys(("worker", "database"), "deploys.rollout.engine.cli"),
    **dict.fromkeys(("status", "pause", "resume", "abort", "approve", "retry", "rollback"), "deploys.rollout.steer"),
    **dict.fromkeys(("report", "metrics", "web"), "deploys.report.cli"),
}  # fmt: skip


class Lazy(click.Group):
    """Commands whose modules are imported when they are used: `status` must not wait for what a converge needs."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        found = getattr(import_module(place), cmd_name)
        assert isinstance(found, click.Command)  # noqa: S101 - for the type checker
        return found


@click.command(cls=Lazy)
def main() -> None:
    """Look at policies, roll them out, and report what came of them."""


def run() -> int:
    """The command line, with input errors as one message."""
    try:
        main.main(standalone_mode=False)
    except Refusal as error:
        click.echo(f"error: {error}", err=True)
        return Status.REFUSED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return 0


def script() -> NoReturn:
    """The same, installed as `photon-fleet`."""
    sys.exit(run())


if __name__ == "__main__":
    script()
