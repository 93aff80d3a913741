import sys
from dataclasses import replace
from pathlib import Path

import pytest

from colearn.core import Phase, Rules, calls
from colearn.core.bindings import ZERO
from colearn.errors import (
    BlobNotFoundError,
    ConfigError,
    LedgerConflictError,
    LedgerRejectedError,
)
from colearn.experiment import parse_config
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.network import connect, creating, joining, starting
from colearn.network.folder import NodeFolder
from colearn.network.local import Local
from colearn.network.settings import NodeSettings
from colearn.network.terms import specify
from colearn.store import DirectoryStore

KEYS = [Key.from_secret(bytes(31) + bytes([place])) for place in range(1, 5)]
DOCUMENT = {
    "name": "flowers",
    "rounds": 4,
    "task": {"use": "colearn.tasks:iris", "split": {"learners": 3}},
    "learner": {"use": "colearn.learners:RandomForestLearner", "with": {"trees_per_proposal": 2}},
}


class Place:
    """An experiment on an embedded ledger, its creator KEYS[0]."""

    def __init__(self, folder, document=DOCUMENT, invited=KEYS[1:3], **changes):
        self.folder = folder
        file = folder / "ledger.db"
        if not file.exists():
            EmbeddedLedger.create(file, KEYS[0].address, drift_s=5)
        self.ledger = connect.open_ledger_at(f"embedded:{file}")
        self.ledger.sync()
        self.founding = creating.found(parse_config({**document, **changes}))
        self.invited = [key.address for key in invited]

    def create(self, key=KEYS[0], *, leave=True, **settings):
        genesis = connect.genesis_of(self.ledger)
        url = f"embedded:{self.folder / 'ledger.db'}"
        draft = self.founding.invitation(url, genesis, f"directory:{self.folder / 'blobs'}", [])
        self.invitation = creating.create(
            self.founding, draft, self.ledger, key, invited=self.invited, **settings
        )
        if leave:
            creating.leave_blobs(self.founding, self.store("founded"))
        return self.invitation

    def store(self, name="fetched", key=KEYS[1]):
        held = DirectoryStore(self.folder / name)
        return connect.open_store(self.invitation, held, key, self.ledger)

    @property
    def experiment(self):
        return self.ledger.experiment(self.invitation.experiment)

    def offer(self, invitation=None):
        return joining.fetch_offer(
            invitation or self.invitation, self.experiment, self.store(), 5.0
        )

    def settings(self, key=KEYS[1], name="ben", **changes):
        return NodeSettings.of(
            name=name,
            invitation=self.invitation.to_link(),
            key=self.folder / "key.json",
            address=key.address,
            **changes,
        )

    def join(self, key, name):
        return joining.take_seat(
            self.offer(), self.ledger, key, self.settings(key, name), self.folder / "nodes" / name
        )


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.create()
    yield place
    place.ledger.close()


def test_who_creates_invites_and_leaves_what_the_others_need(place):
    assert place.invitation.experiment == 1
    assert set(place.experiment.roster.invited) == {key.address for key in KEYS[:3]}
    offer = place.offer()
    assert offer.model.digest == place.invitation.model
    assert offer.terms.config.name == "flowers"
    assert offer.terms.schema.classes == (0, 1, 2)
    assert (offer.terms.rules.propose_s, offer.terms.rules.early_close) == (600, True)


def test_creating_goes_on_where_it_was_broken_off_and_only_for_its_creator_and_file(place):
    head = place.ledger.head
    assert place.create(number=1) == place.invitation
    assert place.ledger.head == head
    place.invited.append(KEYS[3].address)
    place.create(number=1)
    assert place.ledger.head.height == head.height + 1
    with pytest.raises(ConfigError, match="was created by"):
        place.create(KEYS[1], number=1)
    other = Place(place.folder, rounds=5)
    with pytest.raises(ConfigError, match="unchanged"):
        other.create(number=1)
    assert place.create().experiment == 2
    other.ledger.close()


