"""Whether a run was as long as it was to be."""

EARLY_SECONDS = 1.0
"""By how much a run may seem short that was not: Locust's clock begins a moment earlier."""


def is_cut_short(seconds: float, planned: int | None, *, interrupted: bool) -> bool:
    """Return whether a run was shorter than planned; one without an end is, where interrupted."""
    if planned is None:
        return interrupted
    return seconds < planned - (0 if interrupted else EARLY_SECONDS)


def cut_short_after(seconds: float, planned: int | None) -> str:
    """Return words like `cut short after 2 of 30 s`."""
    whole = "" if planned is None else f" of {planned:,}"
    return f"cut short after {round(seconds, 1):g}{whole} s"
