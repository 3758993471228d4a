"""Jinja2 templates of `templates/<policy>/`: undefined names are errors, nothing is escaped, lines are kept."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"

_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - configuration files, not HTML
)


def render(template: str, **values: object) -> str:
    """The text of `templates/<template>.j2` with `values`."""
    return _environment.get_template(f"{template}.j2").render(**values)