def test_phases_that_the_clocks_do_not_allow_create_nothing(tmp_path):
    place = Place(tmp_path, phases={"vote_s": 5})
    with pytest.raises(ConfigError, match=r"phases.vote_s"):
        place.create()
    assert place.ledger.head.height == 0
    place.ledger.close()


def test_a_creator_may_have_no_seat_and_more_are_invited_before_the_start_alone(tmp_path):
    place = Place(tmp_path)
    place.create(seat=False)
    assert KEYS[0].address not in place.experiment.roster.invited
    assert creating.invite(place.ledger, KEYS[0], 1, [KEYS[3].address, KEYS[1].address]) == [
        KEYS[3].address
    ]
    with pytest.raises(ConfigError, match="can invite"):
        creating.invite(place.ledger, KEYS[1], 1, [KEYS[2].address])
    with pytest.raises(ConfigError, match="nobody"):
        creating.invite(place.ledger, KEYS[0], 1, ["0x" + "00" * 20])
    for key, name in zip(KEYS[1:3], ("ben", "cleo"), strict=True):
        place.join(key, name)
    starting.start(place.ledger, KEYS[0], 1)
    with pytest.raises(ConfigError, match="has started"):
        creating.invite(place.ledger, KEYS[0], 1, ["0x" + "11" * 20])
    assert creating.invite(place.ledger, KEYS[0], 1, [KEYS[1].address]) == []
    place.ledger.close()


def test_who_is_not_invited_or_comes_too_late_is_told_what_to_do(place):
    with pytest.raises(ConfigError, match="is not invited.*colearn invite LINK 0x"):
        joining.check_place(place.invitation, place.experiment, KEYS[3].address)
    assert joining.check_place(place.invitation, place.experiment, KEYS[1].address) is False
    place.join(KEYS[1], "ben")
    assert joining.check_place(place.invitation, place.experiment, KEYS[1].address) is True
    place.join(KEYS[2], "cleo")
    starting.start(place.ledger, KEYS[0], 1)
    assert joining.check_place(place.invitation, place.experiment, KEYS[1].address) is True
    with pytest.raises(ConfigError, match="has started without"):
        joining.check_place(place.invitation, place.experiment, KEYS[0].address)


@pytest.mark.parametrize("field", ["specification", "model"])
def test_an_invitation_to_something_else_is_refused(place, field):
    changed = replace(place.invitation, **{field: "9" * 64})
    with pytest.raises(ConfigError, match="another specification or model 0"):
        joining.check_place(changed, place.experiment, KEYS[1].address)


def test_rules_on_the_ledger_that_differ_from_the_specification_are_named(place):
    rules = replace(Rules(), propose_s=99, vote_s=300, early_close=True, rounds=4)
    digests = (place.invitation.specification, place.invitation.model)
    place.ledger.submit(KEYS[0], calls.Create(*digests, rules.to_word(), ""))
    place.invitation = replace(place.invitation, experiment=2)
    with pytest.raises(ConfigError, match="propose_s = 600, and the ledger 99"):
        place.offer()


def test_a_specification_of_another_model_0_is_refused(place):
    config = place.founding.config
    data = specify(config, "8" * 64, object(), None)
    wrong = replace(place.invitation, specification=place.store().put(data))
    with pytest.raises(ConfigError, match="names model 0 8888"):
        place.offer(wrong)


def test_blobs_that_nobody_has_are_named_with_what_helps(tmp_path):
    place = Place(tmp_path)
    place.create(leave=False)
    with pytest.raises(BlobNotFoundError, match="colearn create --experiment"):
        place.offer()
    place.create(number=1)
    assert place.offer().model.digest == place.invitation.model
    place.ledger.close()


