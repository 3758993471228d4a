"""A report as one page of HTML: nothing is fetched from anywhere, and whatever came from outside is escaped."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deploys.report.model import Report

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "report"
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'"
"""The content security policy of every page, before what its own style and script need."""


def moment(at: datetime | None) -> str:
    """A moment for people."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else "never"


def span(length: timedelta) -> str:
    """A length of time in its two largest units."""
    seconds = max(0, round(length.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


@cache
def environment() -> Environment:
    """The templates of pages; unlike those of configuration files they escape."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=True,
    )  # fmt: skip
    made.filters.update(moment=moment, span=span, number=lambda value: f"{value:,}")
    return made


@cache
def text_of(name: str) -> str:
    """A style or script, as it stands in the page."""
    return (TEMPLATES / name).read_text()


def source(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(*, live: bool = False) -> str:
    """The content security policy of a page."""
    style = f"{POLICY}; style-src {source(text_of('page.css'))}"
    return f"{style}; script-src {source(text_of('live.js'))}; connect-src 'self'" if live else style


def page(name: str, *, live: bool, **values: Any) -> str:  # noqa: ANN401 - what the template takes
    """A page. `live`: one of the view in the browser, which keeps itself up to date."""
    given = {"css": text_of("page.css"), "js": text_of("live.js") if live else "", "policy": policy(live=live)}
    return environment().get_template(f"{name}.html.j2").render(live=live, **given, **values)


def html(report: Report, *, live: bool = False) -> str:
    """The page of a report."""
    values: dict[str, Any] = {"report": report, "hosts": report.hosts}
    if report.progress is not None:
        end = report.ended or report.at
        values |= {"begin": report.progress.rollout.created, "end": end, "place": _place(report, end)}
    return page("rollout" if report.progress else "fleet", live=live, **values)


def _place(report: Report, end: datetime) -> Any:  # noqa: ANN401 - a function of the template
    """Where a moment is on the axis of a rollout, in percent."""
    begin = report.progress.rollout.created if report.progress else end
    whole = max((end - begin).total_seconds(), 1e-3)
    return lambda at: round(100 * min(1.0, max(0.0, ((at or end) - begin).total_seconds() / whole)), 2)
