# One environment for everything, made on the first use of any target.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PHOTOS ?= photos
CLIPS ?= clips
FONTS ?= /usr/share/fonts
export PHOTOS CLIPS FONTS

.PHONY: demo test lint gpu man campaign campaign-status harvest evaluate evaluate-window evaluate-film evaluate-color evaluate-raster clean

demo: $(VENV)/installed  ## upscale the example, and put before and after side by side
	mkdir -p demo
	$(BIN)/upscale examples/city.mp4 demo/city-x4.mp4 --scale 4 --overwrite
	$(BIN)/upscale-lab compare examples/city.mp4 demo/city-x4.mp4 demo/compare.png --at 1 --crop 0.08:0.2:0.3:0.5 -y
	@echo "demo/city-x4.mp4 is the film; demo/compare.png shows a detail, before (bicubic) and after"

test: $(VENV)/tools
	$(BIN)/pytest

gpu: $(VENV)/tools $(VENV)/color  ## on a machine with an NVIDIA GPU and a CUDA build of PyTorch: its tests, and how fast it is
	$(BIN)/python -c "import sys, torch; torch.cuda.is_available() or sys.exit('no NVIDIA GPU here, or a PyTorch without CUDA')"
	$(BIN)/pytest -m gpu
	$(BIN)/python benchmarks/gpu.py

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Trains what ships, from PHOTOS and CLIPS, for days beside other work; goes on where it stopped. See training/.
CAMPAIGNS ?= clean-x4 clean-x2
CAMPAIGN_FILES = $(CAMPAIGNS:%=training/%.toml)
campaign: $(VENV)/train $(VENV)/color
	$(BIN)/upscale-lab campaign run $(CAMPAIGN_FILES)

campaign-status: $(VENV)/train
	$(BIN)/upscale-lab campaign status $(CAMPAIGN_FILES)

harvest: $(VENV)/train $(VENV)/perceptual
	for file in $(CAMPAIGN_FILES); do $(BIN)/upscale-lab campaign harvest $$file || exit; done

COLOR_CLIPS = $(addprefix $(CLIPS)/,city.mpg goldengate.mp4 gesture-walk.mkv cars.mp4)
evaluate-color: $(VENV)/color
	$(BIN)/upscale-lab evaluate --color $(COLOR_CLIPS) $(CLIPS)/chaplin.mp4 --frames 101
	$(BIN)/upscale-lab evaluate --color $(PHOTOS)/validation $(PHOTOS)/faces-validation
	$(BIN)/upscale-lab evaluate --color $(PHOTOS)/validation $(PHOTOS)/faces-validation --sheet examples/colors.jpg

FILM_CLIPS = $(addprefix $(CLIPS)/,goldengate.mp4 ocean.mp4 city.mpg vtest.avi gesture-sister.mkv cars.mp4)
IN_MOTION = $(addprefix $(PHOTOS)/,validation/tabler-ui__jakob-owens-224352-1500.jpg \
	validation/palapeli-data__castle-maintenon.jpg faces-validation/portrait-female-03.jpg)

# The tables of the model cards.
evaluate: $(VENV)/perceptual
	$(BIN)/upscale-lab evaluate $(PHOTOS)/validation --scale 4 --perceptual ST-LPIPS --perceptual SSIMULACRA2
	$(BIN)/upscale-lab evaluate $(PHOTOS)/validation --scale 2 --perceptual ST-LPIPS --perceptual SSIMULACRA2
	$(BIN)/upscale-lab certainty $(PHOTOS)/validation --scale 4 --side 512
	$(BIN)/upscale-lab certainty $(PHOTOS)/validation --scale 2 --side 512

evaluate-raster: $(VENV)/perceptual
	$(BIN)/upscale-lab evaluate $(PHOTOS)/validation --scale 4 --side 512 --perceptual ST-LPIPS \
		-m mean -m clean -m raster -t 0 -t 0.8 -t 1

WINDOW_CLIPS = $(addprefix $(CLIPS)/,scenes city.mpg gesture-walk.mkv goldengate.mp4 ocean.mp4 cars.mp4 \
	vtest.avi tree.avi talking.avi)
evaluate-window: $(VENV)/installed
	$(BIN)/upscale-lab evaluate --window $(WINDOW_CLIPS) --frames 14

evaluate-film: $(VENV)/perceptual $(VENV)/train
	$(BIN)/upscale-lab evaluate $(FILM_CLIPS) $(IN_MOTION) --scale 4 --frames 8 --perceptual ST-LPIPS \
		-t 0 -t 0.4
	$(BIN)/upscale-lab evaluate $(FILM_CLIPS) --scale 4 --frames 8 --preset clean
	$(BIN)/upscale-lab evaluate $(FILM_CLIPS) --scale 4 --frames 8 --preset soft
	$(BIN)/upscale-lab evaluate $(FILM_CLIPS) $(IN_MOTION) --scale 2 --frames 8
	$(BIN)/upscale-lab certainty $(FILM_CLIPS) --scale 4 --model film --frames 4
	$(BIN)/upscale-lab certainty $(FILM_CLIPS) --scale 2 --model film --frames 4

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/tools: $(VENV)/installed
	$(PIP) --editable '.[test,lint,cluster]'
	touch $@

$(VENV)/perceptual: $(VENV)/installed
	$(PIP) --editable '.[perceptual]'
	touch $@

$(VENV)/train: $(VENV)/installed
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/color: $(VENV)/installed
	$(PIP) --editable '.[color]'
	touch $@

man: $(VENV)/tools  ## the page that `man upscale` shows, from the command's own options
	$(BIN)/click-man --target docs upscale

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
