"""Experiments whose file asks for privacy: what is published, paid, and said."""

import json
import math

import numpy as np
import pytest
from tests.private_learners import ledgers, spends
from typer.testing import CliRunner

from colearn.audit import audit, open_source
from colearn.cli.app import app
from colearn.core import Outcome
from colearn.errors import BudgetExceededError, ConfigError, SpendsCorruptError
from colearn.experiment import Collective, parse_config, plan
from colearn.experiment.card import model_card
from colearn.experiment.plan import proposal_privacy_of
from colearn.experiment.statement import NONE, NOT_PRIVATE, statement_of
from colearn.learners import SklearnLearner
from colearn.privacy import Partition, VoteEntry, epsilon_of
from colearn.privacy.claim import check_claim, claim_of
from colearn.store import Archive, DirectoryStore

# As many units as there are: the accountant has a closed form for steps on all rows.
PROPOSALS = {"target_epsilon": 8.0, "expected_batch_size": 10_000, "steps_per_proposal": 3}
VOTES = {"epsilon": 8.0}
MOMENTS = {"epsilon": 1.0, "delta": 1e-6, "low": 0, "high": 10}


def config(*, rounds=6, learners=3, task="digits", privacy=None, **more):
    privacy = {"proposals": PROPOSALS, "votes": VOTES} if privacy is None else privacy
    return parse_config({
        "rounds": rounds,
        "task": {"use": f"colearn.tasks:{task}", "split": {"by": "iid", "learners": learners}},
        "learner": {
            "use": "colearn.learners:SklearnLearner",
            "with": {
                "estimator": "sklearn.linear_model:SGDClassifier", "loss": "log_loss",
                "learning_rate": "constant", "eta0": 1.0, "damping": 1.0,
            },
        },
        "privacy": privacy,
        **more,
    })  # fmt: skip


def started(asked, folder):
    prepared = plan(asked, folder / "privacy")
    return Collective(
        prepared.group(), directory=folder, rounds=asked.rounds, seed=asked.seed,
        terms=asked.terms(), privacy=proposal_privacy_of(asked),
    )  # fmt: skip


def ran(asked, folder):
    run = started(asked, folder)
    records = list(run.rounds())
    run.close()
    return records


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private") / "run"
    return folder, ran(config(), folder)


def test_records_have_votes_and_no_scores(run):
    folder, records = run
    assert len(records) == 6
    for record in records:
        assert record.proposal
        assert len(record.votes) == 2
        assert set(map(str, record.votes.values())) <= {"approve", "reject"}
        assert set(record.vote_scores.values()) == set(record.test_scores.values()) == {None}
        assert (record.score, record.monitored, record.failures) == (None, {}, {})
    observed = [
        json.loads(line) for line in (folder / "observations.jsonl").read_text().splitlines()
    ]
    assert len(observed) == 12
    assert {(each["vote_score"], each["test_score"]) for each in observed} == {(None, None)}


def test_every_proposal_carries_the_claim_that_was_agreed_on(run):
    folder, records = run
    archive = Archive(DirectoryStore(folder / "blobs"))
    agreed = proposal_privacy_of(config())
    assert agreed.planned_proposals == 2
    claimed = {}
    for record in records:
        claim = claim_of(archive.get(record.proposal).metadata)
        check_claim(claim, agreed)
        claimed.setdefault(record.proposer, []).append(claim.dp_budget.consumed_epsilon)
    for first, second in claimed.values():
        assert first < second <= 8.0
        assert second > 7.99


def test_each_member_has_a_record_of_its_own_spends(run):
    folder, _ = run
    for name in ("ada", "ben", "cleo"):
        (ledger,) = ledgers(folder / "privacy" / name)
        ledger.verify()
        for part, count, delta in (("train", 2, 1e-5), ("vote", 4, 1e-6)):
            own = spends(folder / "privacy" / name, part)
            assert len(own) == count
            assert len({each.partition for each in own}) == 1
            assert ledger.consumed(own[0].partition, delta) <= 8.0
        assert len(spends(folder / "privacy" / name)) == 6
    assert not list(folder.glob("*.spends.jsonl"))


def test_the_audit_reads_the_claims_and_finds_nothing(run):
    folder, _ = run
    done = CliRunner().invoke(app, ["audit", str(folder), "--json"])
    assert done.exit_code == 0, done.stdout
    (check,) = (each for each in json.loads(done.stdout)["checks"] if each["number"] == 11)
    assert (check["verdict"], check["detail"]) == ("passed", "6 claims read")


