import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COLEARN = Path(sys.executable).with_name("colearn")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_proof_for_a_sceptic_holds(tmp_path):
    if shutil.which("anvil") is None and shutil.which("npm") is None:
        reason = "no chain here: put anvil on the path, or install npm"
        if os.environ.get("COLEARN_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    run = subprocess.run(
        [str(COLEARN), "prove", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["rounds"] >= 12
    assert document["accepted"] >= 6
    assert document["audit"]["passed"]
    assert "6.3" in document["flipped_blob"]
    assert "rule 7.9" in document["flipped_row"]
