"""An experiment that was created and whose blobs could not be left is gone on with."""

import subprocess

import pytest
from tests.nodes import PROGRAM, ROOT, hosted
from tests.shells import colearn

EXPERIMENT = str(ROOT / "examples" / "three.toml")


@pytest.mark.slow
def test_a_server_that_keeps_no_weights_is_named_and_the_experiment_gone_on_with(tmp_path):
    colearn(tmp_path, "key", "new", "ada.json")
    with hosted(tmp_path, drift_s=5, blobs=False) as (url, _):
        words = ("create", EXPERIMENT, "--ledger", url, "--key", "ada.json")
        refused = subprocess.run(
            [*PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert (refused.returncode, refused.stdout) == (8, "")
    assert "Experiment 1 is on the ledger" in refused.stderr
    assert "--experiment 1" in refused.stderr
    assert "colearn ledger serve --blobs" in refused.stderr
    with hosted(tmp_path) as (url, _):
        found = colearn(
            tmp_path, "create", EXPERIMENT, "--ledger", url, "--key", "ada.json",
            "--experiment", "1",
        )  # fmt: skip
        assert found["experiment"] == 1
        joined = colearn(
            tmp_path, "join", found["invitation"], "--key", "ada.json", "--share", "1", "--yes"
        )
        assert joined["seat"] == 0
