"""Checks to verdicts: every check of every policy of a host, read through testinfra on the connection that is open."""

from deploys.verify.backend import ConnectionBackend, testinfra_host
from deploys.verify.verdicts import Proof, Verdict, prove, report

__all__ = ["ConnectionBackend", "Proof", "Verdict", "prove", "report", "testinfra_host"]
