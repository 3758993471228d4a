"""tdnf's errors: the number is what callers read, the exit status is the number modulo 256."""

from __future__ import annotations

import errno
import os

NO_SEARCH_RESULTS = 1599
NO_MATCH = 1011
NOT_ROOT = 1601
NO_PERMISSION = 1613
INVALID_PARAMETER = 1622
SYSTEM_BASE = 1600
CURL_BASE = 1200

MESSAGES = {
    901: "There was no match for the search.",
    902: "Invalid argument.",
    903: "Clean requires an option: packages, metadata, dbcache, plugins, expire-cache, all",
    907: "Need an item to match.",
    908: "Command line error: option is invalid.",
    909: "Command line error: expected one argument.",
    911: "Missing equal sign in setopt argument. setopt requires an argument of the form key=value.",
    912: "Please check your command",
    913: "--downloaddir requires --downloadonly",
    915: "--nodeps requires --downloadonly",
    1001: "Please specify a package name.",
    1005: "Error opening repo dir. Check if the repodir configured in tdnf.conf exists (usually /etc/yum.repos.d)",
    NO_MATCH: "No matching packages",
    1016: "Clean type specified is not supported in this release. Please try clean all.",
    1022: "distroverpkg config entry is set to a package that is not installed. Check /etc/tdnf/tdnf.conf",
    1030: "The operation would result in removing a protected package.",
    1032: "Operation aborted.",
    1033: "Invalid input.",
    1034: "cache only is set, but no repo data found",
    1036: "Insufficient disk space at cache directory {cachedir} (unless specified differently in config). "
    "Try freeing space first.",
    1037: "Duplicate repo id",
    1207: "Couldn't resolve host name",
    1208: "Couldn't connect to server",
    1219: "Transferred a partial file",
    1228: "Timeout was reached",
    1301: "Solv general runtime error",
    1304: "Solv - I/O error",
    1514: "RPM is signed but failed to match with known keys. Use --nogpgcheck to ignore.",
    1523: "gpgkey entry is missing for this repo. please add gpgkey in repo file or use --nogpgcheck to ignore.",
    1525: "rpm transaction failed",
    1528: "File checksum does not match.",
    NO_SEARCH_RESULTS: "No matches found",
    NOT_ROOT: "Operation not permitted. You have to be root.",
    1801: "Unknown error 201",
    1802: "History database error",
    2500: "Base URL and Metalink URL not found in the repo file",
}


class TdnfError(Exception):
    """One of tdnf's errors, by its number."""

    def __init__(self, number: int, message: str | None = None) -> None:
        self.number = number
        self.message = message or MESSAGES.get(number) or os.strerror(number - SYSTEM_BASE)
        super().__init__(f"Error({number}) : {self.message}")


class NothingError(TdnfError):
    """Not a failure: exit 0, with a message on stderr and nothing with -j."""


def system_error(error: OSError) -> TdnfError:
    return TdnfError(SYSTEM_BASE + (error.errno or errno.EIO))


def nothing_to_do() -> NothingError:
    return NothingError(1013, "Nothing to do.")


def no_data() -> NothingError:
    return NothingError(SYSTEM_BASE + errno.ENODATA, "No data available")


class UncoveredError(Exception):
    """The stand-in does not cover this; it says so and stops (exit 70)."""
