"""Times as people write them."""

from fractions import Fraction


def parse_time(text: str) -> Fraction:
    """Seconds of ``12.5``, ``1:30`` or ``1:02:03.5``. Raises ValueError for anything else."""
    seconds = Fraction(0)
    for part in text.split(":"):
        try:
            seconds = seconds * 60 + Fraction(part.replace("-", "minus"))
        except (ValueError, ZeroDivisionError):
            raise ValueError(text) from None
    if text.count(":") > 2:
        raise ValueError(text)
    return seconds


def name_time(time: Fraction) -> str:
    """Seconds as ``parse_time`` reads them, to the hundredth: 0:01.50, or 1:02:03.50."""
    hundredths = round(time * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest / 100:05.2f}"
