"""`colearn.testing`: every check bites, and bites alone; and the check does not tire of a good one."""

import re
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from colearn import ColearnModel, ProposedWeights, Weights
from colearn.errors import ColearnError, ConfigError
from colearn.interface import ModelFormat
from colearn.testing import LearnerCheckError, check_learner, learner_checks, malformed_arrays
from colearn.testing.malformed import edited_nodes
from colearn.weights import form_of, freeze, require_like

X = np.random.default_rng(3).normal(size=(180, 3))
Y = X @ [1.0, -2.0, 0.5]
CHECKS = {check.name: check for check in learner_checks()}


class Honest:
    """A plain class: linear regression by mini-batches; no base class, no template."""

    def __init__(self, place, seed):
        rows = slice(60 * place, 60 * place + 40)
        votes = slice(60 * place + 40, 60 * place + 60)
        self.place, self.seed, self.turn = place, seed, 0
        self.train, self.vote = (X[rows], Y[rows]), (X[votes], Y[votes])
        self.weights = self.model_0()

    def model_0(self):
        return {"w": np.zeros(3), "b": np.zeros(1)}

    def checked(self, arrays):
        arrays = freeze(arrays)
        require_like(arrays.layout, form_of(self.weights))
        return arrays

    def loss(self, arrays):
        rows, y = self.vote
        with np.errstate(all="ignore"):
            return float(np.mean(np.square(rows @ arrays["w"] + arrays["b"] - y)))

    def generator(self):
        return np.random.default_rng([self.seed, self.turn])

    def begin_round(self, number):
        self.turn = number

    def start(self):
        return {name: np.array(array) for name, array in self.weights.items()}

    def trained(self, arrays):
        rows, y = self.train
        chosen = self.generator().permutation(len(y))[:30]
        rows, y = rows[chosen], y[chosen]
        self.turn += 1
        return self.stepped(arrays, rows, y)

    def stepped(self, arrays, rows, y):
        error = rows @ arrays["w"] + arrays["b"] - y
        arrays["w"] -= 0.2 * rows.T @ error / len(y)
        arrays["b"] -= 0.2 * error.mean()
        return arrays

    def mli_propose_weights(self):
        return Weights(weights=self.trained(self.start()))

    def judged(self, weights):
        now, then = self.loss(weights), self.loss(self.weights)
        return {"vote_score": -now if now < 1e100 else float("nan"), "vote": bool(now < then)}

    def mli_test_weights(self, weights):
        return ProposedWeights(weights=weights, **self.judged(self.checked(weights.weights)))

    def mli_accept_weights(self, weights):
        self.weights = self.checked(weights.weights)

    def mli_get_current_weights(self):
        return Weights(weights=self.weights)

    def mli_get_current_model(self):
        raise ColearnError("There is no ONNX of it.")


class TrainsInPlace(Honest):
    def start(self):
        self.weights = {name: np.array(array) for name, array in self.weights.items()}
        return self.weights

    def mli_propose_weights(self):
        proposed = self.trained(self.start())
        return Weights(weights={name: array.copy() for name, array in proposed.items()})


class RestoresAfterTraining(Honest):
    def mli_propose_weights(self):
        before = self.weights
        self.weights = self.start()
        proposed = self.trained(self.weights)
        self.weights = before
        return Weights(weights=proposed)


class StaysBusy(Honest):
    is_busy = False

    def mli_propose_weights(self):
        if self.is_busy:
            raise RuntimeError("already training")
        self.is_busy = True
        proposed = super().mli_propose_weights()
        self.is_busy = False
        return proposed


class StaysNarrow(Honest):
    def mli_propose_weights(self):
        rows, y = self.train
        self.train = rows[:-5], y[:-5]
        proposed = super().mli_propose_weights()
        self.train = rows, y
        return proposed


