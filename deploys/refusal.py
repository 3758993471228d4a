"""What cannot be done as it was asked for. On its own, for programs that must answer at once and import little."""


class Refusal(Exception):  # noqa: N818 - it is no error of ours
    """The message says what is wrong, where, and what to do."""
