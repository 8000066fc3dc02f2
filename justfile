# The words of the project. `uv run just WORD`; CI calls the same ones.

# Bytecode is kept even where the machine says otherwise, as images for containers do: each of a thousand processes would compile torch anew.
export PYTHONDONTWRITEBYTECODE := ""

# Pass the tests: a seeded sample of each slow group. A process for each core, because every test keeps to one thread; each takes whole files.
test *words:
    uv run pytest -n logical --maxprocesses 4 --dist loadfile {{words}}

# Every case of every slow group.
torture:
    FIELDGUIDE_TORTURE=all uv run pytest

# Style and types.
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy

# Put the style right.
format:
    uv run ruff check --fix .
    uv run ruff format .

# The main job: eleven contestants on handwritten digits.
demo:
    uv run fieldguide demo

# Redraw the picture in the README from the demo's report (needs Chromium).
picture:
    uv run python docs/picture.py demo-study/report.html docs/report.png

# Ten minutes of fuzzing for the loader and for the manifest's reader.
fuzz:
    uv run --group fuzz python fuzz/fuzz_loader.py -max_total_time=600
    uv run --group fuzz python fuzz/fuzz_manifest.py -max_total_time=600
