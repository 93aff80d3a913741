"""Private proposals and votes between processes: what was spent outlives a killed node."""

import json

import pytest
from tests.nodes import NOBODY, configuration, hosted, joined, log_of, running, started, until
from tests.private_learners import ledgers, spends
from typer.testing import CliRunner

from colearn.audit import audit, open_source
from colearn.cli.app import app
from colearn.cli.privacy_run import audited_run
from colearn.core import Phase
from colearn.errors import ConfigError
from colearn.ledger import EmbeddedLedger
from colearn.network import creating
from colearn.network.local import Local, check_local, learner_of, local_plan
from colearn.network.terms import read_terms

ROUNDS = 6
# More than there are turns: whoever is killed while it trains has paid, and proposes nothing.
PRIVACY = {
    "proposals": {
        "target_epsilon": 8.0, "expected_batch_size": 10_000, "steps_per_proposal": 40,
        "planned_proposals": 8,
    },
    "votes": {"epsilon": 8.0, "planned_votes": 20},
}  # fmt: skip
SGD = {
    "estimator": "sklearn.linear_model:SGDClassifier", "loss": "log_loss",
    "learning_rate": "constant", "eta0": 1.0, "damping": 1.0,
}  # fmt: skip


def private(**more):
    given = {"learner": "colearn.learners:SklearnLearner", "settings": SGD, "privacy": PRIVACY}
    return configuration(3, **{"rounds": ROUNDS, "task": "digits", "phases": 20, **given, **more})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of all records of spends, for this process and those that it starts."""
    monkeypatch.setenv("COLEARN_PRIVACY", str(tmp_path / "privacy"))
    return tmp_path / "privacy"


def records(home):
    return {ledger.path: ledger.entries() for ledger in ledgers(home)}


@pytest.mark.slow
def test_a_node_killed_while_it_spends_goes_on_with_what_is_left(tmp_path, home):
    with hosted(tmp_path) as (url, _):
        network = joined(tmp_path, url, "hosted", private())
        number, view = network.invitation.experiment, network.ledger()
        with running(network) as processes:
            # Of the first two turns the second is paid for when the first has been voted on.
            until(lambda: len(spends(home, "train")) >= 2, 60, "a second proposal is paid for")
            processes[1].kill()
            processes[1].wait()
            before = records(home)
            processes[1] = started(network.nodes[1])

            def over():
                view.sync()
                return view.experiment(number).phase is Phase.OVER

            until(over, 90, "\n".join(map(log_of, network.nodes)))
            for process in processes:
                assert process.wait(30) == 0
        counted = view.experiment(number).counted
        view.close()
        assert counted == ROUNDS
        now = records(home)
        assert len(now) == 3
        for path, lines in before.items():
            assert now[path][: len(lines)] == lines
        report = audit(open_source(str(tmp_path)))
    assert report.passed, report
    (check,) = (each for each in report.checks if each.number == 11)
    assert check.verdict == "passed"
    assert check.detail == f"{ROUNDS} claims read"
    for ledger in ledgers(home):
        ledger.verify()
        for part, epsilon, delta in (("train", 8.0, 1e-5), ("vote", 8.0, 1e-6)):
            own = [each for each in spends(home, part) if each in ledger.entries()]
            assert 0 < ledger.consumed(own[0].partition, delta) <= epsilon
    for node in network.nodes:
        seen = audited_run(node.path)
        assert len(seen.records) == 1
        assert seen.noise == {"proposals": "secure", "votes": "secure"}
        assert seen.targets["train"].epsilon == 8.0
    assert len({audited_run(node.path).records[0] for node in network.nodes}) == 3
    # One for each proposal, and one more at most for the killed one's turn.
    assert ROUNDS <= len(spends(home, "train")) <= ROUNDS + 1


def test_join_shows_what_is_private_before_it_signs(tmp_path, home, monkeypatch):
    url = f"embedded:{tmp_path / 'ledger.db'}"
    EmbeddedLedger.create(tmp_path / "ledger.db", NOBODY, drift_s=1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    network = joined(tmp_path, url, f"directory:{tmp_path / 'blobs'}", private())
    ada = str(tmp_path / "key-0.json")
    words = ["join", network.invitation.to_link(), "--key", ada, "--share", "1"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 2
    assert "nothing was signed" in shown.stderr
    for said in (
        "privacy     Proposals: at most (8, 1e-05)-differential privacy for one row",
        "planned for 8 proposals",
        "Votes: at most (8, min(1e-6, 1 / 10 m))",
        "A voter approves by chance",
        "nobody proves a claim",
    ):
        assert said in shown.stdout
    node = str(network.nodes[0].path)
    joined_again = CliRunner().invoke(app, [*words, "--yes", "--json", "-d", node])
    document = json.loads(joined_again.stdout)
    assert document["privacy"]["proposals"]["target_epsilon"] == 8.0
    assert spends(home) == []


def terms_of(config):
    return read_terms(creating.found(config).specification)


def test_the_terms_hold_what_every_proposal_must_keep_to():
    terms = terms_of(private())
    assert terms.proposal_privacy.planned_proposals == 8
    assert terms.proposal_privacy.target_epsilon == 8.0
    assert terms_of(private(privacy={})).proposal_privacy is None


@pytest.mark.parametrize("change", [
    lambda terms: terms.pop("proposal_privacy"),
    lambda terms: terms["proposal_privacy"].update(target_epsilon=80.0),
    lambda terms: terms["proposal_privacy"].update(noise="simulation"),
    lambda terms: terms.update(proposal_privacy=[]),
    lambda terms: terms["privacy"]["proposals"].update(target_epsilon=80.0),
    lambda terms: terms["privacy"]["proposals"].update(target_epsilon=-1),
    lambda terms: terms["privacy"].update(scores={}),
    lambda terms: terms.pop("privacy"),
], ids=["gone", "epsilon", "noise", "list", "other", "negative", "unknown", "no privacy"])  # fmt: skip
def test_terms_that_contradict_themselves_are_not_understood(change):
    document = json.loads(creating.found(private()).specification)
    change(document["terms"])
    with pytest.raises(ConfigError, match="not understood"):
        read_terms(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("key", ["privacy.proposals.target_epsilon=80", "privacy.votes.epsilon=80"])
def test_no_member_changes_the_privacy_alone(key):
    with pytest.raises(ConfigError, match="agreed by all members"):
        check_local(terms_of(private()), Local("ada", 0, overrides=(key,)))


MOMENTS = {**PRIVACY, "moments": {"low": 0.0, "high": 16.0}}


def test_shared_moments_and_privacy_do_not_cross_the_network_yet(home):
    shared = private(preprocess={"use": "shared"}, privacy=MOMENTS)
    with pytest.raises(ConfigError, match="preprocess.use.*noised"):
        creating.found(shared)
    # Somebody else's tool may create it all the same.
    document = json.loads(creating.found(private(privacy=MOMENTS)).specification)
    document["terms"]["preprocess"] = {"use": "shared"}
    document["terms"].pop("scaling", None)
    terms = read_terms(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    for share in (None, 1):
        with pytest.raises(ConfigError, match="preprocess.use.*noised"):
            local_plan(terms, Local("ada", 0, share=share))
    assert not home.exists()


def test_own_rows_have_one_record_whatever_the_seed_that_divides_them(home):
    terms = terms_of(private())
    for seed in (1, 2):
        own = Local("ada", seed)
        learner_of(local_plan(terms, own), own).mli_propose_weights()
    (ledger,) = ledgers(home)
    parts = {each.partition for each in spends(home)}
    assert len(parts) == 2
    one, other = (ledger.consumed(each, 1e-5) for each in parts)
    assert one == other


def test_creating_spends_nothing_and_needs_no_record(home):
    creating.found(private())
    assert not home.exists()
