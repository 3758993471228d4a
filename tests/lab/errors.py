"""The one exception of the lab. Its text is for the person at the terminal: what is wrong, what to do."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked; the message says why and what to do about it."""
