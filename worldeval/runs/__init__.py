"""The run folder: names, formats, readers and writers of its files.

    paths.py      names of files and folders
    files.py      JSON files read into typed records; JSON lines
    origin.py     recipe.yaml and run.json: recipe, seed, versions and commit of a run
    manifest.py   manifest.json: fingerprints of everything that outcomes depend on
    summary.py    summary.json: all results of a ranking, typed, with a schema version
    schema.py     the JSON Schema of summary.json, docs/summary.schema.json
    tables.py     outcomes/*.csv and truth/*.csv
    store.py      imagined/*.npz: the imagined episodes
    episodes.py   every imagined episode of a run as one table, joined with the real outcomes
    films.py      filmstrips/: frames of a few roll-outs for visual inspection
    labels.py     labels.jsonl: labels that people gave to episodes
    checksums.py  checksums beside files, verified on reading
    finding.py    search for the runs in a folder

Reports, exports, evaluation, the command line and the viewer read and write runs only through this
package. Nothing here needs torch.
"""
