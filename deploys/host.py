"""Bring hosts to their policies, install what their update policy wants, and prove it.

pyinfra inventories/prod.py deploys/host.py                                    every policy of every host
pyinfra inventories/prod.py deploys/host.py --dry                              what would change
pyinfra inventories/prod.py deploys/host.py --limit web-3 --data only=firewall
pyinfra inventories/prod.py deploys/host.py --data prove=false                 without the proof at the end
pyinfra inventories/prod.py deploys/host.py --data why="ticket 4711"           what other runs and the host are told
"""

from pyinfra import host

from deploys._run import begin, contained, known_to_inspect, of_policy, proof, selected, summarise_at_exit
from deploys.guard import guarded
from deploys.update.current import keep_current
from inventories._merge import effective_of

known_to_inspect(__file__)
summarise_at_exit()
owner = begin()
applied = []

# Every host walks every policy, so that an operation has the same place in every host's order.
for kind in host.loop(selected()):
    with contained():
        policy = effective_of(host).get(kind.name)
        if policy is not None:
            with of_policy(kind.name):
                policy.prepare()
                with guarded(policy, owner):
                    policy.apply()
            applied.append(policy)

with contained(), of_policy("update"):
    keep_current(owner, applied)

if host.data.get("prove", default=True):
    proof(name="Prove every policy", policies=applied)
