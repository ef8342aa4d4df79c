"""How a campaign is going: a few lines, and validation by time as a plot, on a terminal or in a PNG."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from upscale.lab.campaign.journal import Entry, read
from upscale.lab.campaign.plan import Campaign
from upscale.lab.campaign.run import is_running

PAUSE = 600.0
"""Seconds: a longer gap between two entries is no time of work."""

EXPONENTS = np.arange(0.1, 2.01, 0.05)
"""Of ``expected``."""

LEAST = 5
"""Points that a curve is fitted to."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A score by hours of work, of one kind of weights: stages that go on from each other."""

    name: str
    hours: Sequence[float]
    scores: Sequence[float]
    """dB."""

    @property
    def best(self) -> float:
        return max(self.scores)


def status(campaign: Campaign) -> str:
    """What there is to tell, in lines."""
    entries = read(campaign.folder)
    running = "running" if is_running(campaign) else "not running"
    lines = [f"{campaign.name}: {running}, in {campaign.folder}"]
    left = 0.0
    for stage in campaign.stages:
        own = [entry for entry in entries if entry.stage == stage.name]
        done = stage.done()
        lines.append(f"  {stage.name}: step {done}/{stage.steps}" + _told(own))
        left += (stage.steps - done) * _pace(own or entries)
    if entries:
        ago = timedelta(seconds=round(time.time() - entries[-1].time))
        lines.append(
            f"  last heard of {ago} ago; {timedelta(seconds=round(left))} of work left at this speed"
        )
    for curve in curves(campaign, entries):
        told = f"  {curve.name}: best {curve.best:.3f} dB after {curve.hours[-1]:.1f} hours of work"
        limit = expected(curve, curve.hours[-1] + left / 3600)
        lines.append(told if limit is None else f"{told}; {limit:.2f} dB to be expected at the end")
    return "\n".join(lines)


def _told(entries: Sequence[Entry]) -> str:
    losses = [entry.loss for entry in entries if entry.loss is not None]
    scores = [entry.score for entry in entries if entry.score is not None]
    loss = f", loss {losses[-1]:.4f}" if losses else ""
    return loss + (f", validation {scores[-1]:.3f} dB (best {max(scores):.3f})" if scores else "")


def _pace(entries: Sequence[Entry]) -> float:
    """Seconds for a step, of late."""
    paces = [entry.seconds for entry in entries[-20:] if entry.seconds is not None]
    return float(np.median(paces)) if paces else 0.0


def curves(campaign: Campaign, entries: Sequence[Entry]) -> list[Curve]:
    """What validation said, for each name under which weights are to ship, else for each stage."""
    names = {
        stage.name: next((candidate.name for candidate in stage.candidates), stage.name)
        for stage in campaign.stages
    }
    found: dict[str, tuple[list[float], list[float]]] = {}
    worked = 0.0
    for before, entry in zip([None, *entries], entries, strict=False):
        gap = 0.0 if before is None else entry.time - before.time
        worked += gap if gap < PAUSE else 0.0
        if entry.score is not None and entry.stage in names:
            hours, scores = found.setdefault(names[entry.stage], ([], []))
            hours.append(worked / 3600)
            scores.append(entry.score)
    return [Curve(name, *points) for name, points in found.items()]


def expected(curve: Curve, hours: float) -> float | None:
    """The score after that many hours, by the power law that fits the best scores so far: the error that is
    left falls by the same factor whenever the time doubles. None where there are too few of them."""
    best = np.maximum.accumulate(curve.scores)
    times = np.asarray(curve.hours)
    is_later = times > 0
    if is_later.sum() < LEAST:
        return None
    fits = []
    for exponent in EXPONENTS:
        basis = np.stack([np.ones(is_later.sum()), -(times[is_later] ** -exponent)], 1)
        answer, *_ = np.linalg.lstsq(basis, best[is_later], rcond=None)
        error = float(((basis @ answer - best[is_later]) ** 2).sum())
        fits.append((error, float(answer[0] - answer[1] * hours**-exponent)))
    return max(min(fits)[1], float(best[-1]))


def terminal_plot(curves: Sequence[Curve], width: int, height: int) -> str:
    """Validation by hours of work, in characters."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, height)
    for curve in curves:
        plotext.plot(list(curve.hours), list(curve.scores), label=curve.name, marker="braille")
    plotext.xlabel("hours of work")
    plotext.ylabel("dB")
    return str(plotext.uncolorize(plotext.build()))


def write_plot(curves: Sequence[Curve], path: Path) -> None:
    """The same as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        axes.plot(curve.hours, curve.scores, marker=".", label=curve.name)
    axes.set(xlabel="hours of work", ylabel="validation, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
