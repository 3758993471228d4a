"""Machines on EC2 and GCE: made, changed, and found by what they bear of ours."""

# The policies know the settings of clouds, which are made as policies are: whoever is asked for, these come first.
import deploys.policies  # noqa: F401