class RestoresAfterTesting(Honest):
    def mli_test_weights(self, weights):
        arrays = self.checked(weights.weights)
        before, self.weights = self.weights, arrays
        now = self.loss(arrays)
        self.weights = before
        return ProposedWeights(weights=weights, vote_score=-now, vote=now < self.loss(before))


class AcceptsWhileTesting(Honest):
    def mli_test_weights(self, weights):
        judged = super().mli_test_weights(weights)
        if judged.vote:
            self.weights = self.checked(weights.weights)
        return judged


class CountsTests(Honest):
    def mli_test_weights(self, weights):
        judged = super().mli_test_weights(weights)
        self.seed += 1
        return judged


class KeepsWhatIsNoNumber(Honest):
    def mli_test_weights(self, weights):
        if isinstance(weights.weights, dict) and np.isnan(weights.weights.get("w", 0.0)).any():
            self.weights = {"w": np.ones(3), "b": np.ones(1)}
            raise ColearnError("NaN")
        return super().mli_test_weights(weights)


class OwnModel0(Honest):
    def model_0(self):
        return {"w": np.full(3, 0.001 * self.place), "b": np.zeros(1)}


class Rounds(Honest):
    def mli_accept_weights(self, weights):
        arrays = self.checked(weights.weights)
        self.weights = {
            name: array.astype(np.float32).astype(float) for name, array in arrays.items()
        }


class LastKeepsItsOwn(Honest):
    def mli_accept_weights(self, weights):
        super().mli_accept_weights(weights)
        if self.place == 1:
            self.weights = {**self.weights, "b": self.weights["b"] + 1}


class WritesIntoCurrent(Honest):
    def mli_accept_weights(self, weights):
        for name, array in self.checked(weights.weights).items():
            self.weights[name][...] = array


class ProposesViews(Honest):
    def mli_propose_weights(self):
        arrays = self.trained(self.start())
        self.weights = {**self.weights, "b": np.array(self.weights["b"])}
        fixed = self.weights["b"]
        return Weights(weights={"w": arrays["w"], "b": fixed})


class TakesAnything(Honest):
    def checked(self, arrays):
        return freeze(arrays)


class RaisesKeyErrors(Honest):
    def checked(self, arrays):
        return {"w": arrays["w"], "b": arrays["b"]}


class OfTheProcess(Honest):
    def generator(self):
        return np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002


class OfItsOwnStream(Honest):
    def __init__(self, place, seed):
        super().__init__(place, seed)
        self.stream = np.random.default_rng(seed)

    def generator(self):
        return self.stream


class SaysSo(OfItsOwnStream):
    local_state = "restarted"


class BeginsAnew(Honest):
    def start(self):
        return self.model_0()


class ProposesTheModel(Honest):
    def trained(self, arrays):
        self.turn += 1
        return arrays


class Ascends(Honest):
    def judged(self, weights):
        good = super().judged(weights)
        return {"vote_score": -good["vote_score"], "vote": good["vote"]}


class VotesOne(Honest):
    def judged(self, weights):
        return {**super().judged(weights), "vote": 1}


class AnswersADict(Honest):
    def mli_test_weights(self, weights):
        return self.judged(self.checked(weights.weights))


class ApprovesWithoutAScore(Honest):
    def judged(self, weights):
        return {"vote_score": float("nan"), "vote": True}


class ScoresInfinity(Honest):
    def judged(self, weights):
        return {**super().judged(weights), "vote_score": float("inf"), "vote": False}


class WritesIntoInputs(Honest):
    def mli_test_weights(self, weights):
        judged = super().mli_test_weights(weights)
        if weights.weights["w"].flags.writeable:
            weights.weights["w"][0] += 1
        return judged


class RoundsItsRows(Honest):
    def trained(self, arrays):
        self.train[0][...] = np.round(self.train[0], 2)
        return super().trained(arrays)


class RemembersItsOwn(Honest):
    def mli_propose_weights(self):
        self.last = super().mli_propose_weights()
        return self.last

    def mli_accept_weights(self, weights):
        arrays = self.checked(weights.weights)
        is_mine = weights is getattr(self, "last", None)
        self.weights = {**arrays, "b": arrays["b"] + 1e-9} if is_mine else arrays


