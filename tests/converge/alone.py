"""One policy on one lab host, without the others: what the tests of a policy do over and over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.converge.conftest import INVENTORY, ROOT, Done, changes, converge, dry, prove
from tests.converge.test_2_drift import failed


def _of_the_base() -> list[str]:
    """The lines of the lab's inventory by which every host has these policies already."""
    lines = (ROOT / INVENTORY).read_text().splitlines(keepends=True)
    return [
        line
        for line in lines
        if line.startswith(("    Time(", "    Files(", "    Services(", "    Logging(", "    Kernel("))
    ]


@dataclass(frozen=True)
class Alone:
    """The inventory that gives `policy` to `host`, and runs of it. `name` may be several policies, with commas."""

    name: str
    policy: str
    imports: str
    variant: Callable[..., str]
    host: str = "db-1"

    @property
    def inventory(self) -> str:
        return self.variant({self.host: self.policy}, self.imports, dict.fromkeys(_of_the_base(), ""))

    def converge(self, *options: str, **env: str) -> Done:
        return converge(
            "--json", "--limit", self.host, "--data", f"only={self.name}", *options, inventory=self.inventory, **env
        )

    def dry(self, *options: str) -> Done:
        return dry("--limit", self.host, "--data", f"only={self.name}", *options, inventory=self.inventory)

    def ready(self) -> None:
        """Bring the host to the policy, whatever an earlier test has left."""
        done = self.converge("--data", "prove=false")
        assert done.status == 0, done.all

    def follows(self) -> None:
        """Bring the host to the policy; a second run then changes nothing, and the proof passes."""
        done = self.converge()
        assert done.status == 0, done.all
        again = self.converge()
        assert (again.status, changes(again)["success"]) == (0, 0), again.all

    def broken(self) -> set[str]:
        """Ids of the checks that fail now."""
        return failed(prove("--limit", self.host, "--only", self.name, inventory=self.inventory).out)

    def refused(self) -> str:
        """What a run says that must fail."""
        done = self.converge()
        assert done.status == 1, done.all
        return done.err

    def mended(self) -> int:
        """The number of changes of a run that must succeed, after which nothing is left to do."""
        done = self.converge()
        assert done.status == 0, done.all
        assert changes(self.converge())["success"] == 0
        return changes(done)["success"]
