"""`import colearn` against the packages it stands on, in pairs of fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.paired import paired, write

THE_WHOLE = (
    "import colearn; colearn.run_one_round; colearn.Weights; colearn.MachineLearningInterface"
)
CASES = {"import colearn": "import colearn", "with its interface and driver": THE_WHOLE}
BASE = "import numpy, pydantic, safetensors"


def main() -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}

    def process(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)

    rows = []
    for name, code in CASES.items():
        result = paired(lambda: process(BASE), lambda code=code: process(code), times=1, pairs=11)
        rows.append({"what": name, "of_base": round(result["ratio"], 3), "target": 1.2})
    write("importing", rows)


if __name__ == "__main__":
    main()
