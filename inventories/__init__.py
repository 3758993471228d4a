"""Hosts, groups and their policies; the connectors that reach them."""