def test_the_audit_of_privacy_replays_the_spends(run):
    folder, _ = run
    (folder / "experiment.toml").write_text(config().to_toml())
    from colearn.audit.spends import check_spends
    from colearn.cli.privacy_run import audited_run

    audited = audited_run(folder)
    check = check_spends(audited.records, audited.targets)
    assert check.findings == []
    assert check.detail == "3 records"
    assert set(check.numbers) == {
        f"{name} {part} epsilon" for name in ("ada", "ben", "cleo") for part in ("train", "vote")
    }
    assert all(0 < each <= 8.0 for each in check.numbers.values())


def test_the_card_and_the_specification_say_the_terms(run):
    folder, records = run
    asked = config()
    lines = statement_of(asked)
    assert len(lines) == 3
    assert lines[0].startswith("Proposals: at most (8, 1e-05)-differential privacy for one row")
    assert "planned for 2 proposals" in lines[0]
    assert lines[1].startswith("Votes: at most (8, min(1e-6, 1 / 10 m))")
    assert "planned for 6; no score is published." in lines[1]

    class Folder:
        def records(self):
            return records

        def document(self, name):
            return None

    card = model_card(Folder(), asked, plan(asked, folder / "other").task.schema, cid="c", head="h")
    privacy = card.partition("## Privacy")[2].partition("## ")[0]
    assert "differential privacy for one row" in privacy
    assert "NOT PRIVATE" not in card
    assert "may reveal rows" not in privacy


def test_one_proposal_more_than_planned_is_no_proposal(tmp_path):
    privacy = {"proposals": {**PROPOSALS, "planned_proposals": 1}}
    run = started(config(privacy=privacy, rounds=9), tmp_path / "run")
    records = list(run.rounds())
    assert [str(each.outcome) for each in records[:3]] != ["no proposal"] * 3
    assert all(each.proposal for each in records[:3])
    # Then everybody is spent: the experiment ends after two turns of everybody (7.2).
    assert {(each.outcome, each.reason) for each in records[3:]} == {
        (Outcome.NO_PROPOSAL, "DP_BUDGET_EXCEEDED")
    }
    assert len(records) == 9
    assert run.over_
    assert run.stopped_ == "no proposals"
    run.close()
    assert len(spends(tmp_path)) == 3


def test_who_has_no_votes_left_abstains_and_the_others_decide(tmp_path):
    privacy = {"votes": {"epsilon": 8.0, "planned_votes": 1}}
    records = ran(config(privacy=privacy, rounds=4), tmp_path / "run")
    votes = [{str(each) for each in record.votes.values()} for record in records]
    # ada proposes, ben and cleo have their only vote; then ada has hers.
    assert votes[0] <= {"approve", "reject"}
    assert str(records[1].votes["cleo"]) == "abstain"
    assert votes[2:] == [{"abstain"}] * 2
    assert [record.outcome for record in records[2:]] == [Outcome.REJECTED] * 2
    assert len(spends(tmp_path)) == 3


def test_noised_scores_are_the_only_scores(tmp_path):
    privacy = {"votes": {"epsilon": 8.0, "test_scores": "noised", "test_epsilon": 8.0}}
    records = ran(config(privacy=privacy, rounds=3), tmp_path / "run")
    for record in records:
        assert set(record.vote_scores.values()) == {None}
        assert record.test_scores[record.proposer] is None
        noised = [each for each in record.test_scores.values() if each is not None]
        assert len(noised) == 2
        assert all(0 <= each <= 1 for each in noised)


