"""Entry of the stand-in for tdnf: `python3 /usr/lib/lab-tdnf ARGUMENTS` (the file `tdnf` here does that)."""

from __future__ import annotations

import os
import sys

from labtdnf.cli import main  # type: ignore[import-not-found]  # The folder is what Python runs, not a package.

status = main([os.environ.pop("LAB_TDNF_NAME", "tdnf"), *sys.argv[1:]])
sys.stdout.flush()
sys.stderr.flush()
# librpm and libsolv objects are not worth taking apart one by one.
os._exit(status)
