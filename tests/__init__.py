"""Tests of Photon Fleet. `tests.lab` is the lab, `tests.hosts` the acceptance suite for real fleets."""
