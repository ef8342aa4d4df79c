"""From options, as they are typed or given by a program, to a job."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from upscale.checks import check_here
from upscale.color.options import ColorOptions, Reference
from upscale.media.pipe import STANDARD
from upscale.media.read.source import ReadOptions
from upscale.media.write.encoder import EncodeOptions, parse_codec_options
from upscale.pipeline import Job
from upscale.sampling.memory import parse_size
from upscale.sampling.options import SampleOptions


def make_job(source: str | Path, target: str | Path, **options: Any) -> Job:
    """What the options of the command, or of ``film``, ask for. Raises UsageError or UpscaleError."""

    def chosen(record: type) -> dict[str, Any]:
        return {field.name: options[field.name] for field in fields(record) if field.name in options}

    memory = options.get("memory")
    options["memory"] = parse_size(memory) if isinstance(memory, str) else memory
    pairs = options.get("codec_options", ())
    told = [f"{key}={value}" for key, value in pairs.items()] if isinstance(pairs, Mapping) else pairs
    options["codec_options"] = parse_codec_options(told)
    references = map(str, options.get("references", ()))
    found = [known.read() for text in references for known in Reference.parse(text)]
    options["references"] = tuple(found)
    options["color"] = options.get("color") or ("reference" if found else "off")
    if options.get("map") is not None:
        options["map"] = Path(options["map"])
    if not all(path.is_absolute() or path == STANDARD for path in (Path(source), Path(target))):
        check_here()
    color = ColorOptions(**chosen(ColorOptions))
    del options["color"]
    return Job(
        Path(source),
        Path(target),
        color=color,
        read=ReadOptions(**chosen(ReadOptions)),
        sample=SampleOptions(**chosen(SampleOptions)),
        encode=EncodeOptions(**chosen(EncodeOptions)),
        **chosen(Job),
    )
