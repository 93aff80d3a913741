"""A member whose network is gone, with real networks: see `tests.namespaces`."""

import json
import shutil
import subprocess
import sys

import pytest
from tests.nodes import ROOT


def may_make_networks():
    if sys.platform != "linux" or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    command = (
        "ip link set lo up && ip link add name one type veth peer name two && mount -t tmpfs x /mnt"
    )
    return not subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", command], capture_output=True, check=False
    ).returncode


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    not may_make_networks(),
    reason="needs the right to make network namespaces, and ip: as root, apt-get install iproute2",
)
def test_a_member_without_a_network_holds_nobody_up_and_takes_its_turns_again_with_one(tmp_path):
    command = f"mkdir -p /run/netns && mount -t tmpfs x /run/netns && exec {sys.executable} -m tests.namespaces {tmp_path}"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", command],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["codes"] == [0] * 4, found["said"]
    assert found["passed"]
    assert found["accepted"] >= 30
    assert found["of_the_cut_one_at_last"]
