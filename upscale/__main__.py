"""``python -m upscale`` is ``upscale``."""

from upscale.cli import main

main(prog_name="upscale")
