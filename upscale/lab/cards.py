"""Model cards: the figures in them come from commands that stand in them.

    <!-- $ upscale-lab evaluate photos/validation --scale 4 -->
    | what the command prints |
    <!-- end -->

A command in a comment makes what stands between it and the next ``end``; ``refresh`` runs it again, with
the environment's variables filled in, as a shell would.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from upscale.errors import UpscaleError

FIGURES = re.compile(r"(<!-- \$ (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

LAB = [sys.executable, "-c", "from upscale.lab.cli import main; main(prog_name='upscale-lab')"]

PROGRAMS = {"upscale-lab": LAB, "python": [sys.executable]}
"""What a command may begin with, and how that is run: in a process of its own, which sees the weights that
are there now."""

Printed = Callable[[list[str]], str]
"""What a command prints."""


def refresh(card: Path, printed: Printed | None = None) -> int:
    """Make the figures of a card anew, and answer with how many commands there were.

    Raises UpscaleError if one of them fails, and then leaves the card as it was."""
    run = printed or output
    text, count = FIGURES.subn(
        lambda found: f"{found[1]}{run(_arguments(found[2])).strip()}\n{found[4]}", card.read_text()
    )
    partial = card.with_suffix(".part")
    partial.write_text(text)
    partial.replace(card)
    return count


def _arguments(command: str) -> list[str]:
    return shlex.split(os.path.expandvars(command))


def described(path: Path) -> str:
    """What a file of weights is, in a few lines of Markdown. Raises UpscaleError."""
    from upscale.models import weights  # here, as it loads torch

    file = weights.describe(path)
    network = weights.load(path)
    record = dict(file.training)
    scores = record.pop("validation", {})
    lines = [
        f"sha256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        "",
        f"{sum(part.numel() for part in network.parameters()):,} parameters; {file.multiplications:,} "
        f"multiply-accumulates per input pixel; {path.stat().st_size:,} bytes",
        "",
        f"network: {_listed(file.config)}",
        "",
        f"training: {_listed(record)}",
    ]
    if scores:
        lines += [
            "",
            "validation, float32: " + ", ".join(f"{name} {db:.3f} dB" for name, db in scores.items()),
        ]
    return "\n".join(lines)


def _listed(facts: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def output(command: list[str]) -> str:
    """What a command prints. Raises UpscaleError if it fails, or begins with none of PROGRAMS."""
    if command[0] not in PROGRAMS:
        raise UpscaleError(f"{shlex.join(command)}: a card's command begins with {' or '.join(PROGRAMS)}")
    done = subprocess.run([*PROGRAMS[command[0]], *command[1:]], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UpscaleError(f"{shlex.join(command)} failed; the card is as it was")
    return done.stdout
