"""What was met on the way through a film, or through a piece of it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from upscale.motion.deflicker import Flicker
from upscale.motion.dirt import Dirt
from upscale.motion.window import Noise, ShotNoise


@dataclass(slots=True)
class Findings:
    """Of all stages before the networks. To add one is to add a field that knows ``append``."""

    noise: Noise = field(default_factory=Noise)
    """Of every shot, where a model looked for it."""
    flicker: Flicker = field(default_factory=Flicker)
    dirt: Dirt = field(default_factory=Dirt)

    def append(self, later: Self) -> None:
        """Add what was met in the piece of the film that follows."""
        self.noise.append(later.noise)
        self.flicker.append(later.flicker)
        self.dirt.append(later.dirt)

    def taken(self) -> dict[str, Any]:
        """What was met since the last time, as JSON can hold it; see ``read``."""
        self.noise.close()
        noise = {
            "continues": self.noise.continues,
            "shots": [[round(one.luma, 3), round(one.chroma, 3), one.pictures] for one in self.noise.shots],
        }
        found = {"noise": noise, "flicker": asdict(self.flicker), "dirt": asdict(self.dirt)}
        self.noise.shots, self.noise.continues = [], False
        self.flicker.frames, self.dirt.pictures, self.dirt.dirty = 0, 0, 0
        return found

    @classmethod
    def read(cls, found: dict[str, Any]) -> Self:
        """What ``taken`` wrote."""
        shots = [ShotNoise(*shot) for shot in found["noise"]["shots"]]
        return cls(
            Noise(shots, found["noise"]["continues"]), Flicker(**found["flicker"]), Dirt(**found["dirt"])
        )
