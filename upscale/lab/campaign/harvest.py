"""Bringing in what a campaign has made: its best weights, calibrated and measured against what ships."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from upscale.errors import UpscaleError
from upscale.lab.calibrate import calibrate
from upscale.lab.campaign.plan import Campaign
from upscale.lab.campaign.tasks import Candidate
from upscale.lab.courses import COURSES, TrainOptions
from upscale.lab.train import validate
from upscale.models import weights


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a harvest found of weights of one name; scores are dB on the same pictures, in the same run."""

    name: str
    candidate: float
    shipped: float
    """Minus infinity where nothing ships under that name yet."""
    costs: tuple[int, int]
    """Multiply-accumulates for each input pixel, of the candidate and of what ships."""

    @property
    def is_better(self) -> bool:
        return self.candidate > self.shipped

    def __str__(self) -> str:
        if math.isinf(self.shipped):
            return f"{self.name}: {self.candidate:.3f} dB on validation; the first of its name"
        gain = self.candidate - self.shipped
        told = (
            f"{self.name}: {self.candidate:.3f} dB on validation, where what ships makes {self.shipped:.3f}"
        )
        told += f": {gain:+.3f} dB, {'better' if self.is_better else 'no better; nothing is changed'}"
        ours, theirs = self.costs
        return f"{told}; {ours:,} multiply-accumulates for each input pixel, where that takes {theirs:,}"


def harvest(campaign: Campaign, folder: Path, tell: Callable[[str], None]) -> Iterator[Verdict]:
    """Put the best of the campaign's weights into ``folder``, those that are better than what is there.

    Luma is calibrated for 8-bit integers first, and measured in float32, as a campaign does. May be called
    while the campaign runs. Yields after each; raises UpscaleError if there is no card for one of them."""
    found = _best(campaign)
    if not found:
        tell(f"{campaign.name}: no weights to ship in {campaign.folder} yet; campaign run makes them")
    for candidate in found:
        card = folder / f"{candidate.name}.md"
        if not card.exists():
            raise UpscaleError(f"{card}: not there; write the card of these weights first")
    for candidate in found:
        brought = campaign.folder / f"{candidate.name}.harvest.safetensors"
        shutil.copyfile(candidate.path, brought)
        if (
            campaign.calibration is not None
            and COURSES[weights.describe(brought).kind].rehearse is not None
        ):
            tell(f"{candidate.name}: calibrating")
            calibrate(brought, campaign.calibration)
        shipped = folder / f"{candidate.name}.safetensors"
        tell(f"{candidate.name}: measuring")
        is_first = not shipped.exists()
        verdict = Verdict(
            candidate.name,
            score(brought, candidate.validation),
            -math.inf if is_first else score(shipped, candidate.validation),
            (_cost(brought), 0 if is_first else _cost(shipped)),
        )
        if verdict.is_better:
            partial = shipped.with_suffix(".part")
            shutil.copyfile(brought, partial)
            partial.replace(shipped)
        brought.unlink()
        tell(str(verdict))
        yield verdict


def _best(campaign: Campaign) -> list[Candidate]:
    """Of each name that the campaign has made weights for, those with the best score."""
    found: dict[str, Candidate] = {}
    there = [
        candidate for stage in campaign.stages for candidate in stage.candidates if candidate.path.exists()
    ]
    for candidate in sorted(there, key=lambda each: _recorded(each.path)):
        found[candidate.name] = candidate
    return list(found.values())


def _cost(path: Path) -> int:
    return weights.describe(path).multiplications


def _recorded(path: Path) -> float:
    described = weights.describe(path)
    return float(described.training["validation"][COURSES[described.kind].decisive])


def score(path: Path, validation: Sequence[Path]) -> float:
    """dB of the weights at ``path`` on ``validation``, as the training measures it."""
    described = weights.describe(path)
    course = COURSES[described.kind]
    network = weights.load(path)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    held_out = list(course.held_out(validation, TrainOptions(kind=described.kind, scale=described.scale)))
    return validate(course, network, held_out)[course.decisive]
