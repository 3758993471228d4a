"""What is known of a host before its first boot, and why it could not be logged in to after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from deploys.errors import InputError
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import Account, User
from deploys.policies.base import Policy
from deploys.policies.network import Network
from deploys.policies.ssh import Ssh
from deploys.vsphere.seed.first_boot import FirstBoot
from facts.ssh import Connection
from operations.keys import identity_of_key
from operations.network import HOST_NAME

ROOT = "root"


@dataclass(frozen=True)
class NewHost:
    """A host that is to be made.

    Args:
        name: what the inventory calls it.
        user: as whom the first run logs in (`ssh_user`).
        policies: the effective policies by name.
        first_boot: what else is needed.
    """

    name: str
    user: str
    policies: Mapping[str, Policy]
    first_boot: FirstBoot = field(default_factory=FirstBoot)

    @property
    def accounts(self) -> Accounts:
        """The accounts policy; one that says nothing when there is none."""
        found = self.policies.get(Accounts.name)
        return found if isinstance(found, Accounts) else Accounts()

    @property
    def network(self) -> Network:
        """The network policy; one that says nothing when there is none."""
        found = self.policies.get(Network.name)
        return found if isinstance(found, Network) else Network()

    @property
    def ssh(self) -> Ssh | None:
        """The ssh policy."""
        found = self.policies.get(Ssh.name)
        return found if isinstance(found, Ssh) else None

    @property
    def hostname(self) -> str:
        """What the host calls itself."""
        return self.network.hostname or self.name

    @property
    def account(self) -> User | None:
        """The user of the first login; None for root, and for one that the accounts policy does not have."""
        return next((user for user in self.accounts.users if user.name == self.user), None)

    def login_keys(self) -> list[str]:
        """The public keys of the first login, each once."""
        owner = self.accounts.root if self.user == ROOT else self.account
        logins = self.ssh.logins if self.ssh else ()
        given = [*(owner.keys if owner else ()), *self.first_boot.keys]
        given += [key for login in logins if login.user == self.user for key in login.keys]
        return list({identity_of_key(key): key for key in given}.values())

    def groups(self) -> list[str]:
        """The groups of the user of the first login."""
        account = self.account
        return [ROOT] if account is None else [account.group or account.name, *account.groups]

    def ports(self) -> tuple[int, ...]:
        """Where sshd listens."""
        return self.ssh.ports if self.ssh else (22,)

    def require(self, more: Iterable[str] = ()) -> None:
        """Refuse a host that nobody could log in to.

        Raises:
            InputError: with all of it, and what to do.
        """
        found = [*self.problems(), *more]
        if found:
            message = f"{self.name} could not be logged in to after its first boot:\n    " + "\n    ".join(found)
            raise InputError(message)

    def problems(self) -> Iterable[str]:
        """Why the first login would fail, whatever makes the host."""
        if not HOST_NAME.fullmatch(self.hostname):
            yield f"network.hostname: {self.hostname!r} is no host name: give one"
        if not _is_account(self.user):
            yield f"ssh_user: {self.user!r} is no name of a user"
            return
        if not self.login_keys():
            where = "accounts.root.keys" if self.user == ROOT else f"accounts.users[{self.user}].keys"
            yield f"no key lets {self.user} in: give one in {where}, in ssh.logins, or with FirstBoot(keys=[...])"
        if self.user != ROOT and self.account is None:
            yield f"ssh_user: {self.user} is not among the users of the accounts policy, and not root"
        elif self.user != ROOT and not self.has_free_sudo():
            yield (
                f"accounts.sudo: no rule lets {self.user} do everything without a password, as the first run must: "
                f"give one, such as Sudo(name={self.user!r}, who=[{self.user!r}], password=False)"
            )
        connection: Connection = {"user": self.user, "groups": self.groups(), "client": "", "server": "",
                                  "port": self.ports()[0], "interface": ""}  # fmt: skip
        for name, policy in (("ssh", self.ssh), ("accounts", self.accounts)):
            reason = policy.locks_out(connection) if policy else None
            if reason:
                yield f"{name}.{reason.replace('this run is', 'the first run is')}"

    def has_free_sudo(self) -> bool:
        """Whether a rule lets the user of the first login do everything without a password."""
        who = {self.user, *(f"%{group}" for group in self.groups())}
        return any(
            not rule.password and "ALL" in rule.commands and rule.run_as in {"ALL", ROOT} and who & set(rule.who)
            for rule in self.accounts.sudo
        )


def _is_account(name: str) -> bool:
    try:
        TypeAdapter(Account).validate_python(name)
    except ValidationError:
        return False
    return True
