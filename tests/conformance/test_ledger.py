"""What every ledger does, whatever orders the calls (7.8): one behaviour, one suite.

An adapter is a context manager that takes an empty folder and yields a `Shared`: independent
views of ONE empty ledger, each for the thread that asks for it, and a way to let time pass. A
further ledger adds its adapter to `ADAPTERS` and nothing else.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier

import pytest
from tests.logs import (
    MODEL,
    RULES,
    SPECIFICATION,
    Group,
    SetClock,
    digest,
    make_log,
    served,
    shifted,
)

from colearn.core import Phase, calls
from colearn.core.bindings import ZERO
from colearn.core.events import Closed, Created, Joined, Missed, Opened, Proposed, Started, Voted
from colearn.core.phase import MotionKind
from colearn.errors import ColearnError, LedgerError, LedgerRejectedError
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger, Ledger


@dataclass
class Shared:
    view: Callable[[], Ledger]
    pass_s: Callable[[int], None]


@contextmanager
def embedded(folder):
    clock = SetClock()
    path = make_log(folder / "ledger.db")
    yield Shared(lambda: EmbeddedLedger(path, clock=clock), clock.pass_s)


@contextmanager
def hosted(folder):
    from colearn.ledger.hosted import HostedLedger

    clock = SetClock()
    path = make_log(folder / "ledger.db")
    with served(path, clock=clock, synchronous="NORMAL") as serving:
        yield Shared(
            lambda: HostedLedger(serving.url, clock=clock, expected_genesis=serving.genesis.digest),
            clock.pass_s,
        )


@contextmanager
def evm(folder):
    from tests.evm import FREE, anvil, require_web3

    require_web3()
    from colearn.ledger.evm import EvmLedger, deploy

    passed = SetClock(0)
    with anvil(*FREE) as chain:
        url = f"{chain.url}/{deploy(chain.url, Key.from_seed(7, 'deployer'))}"

        def pass_s(seconds):
            passed.pass_s(seconds)
            chain.pass_s(seconds)

        yield Shared(lambda: EvmLedger(url, clock=lambda: int(time.time()) + passed()), pass_s)


ADAPTERS = {"embedded": embedded, "hosted": hosted, "evm": evm}


@pytest.fixture(params=ADAPTERS)
def shared(request, tmp_path):
    with ADAPTERS[request.param](tmp_path) as world:
        opened = []

        def view():
            opened.append(world_view())
            return opened[-1]

        world_view, world.view = world.view, view
        yield world
        for each in opened:
            each.close()


def views_of(shared, count):
    return [shared.view() for _ in range(count)]


def heard_by(view):
    heard = []
    view.listen(heard.append)
    return heard


def synced(views):
    for view in views:
        view.sync()
    return views


def test_a_whole_experiment_ends_alike_in_every_view(shared):
    views = views_of(shared, 4)
    heard = [heard_by(view) for view in views]
    group = Group(views).establish(shifted(RULES, rounds=3))
    while group.seen().phase is not Phase.OVER:
        group.round(approve=group.seen().round.number != 2)
    for member in range(group.size):
        group.submit(member, calls.Confirm(group.number, group.seen().model))
    synced(views)
    experiments = [view.experiment(group.number) for view in views]
    assert all(each == experiments[0] for each in experiments)
    assert len({view.head for view in views}) == 1
    assert all(each == heard[0] for each in heard)
    assert experiments[0].counted == 3
    assert experiments[0].round.todo == 0
    outcomes = [
        event.outcome for each in heard[0] for event in each.events if type(event) is Closed
    ]
    assert outcomes == [1, 2, 1]


def test_submit_returns_what_the_call_made_known(shared):
    group = Group(views_of(shared, 2), size=2)
    (created,) = group.submit(0, calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "ipfs://x"))
    assert created == Created(
        1, group.address(0), SPECIFICATION, MODEL, RULES.to_word(), "ipfs://x"
    )
    members = tuple(key.address for key in group.keys)
    assert len(group.submit(0, calls.Invite(1, members))) == 2
    for member in (0, 1):
        (joined,) = group.submit(member, calls.Join(1, SPECIFICATION, MODEL, digest("moments")))
        assert joined == Joined(1, group.address(member), member, digest("moments"))
    started, opened = group.submit(0, calls.Start(1, group.seen().roster.digest))
    assert type(started) is Started
    assert (type(opened), opened.phase, opened.proposer) == (Opened, Phase.PROPOSE, 0)


def test_who_submits_sees_the_newest_state_afterwards(shared):
    first, second = views = views_of(shared, 2)
    group = Group(views, size=2).establish()
    group.propose()
    second.submit(group.keys[1], calls.Motion(1, 0, int(MotionKind.FINISH), "0x" + "00" * 20))
    assert second.experiment(1).phase is Phase.VOTE
    assert first.sync() == 1


REFUSED = [
    ("propose", 1, "not your turn"),
    ("parent", 0, "parent is not the model"),
    ("vote", 1, "another phase or round"),
    ("advance", 1, "deadline has not passed"),
    ("start", 0, "already started"),
    ("start", 1, "only the creator may"),
    ("join", 0, "not invited"),
    ("unknown", 0, "only the creator may"),
    ("confirm", 0, "not over"),
    ("create", 0, "deadline too short"),
]


@pytest.mark.parametrize(("what", "member", "reason"), REFUSED)
def test_a_refusal_gives_the_exact_reason_and_changes_nothing(shared, what, member, reason):
    views = views_of(shared, 2)
    group = Group(views, size=2).establish()
    synced(views)
    heard = [heard_by(view) for view in views]
    before = [(view.head, view.experiment(1)) for view in views]
    call = {
        "propose": calls.Propose(1, 1, MODEL, 0, (digest("a"),), ""),
        "parent": calls.Propose(1, 1, digest("b"), 0, (digest("a"),), ""),
        "vote": calls.Vote(1, 1, ZERO, 1, 0, ZERO),
        "advance": calls.Advance(1, 1, int(Phase.PROPOSE)),
        "start": calls.Start(1, group.seen().roster.digest),
        "join": calls.Join(1, SPECIFICATION, MODEL, ZERO),
        "unknown": calls.Start(99, ZERO),
        "confirm": calls.Confirm(1, MODEL),
        "create": calls.Create(SPECIFICATION, MODEL, shifted(RULES, vote_s=0).to_word(), ""),
    }[what]
    with pytest.raises(LedgerRejectedError) as caught:
        group.submit(member, call)
    assert caught.value.reason == reason
    assert reason in str(caught.value)
    assert [view.sync() for view in views] == [0, 0]
    assert [(view.head, view.experiment(1)) for view in views] == before
    assert heard == [[], []]


def test_a_refused_call_is_accepted_once_it_is_right(shared):
    views = views_of(shared, 3)
    group = Group(views, size=3).establish()
    early = calls.Advance(1, 1, int(Phase.PROPOSE))
    with pytest.raises(LedgerRejectedError):
        group.submit(2, early)
    shared.pass_s(RULES.propose_s + 1)
    assert group.submit(2, early)


def test_a_refusal_that_is_out_of_date_leaves_the_view_up_to_date(shared):
    views = views_of(shared, 2)
    group = Group(views, size=2).establish()
    synced(views)
    views[0].submit(group.keys[0], calls.Skip(1, 1))
    with pytest.raises(LedgerRejectedError) as caught:
        views[1].submit(group.keys[1], calls.Skip(1, 1))
    assert caught.value.reason == "another phase or round"
    assert views[1].experiment(1).round.number == 2


def test_listeners_hear_everything_once_and_in_order(shared):
    views = views_of(shared, 2)
    first, second, late = heard_by(views[0]), heard_by(views[0]), None
    group = Group(views, size=3).establish()
    views[0].sync()
    late = heard_by(views[0])
    group.round()
    views[0].sync()
    assert first == second
    assert late == first[-3:]
    heights = [each.height for each in first]
    assert heights == sorted(set(heights))
    times = [each.time for each in first]
    assert times == sorted(times)
    kinds = [type(each.events[0]) for each in first]
    assert kinds[0] is Created
    assert kinds[-3:] == [Proposed, Voted, Voted]
    assert [each.signer for each in late] == [group.address(member) for member in (0, 1, 2)]


def test_a_listener_sees_the_state_right_after_what_it_hears(shared):
    views = views_of(shared, 2)
    group = Group(views[:1], size=3).establish()
    seen = []
    views[1].listen(lambda _: seen.append(views[1].experiment(1).phase))
    group.propose()
    views[1].sync()
    assert seen == [Phase.SETUP] * 5 + [Phase.PROPOSE, Phase.VOTE]


def test_sync_says_how_many_calls_were_new(shared):
    first, second = views_of(shared, 2)
    assert (first.sync(), second.sync()) == (0, 0)
    group = Group([first], size=2).establish()
    assert first.sync() == 0
    assert second.sync() == 5
    assert second.sync() == 0
    group.propose()
    assert second.sync() == 1


def test_waiting_ends_when_another_view_writes(shared):
    view = shared.view()
    begun = threading.Event()

    def write():
        other = shared.view()
        begun.wait(10)
        other.submit(
            Key.from_seed(1, "other"), calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "")
        )
        other.close()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        begun.set()
        assert view.wait(60) is True
        writing.result()
    assert view.experiment(1).creator == Key.from_seed(1, "other").address


def test_waiting_for_nothing_times_out(shared):
    view = shared.view()
    assert view.wait(0) is False
    head = view.head
    assert view.wait(0.2) is False
    assert view.head == head


def test_what_was_written_before_the_wait_ends_it_at_once(shared):
    first, second = views_of(shared, 2)
    Group([first], size=2).establish()
    assert second.wait(60) is True
    assert second.head == first.head


def test_an_unknown_experiment_is_an_error(shared):
    view = shared.view()
    view.sync()
    for number in (1, 0, -1, 2**255):
        with pytest.raises(LedgerError, match="no experiment"):
            view.experiment(number)


def test_anybody_may_end_a_phase_after_its_deadline(shared):
    views = views_of(shared, 3)
    group = Group(views, size=3).establish()
    outsider, call = Key.from_seed(3, "outsider"), calls.Advance(1, 1, int(Phase.PROPOSE))
    deadline = group.seen().round.deadline
    assert views[0].now() <= deadline
    shared.pass_s(deadline - views[0].now() + 1)
    assert views[0].now() > deadline
    missed, closed, opened = views[1].submit(outsider, call)
    assert (type(missed), missed.seats) == (Missed, 1)
    assert (type(closed), closed.outcome) == (Closed, 3)
    assert (opened.round_number, opened.proposer) == (2, 1)
    late = calls.Propose(1, 1, MODEL, 0, (digest("late"),), "")
    with pytest.raises(LedgerRejectedError, match="another phase or round"):
        group.submit(0, late)


def test_an_act_after_the_deadline_is_refused(shared):
    views = views_of(shared, 2)
    group = Group(views, size=2).establish()
    shared.pass_s(group.seen().round.deadline - views[0].now() + 1)
    with pytest.raises(LedgerRejectedError) as caught:
        group.submit(0, calls.Propose(1, 1, MODEL, 0, (digest("late"),), ""))
    assert caught.value.reason == "deadline has passed"


def test_views_that_write_at_the_same_moment_lose_nothing(shared):
    writers, each = 4, 8
    barrier = Barrier(writers)

    def write(writer):
        view, key, numbers = shared.view(), Key.from_seed(writer, "writer"), []
        barrier.wait(30)
        for index in range(each):
            call = calls.Create(SPECIFICATION, MODEL, RULES.to_word(), f"{writer}/{index}")
            (created,) = view.submit(key, call)
            assert created.uri == f"{writer}/{index}"
            numbers.append(created.experiment)
        view.close()
        return numbers

    with ThreadPoolExecutor(writers) as threads:
        numbers = [number for found in threads.map(write, range(writers)) for number in found]
    assert sorted(numbers) == list(range(1, writers * each + 1))
    views = synced(views_of(shared, 2))
    assert views[0].head == views[1].head
    for writer in range(writers):
        mine = [
            number
            for number in range(1, writers * each + 1)
            if views[0].experiment(number).creator == Key.from_seed(writer, "writer").address
        ]
        assert len(mine) == each


def test_voters_that_vote_at_the_same_moment_are_all_counted(shared):
    size = 5
    group = Group([shared.view()], size=size).establish()
    proposer = group.propose()
    ballot, voters = group.ballot(), [member for member in range(size) if member != proposer]
    barrier = Barrier(len(voters))

    def vote(member):
        view = shared.view()
        barrier.wait(30)
        view.submit(group.keys[member], ballot)
        view.close()

    with ThreadPoolExecutor(len(voters)) as threads:
        list(threads.map(vote, voters))
    experiment = group.seen()
    assert (experiment.round.number, experiment.counted) == (2, 1)
    assert experiment.model == digest("candidate", 1)


def test_members_that_share_a_view_are_members_like_any_others(shared):
    view, other = views_of(shared, 2)
    group = Group([view], size=3).establish()
    group.round()
    other.sync()
    assert other.experiment(1) == view.experiment(1)
    assert other.experiment(1).counted == 1


def test_a_closed_view_is_of_no_use_and_the_ledger_stays(shared):
    view = shared.view()
    group = Group([view], size=2).establish()
    head = view.head
    view.close()
    view.close()
    for use in (view.sync, lambda: view.wait(1), lambda: group.submit(0, calls.Leave(1))):
        with pytest.raises(ColearnError):
            use()
    other = shared.view()
    other.sync()
    assert other.head == head


def test_a_view_closes_itself_at_the_end_of_a_with_block(shared):
    with shared.view() as view:
        view.sync()
    with pytest.raises(ColearnError):
        view.sync()


def test_reading_from_the_start_gives_the_same_state_and_head(shared):
    views = views_of(shared, 3)
    heard = heard_by(views[0])
    group = Group(views, size=3).establish()
    for _ in range(4):
        group.round()
    synced(views)
    again = shared.view()
    heard_again = heard_by(again)
    assert again.sync() == len(heard)
    assert heard_again == heard
    assert again.head == views[0].head
    assert again.experiment(1) == views[0].experiment(1)
    assert again.certified(1) == views[0].certified(1)


def test_certified_rows_grow_with_the_log_and_lag_behind_it(shared):
    views = views_of(shared, 4)
    group = Group(views).establish()
    certified = [views[0].certified(1)]
    for _ in range(4):
        group.round()
        synced(views)
        certified.append(views[0].certified(1))
        assert certified[-1] <= views[0].head.height
        assert {view.certified(1) for view in views} == {certified[-1]}
    assert certified == sorted(set(certified))


def test_two_experiments_on_one_ledger_do_not_touch_each_other(shared):
    views = views_of(shared, 2)
    first, second = Group(views, size=3).establish(), Group(views, size=2).establish()
    before = first.seen()
    second.round()
    assert (first.number, second.number) == (1, 2)
    assert first.seen() == before
    assert second.seen().counted == 1


def test_a_view_says_what_kind_of_ledger_it_is(shared):
    view = shared.view()
    assert view.kind in ADAPTERS
    assert str(view.head) == f"{view.head.height}:{view.head.digest}"
