"""makecache and clean."""

from __future__ import annotations

from .errors import NO_PERMISSION, TdnfError
from .session import Session

_KINDS = ("metadata", "dbcache", "packages", "keys", "expire-cache")
_HINT = """
tdnf repo cache needs to be refreshed but you have insufficient permissions
You can use one of the below methods to workaround this
1. Login as root and refresh cache
2. Use -c (--config) with a configuration file that has 'cachedir' set to a directory where you have access
3. Use -C (--cacheonly) and use the existing cache in the system
"""


def makecache(session: Session) -> int:
    try:
        session.cache.synchronize(session.repos, refresh=True)
    except TdnfError as error:
        if error.number == NO_PERMISSION:
            session.console.error(_HINT)
        raise
    session.console.line("Metadata cache created.")
    return 0


def clean(session: Session) -> int:
    if not session.words:
        raise TdnfError(903)
    kind = session.words[0]
    if kind == "plugins":
        raise TdnfError(1016)
    if kind != "all" and kind not in _KINDS:
        raise TdnfError(901)
    kinds = _KINDS if kind == "all" else (kind,)
    for repo in session.repos:
        session.console.info(f"cleaning {repo.id}: {' '.join(kinds)}")
        session.cache.clean(repo, kinds)
    session.console.info("Done.")
    return 0
