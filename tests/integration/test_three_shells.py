"""Three members by the commands alone: a chain with peers, and a hosted ledger with a bucket.

The README's own three shells, at a hosted ledger with its blobs, are in tests/docs.
"""

from contextlib import ExitStack

import pytest
from tests import s3
from tests.evm import FREE, anvil, require_web3
from tests.nodes import ROOT, hosted, listens, until
from tests.shells import NAMES, Group

from colearn.core import Phase
from colearn.identity import load
from colearn.network.connect import open_ledger
from colearn.network.invitation import read_invitation

ROUNDS = 24
EXPERIMENT = ROOT / "examples" / "three.toml"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def share(name):
    """Return the options that take the part of this name of the experiment's rows."""
    return "--share", str(NAMES.index(name) + 1)


def test_three_members_on_a_chain_serve_each_other_the_weights(tmp_path):
    require_web3()
    from colearn.ledger.evm import deploy

    group = Group(tmp_path, ROUNDS)
    with anvil(*FREE) as chain, ExitStack() as stack:
        contract = deploy(chain.url, load(tmp_path / "ada.json", None), drift_s=2)
        first = f"http://{group.doors['ada']}"
        group.create(EXPERIMENT, f"{chain.url}/{contract}", "--store", "peers", "--peer", first)
        group.join("ada", *share("ada"), *group.serving("ada"))
        processes = {"ada": group.start("ada", stack)}
        # The others have the specification and model 0 from her node alone.
        port = int(group.doors["ada"].rpartition(":")[2])
        until(lambda: listens(port), 60, "ada serves")
        for name in NAMES[1:]:
            group.join(name, *share(name), *group.serving(name))
            processes[name] = group.start(name, stack)
        processes["cleo"] = group.killed_and_restarted("cleo", processes["cleo"], stack)
        group.check_end(processes, score=0.85)


def test_three_members_leave_the_weights_in_a_bucket(tmp_path):
    group = Group(tmp_path, ROUNDS)
    settings = {
        "AWS_ACCESS_KEY_ID": s3.KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET, "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    with s3.s3_server() as server, ExitStack() as stack:
        stack.enter_context(s3.environment(**settings, AWS_ENDPOINT_URL_S3=server.endpoint))
        url, _ = stack.enter_context(hosted(tmp_path, drift_s=5, blobs=False))
        group.create(EXPERIMENT, url, "--store", f"s3://{s3.BUCKET}/three")
        processes = {}
        for name in NAMES:
            group.join(name, *share(name))
            processes[name] = group.start(name, stack)
        processes["ben"] = group.killed_and_restarted("ben", processes["ben"], stack)
        group.check_end(processes, score=0.85)
        invitation = read_invitation(group.link)
        assert server.file(f"{s3.BUCKET}/three/{invitation.model}")
        # No secret is in what is written down or said.
        for path in [*tmp_path.glob("*.log"), *tmp_path.glob("nodes/*/*.*")]:
            assert s3.SECRET not in path.read_text()
        with open_ledger(invitation) as view:
            view.sync()
            assert view.experiment(1).phase is Phase.OVER
            assert server.file(f"{s3.BUCKET}/three/{view.experiment(1).model}")
