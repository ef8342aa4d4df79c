"""How rough the rims of discs are that have been made old and restored: where a sample draws an edge anew
in every cell, it gets a dotted, ragged rim.

    python benchmarks/edges.py [-t TEMPERATURE ...] [--scale 2|4] [--model film]

Grey discs on grey, their contrast from 40 to 160 levels, are made small and old as film16 and silent do
(without weave, dirt and scratches), as a film of 13 frames, of which the middle one is restored. Along a
rim, the radius at which luma crosses the middle between inside and outside is measured once a pixel;
roughness is the root of its mean squared distance from its own running mean over some 30 pixels, in pixels
of the output.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.lab.degrade import PRESETS, degraded, draw
from upscale.motion.window import Seen, gather
from upscale.planes import REACH, Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

HEIGHT, WIDTH = 480, 960
FINER = 4
"""Discs are drawn so many times larger, and made smaller, so that their rims are smooth."""

CONTRASTS = (40, 80, 120, 160)
RADII = (40.0, 85.0)
NEAR, STEP = 7.0, 0.1
"""Pixels around a rim in which it is looked for, and how finely."""

SMOOTH = 12.0
"""Sigma of the running mean, in pixels along the rim."""

SEEDS = 4
LENSES = (0.4, 1.3)
"""Of every other old film, sigma of its blur in pixels of the small picture."""


@dataclass(frozen=True, slots=True)
class Disc:
    """Its centre and radius, in pixels."""

    x: float
    y: float
    radius: float

    def rim(self, luma: NDArray[np.float32]) -> NDArray[np.float64]:
        """The radius at which ``luma`` [H, W] crosses the middle of inside and outside, once a pixel."""
        angles = np.linspace(0, 2 * np.pi, round(2 * np.pi * self.radius), endpoint=False)
        away = np.arange(-NEAR, NEAR + STEP / 2, STEP)
        radii = self.radius + away
        x = self.x + np.cos(angles)[:, None] * radii
        y = self.y + np.sin(angles)[:, None] * radii
        across = cv2.remap(luma, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)
        inside, outside = (np.median(across[:, part]) for part in (slice(0, 10), slice(-10, None)))
        above = (across - outside) / (inside - outside) > 0.5
        # Of several crossings, as noise makes them, the one nearest to where the rim should be.
        crossed = above[:, :-1] != above[:, 1:]
        distance = np.where(crossed, np.abs(away[:-1] + STEP / 2), np.inf)
        nearest = distance.argmin(1)
        found: NDArray[np.float64] = radii[nearest] + STEP / 2
        lost = ~crossed.any(1)
        found[lost] = self.radius
        return found


def roughness(rim: NDArray[np.float64]) -> float:
    padded = np.concatenate([rim, rim, rim])
    smooth = cv2.GaussianBlur(padded[:, None], (1, 0), sigmaX=0.01, sigmaY=SMOOTH)[:, 0]
    return float(np.sqrt(np.square(rim - smooth[len(rim) : 2 * len(rim)]).mean()))


def picture() -> tuple[NDArray[np.float32], list[Disc]]:
    discs = []
    large = np.full((HEIGHT * FINER, WIDTH * FINER), 0.45, np.float32)
    for column, contrast in enumerate(CONTRASTS):
        for row, radius in enumerate(RADII):
            disc = Disc(120.0 + 240 * column, 75.0 + 230 * row + (10 if row else 0), radius)
            sign = 1 if (row + column) % 2 else -1
            level = 0.45 + sign * contrast / 510
            about = cv2.circle(
                np.zeros_like(large),
                (round((disc.x + 0.5) * FINER * 16 - 8), round((disc.y + 0.5) * FINER * 16 - 8)),
                round(radius * FINER * 16),
                1.0,
                -1,
                cv2.LINE_8,
                4,
            )
            # Half of the contrast is around it.
            ring = cv2.dilate(about, np.ones((24 * FINER + 1,) * 2, np.uint8))
            large += ring * (0.45 - sign * contrast / 510 - large)
            large += about * (level - large)
            discs.append(disc)
    return cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), discs


def windows(luma: NDArray[np.float32], scale: int) -> Iterator[tuple[Planes, Planes]]:
    """The window of the middle frame of each old film, and the truth."""
    for name in ("film16", "silent"):
        for seed in range(SEEDS):
            recipe = draw(PRESETS[name], np.random.default_rng(seed))
            recipe = replace(recipe, lens=LENSES[seed % 2], grey=True, interlaced=False)
            recipe = replace(recipe, weave=0.0, dust=0.0, hairs=0.0, scratches=0.0, shake=0.0)
            aged = list(degraded([(luma[None],)] * (2 * REACH + 1), recipe, scale, seed))
            seen = [Seen.of(one.picture) for one in aged]
            others = [(at - REACH, one) for at, one in enumerate(seen) if at != REACH]
            yield gather(seen[REACH], others)[0], aged[REACH].truth


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-t", type=float, action="append")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--model", default="film")
    chosen = parser.parse_args()
    luma, discs = picture()
    cases = list(windows(luma, chosen.scale))
    rough = [np.mean([roughness(disc.rim(truth[0][0])) for disc in discs]) for _, truth in cases]
    print(f"truth: {np.mean(rough):.3f} px")
    first = None
    for temperature in chosen.t or (0.0, 0.4, 0.6, 1.0):
        options = SampleOptions(model=chosen.model, temperature=temperature)
        size = HEIGHT // chosen.scale, WIDTH // chosen.scale
        model = Upscaler(size, (HEIGHT, WIDTH), None, True, options)
        found = [model(window)[0][0] for window, _ in cases]
        rough = [np.mean([roughness(disc.rim(answer)) for disc in discs]) for answer in found]
        mean = float(np.mean(rough))
        first = first or mean
        print(f"temperature {temperature:g}: {mean:.3f} px, {mean / first:.2f} times the first", flush=True)


if __name__ == "__main__":
    main()