class ModelIsAPickle(Honest):
    def mli_get_current_model(self):
        return ColearnModel(model_format=ModelFormat.PICKLE_WEIGHTS_ONLY, model=b"")


class ModelIsAnArray(Honest):
    def mli_get_current_model(self):
        return self.weights["w"]


class HasNoArrays(Honest):
    def mli_get_current_weights(self):
        return Weights(weights=[1.0, 2.0])


class Grower:
    """A plain class whose proposals add stumps; each has a feature and a value."""

    grows = True

    def __init__(self, place, seed):
        self.rows = X[60 * place : 60 * place + 60], Y[60 * place : 60 * place + 60]
        self.weights = {"feature": np.zeros(0, np.int32), "slope": np.zeros(0)}

    def checked(self, arrays):
        arrays = freeze(arrays)
        require_like(arrays.layout, form_of(self.weights), grows=True)
        feature = arrays["feature"]
        if len(feature) != len(arrays["slope"]) or not ((feature >= 0) & (feature < 3)).all():
            raise ColearnError("no such feature")
        return arrays

    def predicted(self, arrays):
        columns = self.rows[0][:, np.asarray(arrays["feature"], int)]
        with np.errstate(all="ignore"):
            return columns @ arrays["slope"]

    def mli_propose_weights(self):
        left = self.rows[1] - self.predicted(self.weights)
        slopes = self.rows[0].T @ left / np.square(self.rows[0]).sum(axis=0)
        best = int(np.argmax(abs(slopes)))
        return Weights(
            weights={
                "feature": np.append(self.weights["feature"], np.int32(best)).astype(np.int32),
                "slope": np.append(self.weights["slope"], slopes[best]),
            }
        )

    def mli_test_weights(self, weights):
        with np.errstate(all="ignore"):
            loss = np.square(self.predicted(self.checked(weights.weights)) - self.rows[1]).mean()
        score = -float(loss) if loss < 1e100 else float("nan")
        return ProposedWeights(weights=weights, vote_score=score, vote=score > -3)

    def mli_accept_weights(self, weights):
        self.weights = self.checked(weights.weights)

    mli_get_current_weights = Honest.mli_get_current_weights
    mli_get_current_model = Honest.mli_get_current_model


class TakesFewerTrees(Grower):
    def checked(self, arrays):
        weights, self.weights = (
            self.weights,
            {"feature": np.zeros(0, np.int32), "slope": np.zeros(0)},
        )
        try:
            return super().checked(arrays)
        finally:
            self.weights = weights


class WrapsFeatures(Grower):
    def checked(self, arrays):
        arrays = freeze(arrays)
        require_like(arrays.layout, form_of(self.weights), grows=True)
        if len(arrays["feature"]) != len(arrays["slope"]):
            raise ColearnError("not one slope a feature")
        return arrays

    def predicted(self, arrays):
        return super().predicted({**arrays, "feature": np.asarray(arrays["feature"], int) % 3})


class MultipliesWhatDoesNotFit(Grower):
    def checked(self, arrays):
        arrays = freeze(arrays)
        require_like(arrays.layout, form_of(self.weights), grows=True)
        if not ((arrays["feature"] >= 0) & (arrays["feature"] < 3)).all():
            raise ColearnError("no such feature")
        return arrays


class ReadsAnyFeature(Grower):
    def checked(self, arrays):
        arrays = freeze(arrays)
        require_like(arrays.layout, form_of(self.weights), grows=True)
        return arrays


