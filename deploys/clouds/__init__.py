"""Machines on EC2 and GCE: made, changed, and found by what they bear of ours. See docs/clouds.md."""