def test_simulated_noise_repeats_the_run_and_is_called_not_private(tmp_path):
    noise = {"noise": "simulation"}
    asked = config(privacy={"proposals": {**PROPOSALS, **noise}, "votes": {**VOTES, **noise}})
    first, second = (ran(asked, tmp_path / name) for name in ("one", "two"))
    files = [(tmp_path / name / "rounds.jsonl").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert statement_of(asked)[0] == NOT_PRIVATE
    secure = ran(config(), tmp_path / "three")
    assert secure[0].proposal != first[0].proposal
    assert [each.proposal for each in first] == [each.proposal for each in second]


def test_a_liar_lies_privately_and_the_others_outvote_it(tmp_path):
    asked = config(learners=4, rounds=4, hostile={"learners": 1})
    members = plan(asked, tmp_path / "lies").group()
    assert members[3].votes_privately
    entry = members[3].mli_test_weights(members[3].mli_get_current_weights())
    (kept,) = [each for each in ledgers(tmp_path)[-1].entries() if isinstance(each, VoteEntry)]
    assert entry.vote is not kept.vote
    records = ran(asked, tmp_path / "run")
    assert [each.proposer for each in records] == ["ada", "ben", "cleo", "mallory"]
    assert all(not each.failures and each.proposal for each in records)
    assert len(spends(tmp_path / "run" / "privacy" / "mallory")) == 4
    assert audit(open_source(str(tmp_path / "run"))).passed


def test_an_experiment_without_privacy_says_so_and_has_the_terms_it_had():
    asked = config(privacy={})
    assert statement_of(asked) == [NONE]
    assert "privacy" not in asked.terms()
    assert config().terms()["privacy"]["proposals"]["target_epsilon"] == 8.0


@pytest.mark.parametrize(("privacy", "says"), [
    ({"proposals": PROPOSALS}, "Votes are NOT private"),
    ({"votes": VOTES}, "Proposals are NOT private"),
])  # fmt: skip
def test_what_is_not_private_is_said_in_capitals(privacy, says):
    assert any(line.startswith(says) for line in statement_of(config(privacy=privacy)))


def test_classic_votes_are_refused_with_privacy(tmp_path):
    with pytest.raises(ConfigError, match='mode "classic"'):
        plan(config(vote={"mode": "classic"}), tmp_path).group()


def test_a_target_needs_scores():
    with pytest.raises(ConfigError, match=r"\[privacy\].*no score.*target.*noised"):
        config(target=0.9)
    noised = config(target=0.9, privacy={"votes": {"epsilon": 8.0, "test_scores": "noised"}})
    assert noised.target == 0.9
    assert config(target=0.9, privacy={"proposals": PROPOSALS}).target == 0.9


def test_a_learner_that_knows_no_privacy_is_refused(tmp_path):
    asked = config(learner={"use": "tests.unit.experiment.test_private_experiments:deaf"})
    with pytest.raises(ConfigError, match=r"\[learner.with\].*privacy"):
        plan(asked, tmp_path).group()


def deaf(*, train, vote, test, schema, name, seed, model_seed, mode, z, balanced):
    raise AssertionError("it was not refused")


def shared(**changes):
    privacy = {"votes": VOTES, "moments": {**MOMENTS, **changes}}
    return config(task="iris", privacy=privacy, preprocess={"use": "shared"})


def test_shared_moments_need_noise_where_something_is_private(tmp_path):
    asked = config(task="iris", preprocess={"use": "shared"})
    with pytest.raises(ConfigError, match=r"\[privacy.moments\]"):
        plan(asked, tmp_path)
    assert not list(tmp_path.iterdir())
    plan(config(task="iris", privacy={}, preprocess={"use": "shared"}), tmp_path)


def release(folder):
    (kept,) = folder.glob("*.moments.json")
    return kept


def test_shared_moments_are_noised_once_and_then_kept(tmp_path):
    plain = plan(config(task="iris", privacy={}, preprocess={"use": "shared"}), tmp_path)
    one, again = (plan(shared(), tmp_path) for _ in range(2))
    assert (one.X == again.X).all()
    assert not (one.X == plain.X).all()
    assert (plan(shared(), tmp_path / "other").X != one.X).any()
    for name in ("ada", "ben", "cleo"):
        (spent,) = spends(tmp_path / name)
        assert spent.partition == Partition("moments", "moments")
        assert spent.purpose == "moments"
        kept = release(tmp_path / name)
        document = json.loads(kept.read_text())
        assert set(document) == {"question", "count", "mean", "mean_square"}


def test_moments_are_noised_where_nothing_else_is_private(tmp_path):
    asked = config(task="iris", privacy={"moments": MOMENTS}, preprocess={"use": "shared"})
    prepared = plan(asked, tmp_path)
    assert len(spends(tmp_path)) == 3
    assert not prepared.member(0).votes_privately
    said = statement_of(asked)
    assert said[0].startswith("Proposals are NOT private")
    assert said[2].startswith("Shared moments: (1, 1e-06)")
    assert asked.terms()["privacy"]["moments"]["low"] == 0


def test_moments_add_to_what_votes_and_proposals_spend(tmp_path):
    asked = shared()
    member = plan(asked, tmp_path).member(0)
    voting = member._private._voting
    alone = plan(config(task="iris", privacy={"votes": VOTES}), tmp_path / "b").member(0)
    assert voting.e0 < alone._private._voting.e0
    (ledger,) = ledgers(tmp_path / "ada")
    (spent,) = spends(tmp_path / "ada")
    vote = Partition(member._private._split, "vote")
    assert ledger.consumed(vote, 1e-6) == epsilon_of([spent.spend], 1e-6)
    assert math.isclose(ledger.consumed(vote, 1e-6), 1.0, rel_tol=1e-6)


@pytest.mark.parametrize("damage", [
    lambda text: text[: len(text) // 2],
    lambda text: text.replace('"mean":', '"men":'),
    lambda text: "[]",
    lambda text: "null",
    lambda text: text.replace('"count": ', '"count": -'),
    lambda text: text.replace('"mean": [', '"mean": [NaN, '),
    lambda text: text.replace('"mean": [', '"mean": [[1], '),
], ids=["cut", "key", "list", "null", "count", "nan", "ragged"])  # fmt: skip
def test_a_damaged_release_is_refused_and_not_drawn_again(tmp_path, damage):
    plan(shared(), tmp_path)
    kept = release(tmp_path / "ben")
    text = damage(kept.read_text())
    kept.write_text(text)
    with pytest.raises(SpendsCorruptError, match=r"moments\.json"):
        plan(shared(), tmp_path)
    assert kept.read_text() == text
    assert len(spends(tmp_path)) == 3


def test_a_release_for_other_bounds_is_not_taken(tmp_path):
    plan(shared(), tmp_path)
    with pytest.raises(ConfigError, match="other rows or other bounds"):
        plan(shared(high=11), tmp_path)
    assert len(spends(tmp_path)) == 3


def test_other_rows_have_a_release_and_a_record_of_their_own(tmp_path):
    plan(shared(), tmp_path)
    plan(shared().model_copy(update={"seed": 4}), tmp_path)
    assert len(spends(tmp_path)) == 6
    assert len([*(tmp_path / "ada").glob("*.moments.json")]) == 2


def test_without_a_folder_moments_and_votes_are_in_one_record(tmp_path, monkeypatch):
    monkeypatch.setenv("COLEARN_PRIVACY", str(tmp_path))
    plan(shared(), None).member(0)
    for ledger in ledgers(tmp_path):
        assert [entry.purpose for entry in ledger.entries()] == ["moments"]
    assert len(ledgers(tmp_path)) == 3


def test_a_release_that_was_lost_is_not_paid_for_twice(tmp_path):
    plan(shared(), tmp_path)
    kept = release(tmp_path / "ada")
    kept.unlink()
    with pytest.raises(BudgetExceededError):
        plan(shared(), tmp_path)
    assert not kept.exists()


@pytest.mark.parametrize("bounds", [
    {"low": [0.0, 0.0]}, {"low": 10.0}, {"low": [0.0] * 4, "high": [1.0] * 5}, {"high": -1},
])  # fmt: skip
def test_bounds_that_do_not_fit_spend_nothing(tmp_path, bounds):
    with pytest.raises(ConfigError, match="bound|moments"):
        plan(shared(**bounds), tmp_path)
    assert spends(tmp_path) == []


def test_wide_bounds_give_noise_in_proportion(tmp_path):
    # 4 features, rho(1, 1e-6): the noise of a mean has a deviation of a few percent of the range.
    prepared = plan(shared(), tmp_path)
    mean = np.mean([
        json.loads(release(tmp_path / name).read_text())["mean"]
        for name in ("ada", "ben", "cleo")
    ], axis=0)  # fmt: skip
    assert abs(mean - prepared.task.X.mean(axis=0)).max() < 10
    assert np.isfinite(prepared.X).all()


def test_a_private_learner_of_the_file_is_the_one_that_is_built_by_hand(tmp_path):
    member = plan(config(), tmp_path).member(1)
    assert isinstance(member, SklearnLearner)
    assert member.votes_privately
    assert member._private.proposals