MALFORMED = "malformed arrays are refused or judged"
BROKEN = [
    (
        TrainsInPlace,
        [
            "proposing changes nothing",
            "a round decides its proposal",
            "answers are not changed afterwards",
            "training continues from the accepted model",
        ],
        "got other values in .*'w'.* copies",
    ),
    (
        RestoresAfterTraining,
        ["a proposal that fails half way changes nothing"],
        "was interrupted",
    ),
    (StaysBusy, ["a proposal that fails half way changes nothing"], "propose again, got RuntimeE"),
    (StaysNarrow, ["a proposal that fails half way changes nothing"], "an undisturbed learner"),
    (RestoresAfterTesting, ["a test that fails half way changes nothing"], "was interrupted"),
    (AcceptsWhileTesting, ["testing changes nothing"], "after mli_test_weights"),
    (CountsTests, ["testing changes nothing"], "tested nothing, got another"),
    (KeepsWhatIsNoNumber, ["refused weights change nothing", MALFORMED], "testing .* = nan"),
    (OwnModel0, ["model 0 is the same on every member"], "places 0 and 1 .*seed of the experiment"),
    (Rounds, ["accepting takes exactly the accepted bytes"], "no rounding"),
    (LastKeepsItsOwn, ["all members are equal after every round"], "at place 1"),
    (WritesIntoCurrent, ["answers are not changed afterwards"], "current weights returned earlier"),
    (ProposesViews, ["answers are not changed afterwards"], "memory of its own"),
    (
        TakesAnything,
        ["foreign weights are refused", MALFORMED],
        "an array missing|no array|too many",
    ),
    (RaisesKeyErrors, ["foreign weights are refused", MALFORMED], "TypeError"),
    (OfTheProcess, ["the same seed gives the same proposals"], "of the learner's seed"),
    (OfItsOwnStream, ["a round decides its proposal"], r"begin_round\(7\)"),
    (BeginsAnew, ["training continues from the accepted model"], "do not fit anew"),
    (ProposesTheModel, ["training continues from the accepted model"], "got the model itself"),
    (Ascends, ["the score improves over rounds"], "negate a loss"),
    (VotesOne, ["judgements count"], "vote=True or False"),
    (AnswersADict, ["judgements count"], "expected ProposedWeights, got dict"),
    (ApprovesWithoutAScore, ["judgements count"], "got NaN"),
    (ScoresInfinity, ["judgements count"], "got inf"),
    (WritesIntoInputs, ["what is given is not written to"], "stay as they were"),
    (RemembersItsOwn, ["weights survive the codec"], "after decoding"),
    (RoundsItsRows, ["training rows are not written to"], "copies of the rows"),
    (ModelIsAPickle, ["the model can be asked for"], "ONNX"),
    (ModelIsAnArray, ["the model can be asked for"], "got ndarray"),
    (TakesFewerTrees, ["trees of the model cannot be taken away"], "without what was added"),
    (WrapsFeatures, ["edited nodes are refused"], r"feature\[0\] = "),
    (MultipliesWhatDoesNotFit, [MALFORMED], "ValueError"),
    (ReadsAnyFeature, ["edited nodes are refused", MALFORMED], "IndexError"),
]


def failing(make, **settings):
    failed = {}
    for check in learner_checks():
        try:
            check(make, **settings)
        except LearnerCheckError as error:
            failed[check.name] = str(error)
    return failed


@pytest.mark.parametrize(
    ("broken", "names", "message"), BROKEN, ids=[row[0].__name__ for row in BROKEN]
)
def test_a_broken_learner_fails_the_check_that_is_meant(broken, names, message):
    before = X.copy()
    try:
        failed = failing(broken, rows=(X, Y))
    finally:
        X.setflags(write=True)
        X[...] = before
    assert re.search(message, failed.get(names[0], "")), failed
    assert set(failed) == set(names)


def test_every_check_has_a_learner_that_fails_it_and_says_why_it_is_there():
    assert {names[0] for _, names, _ in BROKEN} == set(CHECKS)
    for check in learner_checks():
        assert len(check.about) > 40
        assert re.match(r"(P?\d)", check.rule)
        assert str(check) == check.name


@pytest.mark.parametrize("good", [Honest, SaysSo, Grower])
def test_a_good_learner_passes(good):
    check_learner(good, rows=(X, Y))


