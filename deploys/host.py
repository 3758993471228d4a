"""Bring hosts to their policies, install what their update policy wants, and prove it.

pyinfra inventories/prod.py deploys/host.py                                    every policy of every host
pyinfra inventories/prod.py deploys/host.py --dry                              what would change
pyinfra inventories/prod.py deploys/host.py --limit web-3 --data only=firewall
pyinfra inventories/prod.py deploys/host.py --data prove=false                 without the proof at the end
pyinfra inventories/prod.py deploys/host.py --data why="ticket 4711"           what other runs and the host are told
"""

from pyinfra import host

from deploys._plan import keep_to_plan, look_for_changes, planned, prove_plan
from deploys._run import begin, contained, known_to_inspect, proof, selected, summarise_at_exit
from deploys.guard import guarded
from deploys.rollout.plan import INSTALLED
from deploys.update.current import keep_current
from inventories._merge import effective_of

known_to_inspect(__file__)
summarise_at_exit()
look_for_changes()
owner = begin()
applied = []

# Every host walks every policy, so that an operation has the same place in every host's order.
for kind in host.loop(selected()):
    with planned(kind.name), contained():
        policy = effective_of(host).get(kind.name)
        if policy is not None:
            policy.prepare()
            with guarded(policy, owner):
                policy.apply()
            applied.append(policy)

with planned(INSTALLED), contained():
    keep_current(owner, applied)

with contained():
    prove_plan(applied)
    keep_to_plan()

if host.data.get("prove", default=True):
    proof(name="Prove every policy", policies=applied)
