"""Imported by a run that is to wait shorter before it asks again: the simulator is quicker than a vCenter."""

from functools import cache

from pyinfra.api import connectors

from deploys.vsphere import looks, ready, rest, session

SECONDS = 0.1
looks.LOOK_SECONDS = ready.LOOK_SECONDS = rest.PAUSE_SECONDS = session.PAUSE_SECONDS = SECONDS
# Read for each host of a run, to the same end.
connectors.entry_points = cache(connectors.entry_points)
