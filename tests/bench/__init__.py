"""Benchmarks: our converge beside other tools', on lab hosts, through one proxy that delays and counts. See docs."""
