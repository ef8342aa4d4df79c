"""Plots for a page, as SVG in the colours of the text around them."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

INK = "#010203"
"""A colour that nothing else has; in the page it becomes that of the text."""

ACCENT, SECOND = "#1f6feb", "#d29922"

WIDTH, HEIGHT = 6.4, 2.4
"""Inches, of 72 units each."""


def pace(points: Sequence[tuple[float, int]]) -> str:
    """Frames a second over the time of the run; ``points`` are seconds and frames done. Empty where there
    is nothing to show."""
    if len(points) < 3:
        return ""
    import numpy as np

    seconds, frames = np.array(points, float).T
    # Over a fortieth of the run at a time: a single frame's time says little.
    grid = np.linspace(seconds[0], seconds[-1], min(41, len(points)))
    speed = np.diff(np.interp(grid, seconds, frames)) / np.maximum(np.diff(grid), 1e-9)
    figure, axes = _figure()
    axes.step(grid[1:], speed, where="pre", color=ACCENT)
    axes.set_ylim(0, speed.max() * 1.15 or 1)
    axes.set_xlabel("seconds since the beginning")
    axes.set_ylabel("frames a second")
    return _svg(figure)


def stages(busy: Mapping[str, float]) -> str:
    """Seconds for which each stage was at work."""
    names = [name for name, seconds in busy.items() if seconds > 0]
    if not names:
        return ""
    figure, axes = _figure()
    bars = axes.barh(names, [busy[name] for name in names], color=ACCENT)
    axes.bar_label(bars, fmt="%.1f s", padding=4, color=INK)
    axes.invert_yaxis()
    axes.set_xmargin(0.15)
    axes.set_xlabel("seconds")
    return _svg(figure)


def noise(luma: Sequence[float], chroma: Sequence[float]) -> str:
    """Noise of each shot, in 8-bit levels."""
    if not luma:
        return ""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure()
    shots = range(1, len(luma) + 1)
    axes.bar([shot - 0.2 for shot in shots], luma, 0.4, color=ACCENT, label="luma")
    axes.bar([shot + 0.2 for shot in shots], chroma, 0.4, color=SECOND, label="chroma")
    axes.set_xlim(0.3, max(len(luma), 8) + 0.7)
    axes.set_ylim(0, max(1.0, *luma, *chroma) * 1.4)
    if len(luma) < 10:
        axes.set_xticks(shots)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("shot")
    axes.set_ylabel("8-bit levels")
    axes.legend(frameon=False, labelcolor=INK, loc="upper right", ncols=2)
    return _svg(figure)


def _figure() -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    inked = "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"
    settings: Any = dict.fromkeys(inked, INK)
    settings |= {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(settings):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
    return figure, axes


def _svg(figure: Any) -> str:
    """The figure as an element of a page: text as text, no background, no names of its own."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "upscale"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace(INK, "currentColor")
