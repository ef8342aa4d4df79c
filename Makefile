# One environment for everything, made on the first use of any target.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PHOTOS ?= photos
CLIPS ?= clips
FONTS ?= /usr/share/fonts

.PHONY: demo test lint man weights clean-weights film-weights color-weights raster-weights evaluate evaluate-film evaluate-color \
	evaluate-raster clean

demo: $(VENV)/installed  ## upscale the example, and put before and after side by side
	mkdir -p demo
	$(BIN)/upscale examples/city.mp4 demo/city-x4.mp4 --scale 4 --overwrite
	$(BIN)/upscale-lab compare examples/city.mp4 demo/city-x4.mp4 demo/compare.png --at 1 --crop 0.08:0.2:0.3:0.5 -y
	@echo "demo/city-x4.mp4 is the film; demo/compare.png shows a detail, before (bicubic) and after"

test: $(VENV)/tools
	$(BIN)/pytest

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Retrains what ships, from PHOTOS and CLIPS, into weights/; each run goes on where an earlier one stopped.
weights: clean-weights film-weights color-weights raster-weights

TRAIN = $(BIN)/upscale-lab train --validation $(PHOTOS)/validation
LUMA_X4 = --scale 4 --blocks 6 --crop 128
LUMA_X2 = --scale 2 --blocks 4 --crop 64
REFINED = --steps 24000 --learning-rate 1e-3 --seed 7
clean-weights: $(VENV)/installed
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

raster-weights: $(VENV)/installed
	mkdir -p training
	$(TRAIN) raster $(PHOTOS)/train weights/raster-x4-luma.safetensors --scale 4 --blocks 6 --crop 128 --batch 5 \
		--steps 4200 --learning-rate 3e-3 --initial weights/clean-x4-luma.safetensors \
		--checkpoint training/raster-x4-luma.checkpoint
	$(BIN)/upscale-lab calibrate weights/raster-x4-luma.safetensors $(PHOTOS)/train

FILM = training/shards --validation training/held-out --batch 8
FILM_LUMA = $(FILM) --context 6 --context-channels 96 --likelihood 0.2 --balance 1 --lead 0.2
film-weights: $(VENV)/train
	mkdir -p training/shards training/held-out
	$(BIN)/upscale-lab shards $(PHOTOS)/train training/shards --faces $(PHOTOS)/faces-train --fonts $(FONTS) \
		--clip $(CLIPS)/gesture-walk.mkv --count 38
	$(BIN)/upscale-lab shards $(PHOTOS)/validation training/held-out --faces $(PHOTOS)/faces-validation \
		--fonts $(FONTS) --first 9000 --count 1
	$(BIN)/upscale-lab train luma $(FILM_LUMA) training/film-x4-luma.safetensors --scale 4 --crop 192 --blocks 6 \
		--steps 7000 --learning-rate 1.5e-3 --initial weights/clean-x4-luma.safetensors
	$(BIN)/upscale-lab train luma $(FILM_LUMA) weights/film-x4-luma.safetensors --scale 4 --crop 192 --blocks 6 \
		--steps 16500 --learning-rate 1.2e-3 --geometric --seed 3 \
		--initial training/film-x4-luma.safetensors --checkpoint training/refined-film-x4.checkpoint
	$(BIN)/upscale-lab train luma $(FILM_LUMA) weights/film-x2-luma.safetensors --scale 2 --crop 96 --blocks 4 \
		--steps 7000 --learning-rate 1.2e-3 --geometric --initial weights/film-x4-luma.safetensors \
		--initial weights/clean-x2-luma.safetensors --checkpoint training/film-x2-luma.checkpoint
	$(BIN)/upscale-lab judge weights/film-x4-luma.safetensors weights/film-x2-luma.safetensors \
		--lessons training/shards --validation training/held-out
	$(BIN)/upscale-lab calibrate weights/film-x4-luma.safetensors training/shards
	$(BIN)/upscale-lab calibrate weights/film-x2-luma.safetensors training/shards
	for scale in 4 2; do \
		$(BIN)/upscale-lab train chroma $(FILM) weights/film-x$$scale-chroma.safetensors --scale $$scale \
			--crop $$((36 * scale)) --channels 24 --steps 1500 --learning-rate 1e-3 \
			--initial weights/clean-x$$scale-chroma.safetensors \
			--checkpoint training/film-x$$scale-chroma.checkpoint; \
	done

COLOR = $(BIN)/upscale-lab train color $(PHOTOS)/train --validation $(PHOTOS)/validation --also $(PHOTOS)/faces-train \
	$(addprefix --also $(CLIPS)/,gesture-sister.mkv vtest.avi tree.avi)
color-weights: $(VENV)/color
	mkdir -p training
	$(COLOR) training/color.safetensors --steps 4500 --learning-rate 1e-3
	$(COLOR) weights/color.safetensors --steps 2400 --learning-rate 5e-4 --seed 1 \
		--initial training/color.safetensors --checkpoint training/refined-color.checkpoint

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

evaluate-film: $(VENV)/perceptual $(VENV)/train
	$(BIN)/upscale-lab evaluate $(FILM_CLIPS) $(IN_MOTION) --scale 4 --frames 8 --perceptual ST-LPIPS \
		-t 0 -t 0.2 -t 0.35 -t 0.5
	$(BIN)/upscale-lab evaluate $(FILM_CLIPS) --scale 4 --frames 8 --preset clean
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
