"""What was met on the way through a film, or through a piece of it."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from upscale.motion.condition import Condition
from upscale.motion.deflicker import Flicker
from upscale.motion.dirt import Dirt
from upscale.motion.noise import Noise, ShotNoise
from upscale.motion.steady import Weave

COUNTED: dict[str, type[Any]] = {"flicker": Flicker, "dirt": Dirt, "condition": Condition, "weave": Weave}
"""Findings that are nothing but numbers, which JSON can hold as they are."""


@dataclass(slots=True)
class Findings:
    """Of all stages before the networks. To add one is to add a field that knows ``append``, and to COUNTED
    if it is nothing but numbers."""

    noise: Noise = field(default_factory=Noise)
    """Of every shot, where a model looked for it."""
    flicker: Flicker = field(default_factory=Flicker)
    dirt: Dirt = field(default_factory=Dirt)
    condition: Condition = field(default_factory=Condition)
    weave: Weave = field(default_factory=Weave)

    def append(self, later: Self) -> None:
        """Add what was met in the piece of the film that follows."""
        self.noise.append(later.noise)
        self.flicker.append(later.flicker)
        self.dirt.append(later.dirt)
        self.condition.append(later.condition)
        self.weave.append(later.weave)

    def taken(self) -> dict[str, Any]:
        """What was met since the last time, as JSON can hold it; see ``read``."""
        self.noise.close()
        noise = {
            "continues": self.noise.continues,
            "shots": [[round(one.luma, 3), round(one.chroma, 3), one.pictures] for one in self.noise.shots],
        }
        found = {"noise": noise} | {name: asdict(getattr(self, name)) for name in COUNTED}
        self.noise.shots, self.noise.continues = [], False
        for name, kind in COUNTED.items():
            for one in fields(kind):  # not another object: stages go on with this one
                setattr(getattr(self, name), one.name, one.default)
        return found

    @classmethod
    def read(cls, found: dict[str, Any]) -> Self:
        """What ``taken`` wrote."""
        shots = [ShotNoise(*shot) for shot in found["noise"]["shots"]]
        noise = Noise(shots, found["noise"]["continues"])
        return cls(noise, **{name: kind(**found[name]) for name, kind in COUNTED.items()})