def test_one_failure_is_raised_as_it_is_and_several_are_all_told():
    with pytest.raises(LearnerCheckError, match="^model 0 is the same") as caught:
        check_learner(OwnModel0)
    assert isinstance(caught.value, ColearnError)
    assert isinstance(caught.value, AssertionError)
    assert "experiment" in caught.value.hint
    with pytest.raises(LearnerCheckError, match="2 checks failed") as caught:
        check_learner(TakesAnything)
    assert str(caught.value).count("expected") == 2


def test_a_learner_without_named_arrays_is_told_what_to_return():
    with pytest.raises(LearnerCheckError, match="mli_get_current_weights must return a dict"):
        CHECKS["proposing changes nothing"](HasNoArrays)


def test_checks_can_be_left_out_by_name():
    check_learner(Ascends, leave_out=["the score improves over rounds"])
    assert len(learner_checks(grows=False)) == len(CHECKS) - 2
    with pytest.raises(ConfigError, match="no check called 'speed'"):
        learner_checks(leave_out=["speed"])
    with pytest.raises(ConfigError, match="at least 2 members"):
        check_learner(Honest, members=1)


def test_whether_arrays_grow_may_be_said_instead_of_asked():
    CHECKS["edited nodes are refused"](ReadsAnyFeature, grows=False)
    with pytest.raises(LearnerCheckError, match="feature"):
        CHECKS["edited nodes are refused"](ReadsAnyFeature, grows=True)


def test_an_author_may_say_how_a_learner_fails():
    @contextmanager
    def sabotage(point):
        def stepped(self, arrays, rows, y):
            points.append(point)
            step(self, arrays, rows, y)
            raise RuntimeError("out of memory")

        RestoresAfterTraining.stepped = stepped
        try:
            yield
        finally:
            del RestoresAfterTraining.stepped

    points, step = [], Honest.stepped
    check = CHECKS["a proposal that fails half way changes nothing"]
    # The sabotage is of another class, and what cannot be made to fail is not checked.
    with pytest.raises(LearnerCheckError, match="no exception at any point"):
        check(Honest, sabotage=sabotage)
    assert not points
    with pytest.raises(LearnerCheckError, match="was interrupted"):
        check(RestoresAfterTraining, sabotage=sabotage)
    assert points == [0]


def test_what_watches_the_learner_is_put_back():
    calls = []

    def profile(frame, event, arg):
        calls.append(event)

    hook = sys.unraisablehook
    sys.setprofile(profile)
    try:
        CHECKS["a proposal that fails half way changes nothing"](Honest)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert sys.unraisablehook is hook
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    CHECKS["the same seed gives the same proposals"](Honest)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert X.flags.writeable


def test_malformed_arrays_repeat_by_seed_and_leave_the_original():
    arrays = freeze({"left": np.arange(9, dtype=np.int32), "value": np.ones(9), "none": np.ones(0)})
    found = set()
    for seed in range(60):
        one, two = malformed_arrays(arrays, seed), malformed_arrays(arrays, seed)
        assert all(one[name].tobytes() == two[name].tobytes() for name in arrays)
        found.add(b"".join(one[name].tobytes() for name in arrays))
    assert len(found) > 50
    assert arrays["left"].tolist() == list(range(9))


def test_the_six_edits_that_kill_a_voter_are_among_the_edits():
    arrays = {"left": np.arange(9, dtype=np.int32), "flag": np.zeros(9, np.uint8)}
    told = dict(edited_nodes(arrays))
    for value in (10**9, 10**8, 10**7):
        assert told[f"left[0] = {value}"]["left"][0] == value
    assert told["flag[8] = 255"]["flag"][8] == 255


def test_nothing_but_the_base_package_is_needed():
    code = (
        "import sys, colearn.testing; "
        "print(*{'sklearn', 'torch', 'xgboost', 'pytest', 'keras'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
