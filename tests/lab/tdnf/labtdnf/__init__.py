"""A stand-in for tdnf, Photon OS's package manager: NOT tdnf itself.

It works on the real RPM database through librpm, and solves with libsolv as tdnf does. What it prints and how it
exits is held to recordings of the real tdnf 3.5.9 by tests/contract. What it does not cover it refuses, loudly.
"""

VERSION = "3.5.9"
