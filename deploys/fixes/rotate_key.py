"""Replace a leaked SSH key by a new one in the authorized_keys of every user who has it.

pyinfra inventories/prod.py deploys/fixes/rotate_key.py --data old=leaked.pub --data new=fresh.pub --data why="..."

The run itself logs in with another key than the leaked one, or names the new private key by the host data
`ssh_next_key`, with which the guard then proves that the next run gets in.
"""

from pathlib import Path

from pyinfra import host

from deploys.errors import InputError
from deploys.fixes._fix import begin_fix, option
from deploys.guard import guarded
from deploys.policies.accounts import Accounts
from deploys.policies.accounts_models import User
from facts.fixes import KeyHolders
from operations import fixes, keys
from operations.keys import identity_of_key


def public_key(name: str) -> str:
    """The public key in the file of `--data NAME=`."""
    path = Path(option(name)).expanduser()
    try:
        line = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"--data {name}={path}: {error}"
        raise InputError(message) from error
    if not identity_of_key(line) or "\n" in line:
        message = f"--data {name}={path}: this is no public key (ssh-keygen makes one beside the private key, .pub)"
        raise InputError(message)
    return line


old, new = public_key("old"), public_key("new")
if identity_of_key(old) == identity_of_key(new):
    both = "--data old= and new= are the same key"
    raise InputError(both)
owner = begin_fix(__file__, f"replaced the key {' '.join(old.split()[2:]) or old.split()[1][-12:]}")
blob = identity_of_key(old).split()[1]
holders = host.get_fact(KeyHolders, key=blob)
touched = Accounts(users=[User(name=user) for user in holders if user != "root"])
with guarded(touched, owner):
    for user in host.loop(holders):
        keys.replaced_key(name=f"Replace the key of {user}", user=user, old=old, new=new)
fixes.nobody_has(name="Prove that nobody has the old key", key=blob)