TASK = """
import numpy as np
from colearn.schema import Schema
from colearn.tasks import Task, iris

def columns():
    names = list(iris().schema.features)
    names[2] = "petal width in inches"
    return Task("mine", iris().X, iris().y, Schema.of(names, [0, 1, 2]))

def classes():
    rows = iris().y < 2
    return Task("mine", iris().X[rows], iris().y[rows], Schema.of(iris().schema.features, [0, 1]))

class Wrong:
    def __init__(self, **settings):
        self.schema = settings["schema"]
        self.name = settings["name"]
    def mli_get_current_weights(self):
        from colearn.interface import Weights
        from colearn.learners import SklearnLearner
        return Weights(weights={"coef": np.ones((3, 4)), "intercept": np.zeros(3)})
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "flowers_of_mine.py").write_text(TASK)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("flowers_of_mine", None)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.use=flowers_of_mine:columns", "expected column 'petal length .cm.' at position 2"),
        ("task.use=flowers_of_mine:classes", "class 2 is missing"),
    ],
)
def test_other_columns_and_classes_are_refused_by_name(place, modules, override, said):
    local = Local("ben", 1, overrides=(override,), search=modules)
    with pytest.raises(ConfigError, match=said):
        joining.check_fit(place.offer(), local)


def test_another_model_0_is_refused_by_the_name_of_its_array(tmp_path, modules):
    sgd = {"estimator": "sklearn.linear_model:SGDClassifier", "loss": "log_loss"}
    learner = {"use": "colearn.learners:SklearnLearner", "with": sgd}
    place = Place(tmp_path, learner=learner)
    place.create()
    wrong = ("learner.use=flowers_of_mine:Wrong", "learner.with={}")
    with pytest.raises(ConfigError, match="another model than the experiment: array 'coef'"):
        joining.check_fit(place.offer(), Local("ben", 1, overrides=wrong, search=modules))
    prepared = joining.check_fit(place.offer(), Local("ben", 1, search=modules))
    assert prepared.names == ("ben",)
    place.ledger.close()


def test_what_the_specification_names_is_not_called_before_it_is_trusted(tmp_path, modules):
    target = tmp_path / "called"
    task = {"use": "os:mkdir", "with": {"path": str(target)}}
    place = Place(tmp_path)
    hostile = replace(
        place.founding,
        specification=specify(
            parse_config({**DOCUMENT, "task": task}), place.founding.model.digest, object(), None
        ),
    )
    place.founding = hostile
    place.create()
    offer = place.offer()
    with pytest.raises(ConfigError, match='task.use = "os:mkdir".*--trust os'):
        joining.check_fit(offer, Local("ben", 1, search=modules))
    assert not target.exists()
    with pytest.raises(ConfigError, match="must return a colearn.tasks.Task"):
        joining.check_fit(offer, Local("ben", 1, search=modules), ["os"])
    assert target.exists()
    place.ledger.close()


def test_a_join_that_is_refused_leaves_no_folder(place):
    offer = place.offer()
    with EmbeddedLedger(place.folder / "ledger.db") as other:
        other.sync()
        for key in (KEYS[0], KEYS[2]):
            origin = (place.invitation.specification, place.invitation.model)
            other.submit(key, calls.Join(1, *origin, ZERO))
        starting.start(other, KEYS[0], 1)
    with pytest.raises(ConfigError, match="has started without"):
        joining.take_seat(
            offer, place.ledger, KEYS[1], place.settings(), place.folder / "nodes" / "ben"
        )
    assert list((place.folder / "nodes").iterdir()) == []


def test_joining_again_goes_on_with_the_new_choices(place):
    folder = place.join(KEYS[1], "ben")
    height = place.ledger.head.height
    again = joining.take_seat(
        place.offer(), place.ledger, KEYS[1], place.settings(share=2), folder.path
    )
    assert place.ledger.head.height == height
    assert NodeFolder.open(folder.path).settings == again.settings
    assert again.settings.share == 2
    assert again.agreed().model == place.invitation.model
    assert again.make_learner().name == "ben"
    with pytest.raises(ConfigError, match="another experiment or key"):
        joining.take_seat(
            place.offer(), place.ledger, KEYS[2], place.settings(KEYS[2]), folder.path
        )
    with folder.running(), pytest.raises(ConfigError, match="Another process"):
        joining.take_seat(place.offer(), place.ledger, KEYS[1], place.settings(), folder.path)


def test_relative_paths_start_where_it_was_joined(place, modules, monkeypatch):
    (modules / "flowers.csv").write_text("1,2\n")
    code = (
        "from pathlib import Path\n"
        + TASK
        + "\ndef near(path):\n    assert Path(path).is_file()\n    return iris()\n"
    )
    (modules / "flowers_of_mine.py").write_text(code)
    own = ("task.use=flowers_of_mine:near", "task.with.path=flowers.csv")
    monkeypatch.chdir(modules)
    settings = place.settings(overrides=own, search=modules)
    path = place.folder / "nodes" / "ben"
    folder = joining.take_seat(place.offer(), place.ledger, KEYS[1], settings, path)
    monkeypatch.chdir(place.folder)
    assert folder.make_learner().name == "ben"
    assert Path.cwd() == place.folder
    relative = NodeFolder.open(Path("nodes") / "ben")
    assert len(relative.plan().task.y) == 150
    modules.rename(place.folder / "elsewhere")
    with pytest.raises(ConfigError, match="is gone"):
        folder.make_learner()


def test_a_seat_whose_folder_was_lost_gets_it_again(place):
    place.join(KEYS[1], "ben")
    height = place.ledger.head.height
    place.join(KEYS[1], "elsewhere")
    assert place.ledger.head.height == height
    assert NodeFolder.open(place.folder / "nodes" / "elsewhere").terms().model


def test_the_creator_starts_when_it_was_told_to(place):
    assert not starting.at_once(place.experiment)
    place.join(KEYS[1], "ben")
    place.join(KEYS[2], "cleo")
    assert starting.at_once(place.experiment)
    assert not starting.all_joined(place.experiment)
    assert starting.members_joined(2)(place.experiment)
    assert not starting.members_joined(3)(place.experiment)
    place.join(KEYS[0], "ada")
    assert starting.all_joined(place.experiment)
    with pytest.raises(ConfigError, match="at least 2"):
        starting.members_joined(1)
    with pytest.raises(LedgerRejectedError):
        starting.start(place.ledger, KEYS[1], 1)
    starting.start(place.ledger, KEYS[0], 1)
    assert place.experiment.phase is Phase.PROPOSE


def test_more_than_two_thirds_finish_an_experiment(place):
    for key, name in zip(KEYS[:3], ("ada", "ben", "cleo"), strict=True):
        place.join(key, name)
    with pytest.raises(ConfigError, match="has not started"):
        starting.finish(place.ledger, KEYS[0], 1)
    starting.start(place.ledger, KEYS[0], 1)
    with pytest.raises(ConfigError, match="no member"):
        starting.finish(place.ledger, KEYS[3], 1)
    assert [starting.finish(place.ledger, key, 1) for key in (*KEYS[:2], KEYS[1], KEYS[2])] == [
        False, False, False, True,
    ]  # fmt: skip
    state = starting.state_of(place.ledger, 1, KEYS[1].address)
    assert (state["phase"], state["finishing"], state["members"]) == ("propose", True, 3)


class Contended:
    """A ledger on which another process with the same key is faster, so many times."""

    def __init__(self, ledger, times):
        self.ledger, self.times, self.read = ledger, times, 0

    def __getattr__(self, name):
        return getattr(self.ledger, name)

    def sync(self):
        self.read += 1
        return self.ledger.sync()

    def submit(self, key, call):
        if self.times:
            self.times -= 1
            raise LedgerConflictError("has another entry with this nonce")
        return self.ledger.submit(key, call)


def test_a_motion_is_signed_again_when_the_members_own_node_was_faster(place):
    for key, name in zip(KEYS[:2], ("ada", "ben"), strict=True):
        place.join(key, name)
    starting.start(place.ledger, KEYS[0], 1)
    contended = Contended(place.ledger, 3)
    assert not starting.finish(contended, KEYS[0], 1)
    assert contended.read == 3
    with pytest.raises(LedgerConflictError):
        starting.finish(Contended(place.ledger, 100), KEYS[1], 1)
