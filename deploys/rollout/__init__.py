"""Waves of hosts, the gates between them, and the journal of what came of each: see docs/rollout.md.

Rows are the truth: what was intended is written down before it is begun, and what came of it when it ended.
`decide` says what is next; it knows no clock and does nothing. An engine does what it says.
"""

UNPROVED = "PHOTON_FLEET_RESULT_UNPROVED"
"""The environment's word, when it is not empty, that a run proves nothing: all went well when all was carried out."""
RESULT = "PHOTON_FLEET_RESULT"
"""The environment's name of a file for what came of each host of a run: see results.py."""
OF = "PHOTON_FLEET_OF"
"""The environment's label of the rollout that a run is one of: hosts note their updates as its. Not an option, as a
commit of before there was one would refuse it."""
ONLY = "PHOTON_FLEET_ONLY"
"""The environment's names of the hosts that a run is about. All are merged and checked; pyinfra is given these alone,
as it looks through what is installed for each host that it is given, also for those outside of `--limit`."""
