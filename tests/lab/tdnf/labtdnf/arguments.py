"""The command line: long options with one dash or two, short ones that can be joined, words in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import TdnfError

SHORT_FLAGS = {
    "4": "ipv4", "6": "ipv6", "b": "best", "C": "cacheonly", "h": "help", "q": "quiet", "v": "verbose",
    "x": "", "y": "assumeyes",
}  # fmt: skip
SHORT_VALUES = {"c": "config", "d": "debuglevel", "e": "", "i": "installroot"}
FLAGS = set(
    "alldeps allowerasing assumeno assumeyes best builddeps cacheonly debugsolver disableexcludes downloadonly help "
    "json noautoremove nodeps nogpgcheck nocligpgcheck noplugins quiet refresh reboot-required security skip-broken "
    "skipconflicts skipdigest skipobsoletes skipsignature source testonly verbose version delete download-metadata "
    "gpgcheck newest-only norepopath urls available extras installed userinstalled upgrades changelogs conflicts "
    "depends duplicates enhances list location obsoletes provides recommends requires requires-pre suggests "
    "supplements all info summary recent updates downgrades reverse".split()
)
VALUES = set(
    "config debuglevel disableplugin disablerepo downloaddir enableplugin enablerepo exclude forcearch installroot "
    "releasever repo repofromdir repofrompath repoid rpmverbosity rpmdefine sec-severity setopt arch download-path "
    "metadata-path file whatdepends whatprovides whatobsoletes whatconflicts whatrequires whatrecommends whatsuggests "
    "whatsupplements whatenhances to from".split()
)
REPEATED = {
    "disablerepo",
    "enablerepo",
    "exclude",
    "repo",
    "repofrompath",
    "repoid",
    "rpmdefine",
    "setopt",
    "arch",
}
# Accepted by tdnf, with an effect that the stand-in does not have.
UNCOVERED = {
    "alldeps", "builddeps", "source", "forcearch", "repofromdir", "nocligpgcheck", "debugsolver", "skipdigest",
    "rpmverbosity", "enableplugin", "location",
}  # fmt: skip


@dataclass
class Arguments:
    """What was asked for: options by name, and the words, the command first."""

    program: str
    json: bool = False
    options: dict[str, str | bool] = field(default_factory=dict)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    """Options that may be given more than once, in order."""
    words: list[str] = field(default_factory=list)
    option_words: list[str] = field(default_factory=list)

    @property
    def command_line(self) -> str:
        """As the history shows it: options first."""
        return " ".join([*self.option_words, *self.words])

    def flag(self, name: str) -> bool:
        return bool(self.options.get(name))

    def value(self, name: str) -> str | None:
        value = self.options.get(name)
        return value if isinstance(value, str) else None

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.repeated if name in names]


class PlainError(TdnfError):
    """An error of the command line: plain text even with -j. `stdout` and `stderr` come before it."""

    def __init__(self, number: int, *, stdout: str = "", stderr: str = "") -> None:
        super().__init__(number)
        self.stdout, self.stderr = stdout, stderr


def parse(argv: list[str]) -> Arguments:
    """Parse `argv`, the program's name first.

    Raises:
        PlainError: as tdnf reports errors of the command line.
    """
    arguments = Arguments(argv[0])
    if argv[0].endswith("tdnfj"):
        arguments.json = arguments.options["assumeyes"] = True
    rest = list(argv[1:])
    words_only = False
    while rest:
        word = rest.pop(0)
        if words_only or not word.startswith("-") or word == "-":
            arguments.words.append(word)
            continue
        if word == "--":
            words_only = True
            continue
        arguments.option_words.append(word)
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("--") or (len(name) > 1 and name in FLAGS | VALUES):
            _long(arguments, word, name, value if equals else None, rest)
        else:
            _short(arguments, word, rest)
    arguments.json |= arguments.flag("json")
    _check(arguments)
    return arguments


def _long(arguments: Arguments, word: str, name: str, value: str | None, rest: list[str]) -> None:
    if name in FLAGS and value is None:
        arguments.options[name] = True
    elif name in VALUES:
        if value is None:
            value = _argument(arguments, word, rest)
        _store(arguments, name, value)
    else:
        raise PlainError(908, stdout=f"No such option: {word}. Please use /usr/bin/tdnf --help\n")


def _short(arguments: Arguments, word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == "j":
            arguments.json = True
        elif letter in SHORT_FLAGS:
            arguments.options[SHORT_FLAGS[letter]] = True
        elif letter in SHORT_VALUES:
            _store(arguments, SHORT_VALUES[letter], letters or _argument(arguments, word, rest))
            letters = ""
        else:
            raise PlainError(908, stdout=f"No such option: {word}. Please use /usr/bin/tdnf --help\n")


def _argument(arguments: Arguments, word: str, rest: list[str]) -> str:
    if not rest:
        raise PlainError(909, stderr=f"Option {word} requires an argument\n")
    arguments.option_words.append(rest[0])
    return rest.pop(0)


def _store(arguments: Arguments, name: str, value: str) -> None:
    if name == "setopt" and "=" not in value:
        raise PlainError(911)
    if name in REPEATED:
        arguments.repeated.append((name, value))
    else:
        arguments.options[name] = value


def _check(arguments: Arguments) -> None:
    root = arguments.value("installroot")
    if root is not None and not root.startswith("/"):
        raise PlainError(1622, stdout="Install root must be an absolute path.\n")
    if "" in arguments.words:
        raise PlainError(1622, stderr="argument is empty string\n")
    if arguments.value("downloaddir") and not arguments.flag("downloadonly"):
        raise PlainError(913)
    if arguments.flag("nodeps") and not arguments.flag("downloadonly"):
        raise PlainError(915)
