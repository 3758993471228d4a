"""The lab's stand-in for tdnf; see README.md. `labtdnf` is the program, `tdnf` what /usr/bin/tdnf becomes."""
