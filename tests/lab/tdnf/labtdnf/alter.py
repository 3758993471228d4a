"""Commands that change packages: install, remove, update, downgrade, reinstall, autoremove, distro-sync."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import solv  # Only the guest has it.

from . import advisories, net
from .console import size, widths
from .errors import MESSAGES, NO_MATCH, TdnfError, nothing_to_do
from .history import History
from .keys import Ask
from .plan import Plan, Planner, from_words
from .sack import Sack, Solvable, download_size, install_size, without_epoch
from .session import Session
from .transaction import Transaction

_J = solv.Job


def install(session: Session) -> int:
    files = _package_files(session)
    sack, planner = _prepare(session, files)

    def add(name: str) -> list[Solvable]:
        best = sack.installable(name)
        if sack.has_same(best):
            _mark_wanted(name)
            session.console.error(f"Package {name} is already installed.")
            return []
        return [best]

    local = [package for package in sack.pool.solvables if package.repo.name == "@cmdline"]
    chosen = [*local, *from_words(sack, _words(session), add)]
    plan = _solve(session, planner, chosen, _J.SOLVER_INSTALL)
    plan.wanted = {package.name for package in chosen}
    return execute(session, plan)


def check(session: Session) -> int:
    """Whether everything in the repos could be installed at once."""
    sack, planner = _prepare(session)
    if not any(repo.enabled for repo in session.repos):
        raise TdnfError(NO_MATCH)
    names = dict.fromkeys(package.name for package in sack.available())
    chosen = [best for best in map(sack.installable, names) if not sack.has_same(best)]
    planner.solve(planner.jobs(_J.SOLVER_INSTALL, chosen))
    return 0


def remove(session: Session) -> int:
    sack, planner = _prepare(session)

    def add(name: str) -> list[Solvable]:
        return sack.installed([name]) and sack.installed([name])

    return execute(session, _solve(session, planner, from_words(sack, _words(session), add), _J.SOLVER_ERASE))


def reinstall(session: Session) -> int:
    sack, planner = _prepare(session)

    def add(name: str) -> list[Solvable]:
        present = sack.installed([name])
        found = sack.available([f"{name}-{present[0].evr}"]) if present else []
        if not found:
            raise TdnfError(NO_MATCH)
        return [found[0]]

    return execute(session, _solve(session, planner, from_words(sack, _words(session), add), _J.SOLVER_INSTALL))


def update(session: Session) -> int:
    sack, planner = _prepare(session)
    filters = ("security", "sec-severity", "reboot-required")
    words = session.words
    if any(session.arguments.options.get(name) for name in filters):
        words = advisories.names_to_update(session, sack)
    elif not words:
        return execute(session, planner.solve(planner.all_job(_J.SOLVER_UPDATE)))

    def add(name: str) -> list[Solvable]:
        best = sack.highest_available(name)
        return [best] if best.evrcmp(sack.highest_installed(best.name)) > 0 else []

    return execute(session, _solve(session, planner, from_words(sack, words, add), _J.SOLVER_INSTALL))


def downgrade(session: Session) -> int:
    sack, planner = _prepare(session)

    def add(name: str) -> list[Solvable]:
        candidates = sack.available([name])
        if not candidates:
            raise TdnfError(NO_MATCH)
        lowest = sack.lowest_installed(candidates[0].name)
        lower = [candidate for candidate in candidates if candidate.evrcmp(lowest) < 0]
        if not lower:
            session.console.error(f"There is no downgrade path for {name}.")
            return []
        best = lower[0]
        for candidate in lower[1:]:
            best = candidate if candidate.evrcmp(best) > 0 else best
        return [best]

    words = session.words or [package.name for package in sack.installed()]
    return execute(session, _solve(session, planner, from_words(sack, words, add), _J.SOLVER_INSTALL))


def distro_sync(session: Session) -> int:
    _, planner = _prepare(session)
    return execute(session, planner.solve(planner.all_job(_J.SOLVER_DISTUPGRADE)))


def autoremove(session: Session) -> int:
    """Without a name: the automatic packages that nothing installed requires, one layer of them per run."""
    sack, planner = _prepare(session)
    history = History()
    if session.words:
        chosen = from_words(sack, session.words, lambda name: sack.installed([name]))
        clean = True
    else:
        automatic = history.auto_installed()
        chosen = [p for p in sack.installed_repo.solvables if p.name in automatic and not _required(sack, p)]
        clean = False
    if not chosen:
        raise nothing_to_do()
    jobs = planner.jobs(_J.SOLVER_ERASE, chosen) + planner.user_installed(history)
    return execute(session, planner.solve(jobs, erasing=True, clean=clean))


def _required(sack: Sack, package: Solvable) -> bool:
    others = [other for other in sack.installed_repo.solvables if other.id != package.id]
    provided = package.lookup_deparray(solv.SOLVABLE_PROVIDES)
    keys = (solv.SOLVABLE_REQUIRES, solv.SOLVABLE_RECOMMENDS)
    return any(other.matchesdep(key, dep) for other in others for key in keys for dep in provided)


def _prepare(session: Session, files: tuple[str, ...] = ()) -> tuple[Sack, Planner]:
    sack = session.sack(files=files)
    return sack, Planner(sack, session.config, session.arguments, session.console)


def _words(session: Session) -> list[str]:
    if not session.words:
        raise TdnfError(1001)
    return session.words


def _package_files(session: Session) -> tuple[str, ...]:
    """The words that are package files or URLs of them; the latter are downloaded."""
    files = []
    for word in session.words:
        if "://" in word and word.endswith(".rpm"):
            target = session.config.cache / "@cmdline" / Path(word).name
            target.parent.mkdir(parents=True, exist_ok=True)
            net.fetch_url(word, target, session.console)
            files.append(str(target))
        elif word.endswith(".rpm") and Path(word).is_file():
            files.append(word)
    return tuple(files)


def _mark_wanted(name: str) -> None:
    history = History(create=True)
    if name in history.auto_installed():
        history.set_automatic([name], value=False)


def _solve(session: Session, planner: Planner, chosen: list[Solvable], how: int) -> Plan:
    if not chosen:
        raise nothing_to_do()
    jobs = planner.jobs(how, chosen)
    erasing = how == _J.SOLVER_ERASE or session.arguments.flag("allowerasing")
    clean = session.config.true("clean_requirements_on_remove") and not session.arguments.flag("noautoremove")
    if erasing:
        # Without a history nothing is known to be automatic.
        with contextlib.suppress(TdnfError):
            jobs += planner.user_installed(History())
    return planner.solve(jobs, erasing=erasing, clean=clean)


def execute(
    session: Session, plan: Plan, *, of_history: bool = False, done: Callable[[History], None] | None = None
) -> int:
    """Show the plan, ask, and carry it out. `done` may add to the history that was written."""
    if not plan:
        raise nothing_to_do()
    needed = sum(download_size(package) for package in plan.downloads)
    if needed > net.free_bytes(session.config.cache):
        raise TdnfError(1036, MESSAGES[1036].format(cachedir=session.config.cache))
    _show(session, plan)
    ask = _asker(session)
    # With -j the answer, and --assumeno, do not count for history commands. That is what tdnf does.
    if not (of_history and session.arguments.json):
        ask()
    elif not (session.arguments.flag("assumeyes") or session.arguments.flag("assumeno")):
        _read_answer(session)
    if session.arguments.flag("downloadonly"):
        session.console.info("tdnf will only download packages needed for the transaction")
    transaction = Transaction(plan, session.repos, session.config, session.arguments, session.console)
    history = transaction.run(command=session.arguments.command_line, ask=ask)
    if history is not None:
        names = [package.name for package in plan.install]
        history.set_automatic([name for name in names if name not in plan.wanted], value=True)
        history.set_automatic([name for name in names if name in plan.wanted], value=False)
        if done is not None:
            done(history)
    return 0


def _show(session: Session, plan: Plan) -> None:
    console = session.console
    if console.silent:
        return
    if console.json:
        console.document(
            {key: [_entry(package) for package in packages] for _, key, packages in plan.sections if packages}
        )
        return
    for title, _, packages in plan.sections:
        if packages:
            _table(session, title, packages)


def _entry(package: Solvable) -> dict[str, str | int]:
    return {
        "Name": package.name,
        "Arch": package.arch,
        "Evr": without_epoch(package),
        "InstallSize": install_size(package),
        "Repo": package.repo.name,
    }


def _table(session: Session, title: str, packages: list[Solvable]) -> None:
    name, arch, evr, repo, installed, download = widths([20, 15, 20, 15, 10, 10])
    session.console.info(f"\n{title}:")
    for package in packages:
        sizes = f"{size(install_size(package)):<{installed}} {size(download_size(package)):>{download}}"
        session.console.info(
            f"{package.name:<{name}} {package.arch:<{arch}} {package.evr:<{evr}} {package.repo.name:<{repo}} {sizes}"
        )
    totals = [sum(measure(package) for package in packages) for measure in (install_size, download_size)]
    session.console.info(f"\nTotal installed size: {size(totals[0])}")
    session.console.info(f"Total download size: {size(totals[1])}")


def _asker(session: Session) -> Ask:
    def ask() -> None:
        if session.arguments.flag("assumeyes"):
            return
        if session.arguments.flag("assumeno") or not _read_answer(session):
            raise TdnfError(1032)

    return ask


def _read_answer(session: Session) -> bool:
    """Ask until there is a y or an n; with -j nothing is printed, but the answer is read."""
    while True:
        if not session.console.json:
            sys.stdout.write("Is this ok [y/N]: ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            raise TdnfError(1033)
        answer = line.strip().lower()[:1]
        if answer in {"y", "n", ""}:
            return answer == "y"
