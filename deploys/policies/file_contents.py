"""Where the text of a file comes from: the inventory, the controller's disk, a template, or a secret."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, TemplateError
from pydantic import InstanceOf

from deploys.policies.base import Model
from deploys.policies.secret import Secret

MAX_BYTES = 1_000_000
_environment = Environment(
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - configuration files, not HTML
)


class Local(Model):
    """A text file of the controller: `Local(path="files/motd")`."""

    path: Path


class Template(Model):
    """A Jinja2 template of the controller, with values; a name that has none is an error before any connection."""

    path: Path
    values: Mapping[str, InstanceOf[Secret] | str | int | float | bool | tuple[str, ...]]

    @property
    def has_secrets(self) -> bool:
        """Whether a value is a secret: then the whole text is one."""
        return any(isinstance(value, Secret) for value in self.values.values())


# As instances: what is none of these is told so, and not as an attempt to make one.
Content = InstanceOf[Secret] | InstanceOf[Local] | InstanceOf[Template] | str


def text_of(content: Content) -> str:
    """The text.

    Raises:
        ValueError: the controller's file cannot be read, or the template cannot be rendered.
        InputError: a secret cannot be had.
    """
    match content:
        case str():
            return content
        case Secret():
            return content.resolve()
        case Local(path=path):
            return _read(path)
        case Template(path=path, values=values):
            known = {name: value.resolve() if isinstance(value, Secret) else value for name, value in values.items()}
            return _rendered(path, known)


def shown(content: Content) -> str:
    """The text with references in the place of secrets: says what is wrong without having a secret.

    Raises:
        ValueError: the controller's file cannot be read, or the template cannot be rendered.
    """
    match content:
        case Secret():
            return str(content)
        case Template(path=path, values=values):
            return _rendered(path, {name: str(v) if isinstance(v, Secret) else v for name, v in values.items()})
    return text_of(content)


def _rendered(path: Path, values: Mapping[str, object]) -> str:
    try:
        return _environment.from_string(_read(path)).render(values)
    except TemplateError as error:
        # Jinja's own text names the variable or the place, never a value.
        message = f"{path}: {error.message or type(error).__name__}"
        raise ValueError(message) from None


@lru_cache(maxsize=1024)
def _read(path: Path) -> str:
    try:
        data = path.expanduser().read_bytes()
        text = data.decode()
    except UnicodeDecodeError:
        message = f"{path} is no text in UTF-8"
        raise ValueError(message) from None
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ValueError(message) from None
    if len(data) > MAX_BYTES:
        message = f"{path} has {len(data)} bytes; more than {MAX_BYTES} are not for this policy: make a package of it"
        raise ValueError(message)
    return text
