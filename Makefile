# One environment for everything, made on the first use of any target.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PHOTOS ?= photos

.PHONY: demo test lint weights evaluate clean

demo: $(VENV)/installed  ## upscale the example, and put before and after side by side
	mkdir -p demo
	$(BIN)/upscale examples/city.mp4 demo/city-x4.mp4 --scale 4 --overwrite
	$(BIN)/upscale-lab compare examples/city.mp4 demo/city-x4.mp4 demo/compare.png --at 1 --crop 0.08:0.2:0.3:0.5
	@echo "demo/city-x4.mp4 is the film; demo/compare.png shows a detail, before (bicubic) and after"

test: $(VENV)/tools
	$(BIN)/pytest

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Retrains what ships, from PHOTOS/train, into weights/; each run goes on where an earlier one stopped.
TRAIN = $(BIN)/upscale-lab train --validation $(PHOTOS)/validation
LUMA_X4 = --scale 4 --blocks 6 --crop 128
LUMA_X2 = --scale 2 --blocks 4 --crop 64
REFINED = --steps 24000 --learning-rate 1e-3 --seed 7
weights: $(VENV)/installed
	mkdir -p training
	$(TRAIN) luma $(PHOTOS)/train training/clean-x4-luma.safetensors $(LUMA_X4) --steps 26000
	$(TRAIN) luma $(PHOTOS)/train weights/clean-x4-luma.safetensors $(LUMA_X4) $(REFINED) \
		--initial training/clean-x4-luma.safetensors --checkpoint training/refined-x4.checkpoint
	$(BIN)/upscale-lab calibrate weights/clean-x4-luma.safetensors $(PHOTOS)/train
	$(TRAIN) luma $(PHOTOS)/train training/clean-x2-luma.safetensors $(LUMA_X2) --steps 36000
	$(TRAIN) luma $(PHOTOS)/train weights/clean-x2-luma.safetensors $(LUMA_X2) $(REFINED) \
		--initial training/clean-x2-luma.safetensors --checkpoint training/refined-x2.checkpoint
	$(BIN)/upscale-lab calibrate weights/clean-x2-luma.safetensors $(PHOTOS)/train
	$(TRAIN) chroma $(PHOTOS)/train weights/clean-x4-chroma.safetensors --scale 4 --crop 128 --channels 24 \
		--steps 4000 --checkpoint training/clean-x4-chroma.checkpoint
	$(TRAIN) chroma $(PHOTOS)/train weights/clean-x2-chroma.safetensors --scale 2 --crop 64 --channels 24 \
		--steps 4000 --checkpoint training/clean-x2-chroma.checkpoint

# The tables of the model cards.
evaluate: $(VENV)/perceptual
	$(BIN)/upscale-lab evaluate $(PHOTOS)/validation --scale 4 --perceptual ST-LPIPS --perceptual SSIMULACRA2
	$(BIN)/upscale-lab evaluate $(PHOTOS)/validation --scale 2 --perceptual ST-LPIPS --perceptual SSIMULACRA2

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/tools: $(VENV)/installed
	$(PIP) --editable '.[test,lint]'
	touch $@

$(VENV)/perceptual: $(VENV)/installed
	$(PIP) --editable '.[perceptual]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
