"""Compute what needs no model from the official annotation files, and keep it: ``python tools/no_model.py FOLDER``."""

import json
import sys
from pathlib import Path

from avnb.evaluation.official import SAVED, official_numbers
from avnb.paths import project_root

if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    path = project_root() / SAVED
    path.write_text(json.dumps(official_numbers(Path(folder)), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{SAVED}: {path.stat().st_size:,} bytes")
