"""The run folder: the one place that knows what its files are called and how they are written.

    paths.py      names of files and folders
    files.py      JSON files read into typed records; JSON lines
    origin.py     recipe.yaml and run.json: what was run, with which seed, versions and commit
    manifest.py   manifest.json: fingerprints of what outcomes depend on
    summary.py    summary.json: everything that a ranking found, typed, with a schema version
    schema.py     the JSON Schema of summary.json, docs/summary.schema.json
    tables.py     outcomes/*.csv and truth/*.csv
    store.py      imagined/*.npz: the imagined episodes
    episodes.py   every imagined episode of a run as one table, joined with the real outcomes
    films.py      filmstrips/: frames kept for people to look at
    labels.py     labels.jsonl: what people say of episodes
    checksums.py  checksums beside files, checked when they are read
    finding.py    the runs of a folder

Everything above this folder (reports, exports, evaluation, command line, viewer) reads and writes
a run through it. Nothing here needs torch.
"""
