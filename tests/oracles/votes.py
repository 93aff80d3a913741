"""What an open vote can still become (S3, S4), and where a ballot is valid (S11)."""

from dataclasses import replace

from colearn.core import Book, Outcome, Phase, Reason
from colearn.core.calls import Abstain, SignedBallot, Vote, VoteMany
from colearn.core.events import Closed
from tests.oracles.scene import address, digest
from tests.oracles.wording import ELSEWHERE, ZERO


def is_open(scene):
    return scene.phase is Phase.VOTE and not scene.it.blind


def complete(scene, ballots):
    """Let the open vote be completed at once, then pass; return the outcome and the model.

    Who approves, approves every candidate. A relay brings the ballots, because one at a time the
    first could put the others to sleep (7.2).
    """
    there, number = scene.fork(), scene.it.round.number
    every = (1 << len(scene.it.round.candidates)) - 1
    cast = tuple(
        SignedBallot(
            there.it.roster.seat_of[address(name)],
            every if choice == "approve" else 0,
            0,
            ZERO,
            choice == "abstain",
            None,
        )
        for name, choice in ballots
        if choice != "silence"
    )
    if cast:
        there.do("vote_many", "z", ballots=cast)
    if there.place == (number, Phase.VOTE):
        there.silence()
    closed = next(event for event in there.told(Closed) if event.round_number == number)
    return closed.result, closed.model


def completions(count):
    """Every number of approvals and abstentions; who says what makes no difference."""
    for approve in range(count + 1):
        for abstain in range(count + 1 - approve):
            rest = count - approve - abstain
            yield ["approve"] * approve + ["abstain"] * abstain + ["reject"] * rest
    yield ["silence"] * count


def s4_closing_early_changes_nothing(scene, call, who, events):
    """Play a call again under rules without early close, and complete the vote in every way.

    `scene` is where the call was accepted, `events` what it made known there.
    """
    it = scene.it
    if not is_open(scene) or not it.rules.early_close or len(it.round.candidates) != 1:
        return
    if not isinstance(call, Vote | Abstain | VoteMany):
        return
    there = scene.fork()
    later = replace(it, rules=replace(it.rules, early_close=False))
    there.book = Book(there.book.domain, 0, {1: later})
    there.book, told = there.book.apply(call, who, there.now)
    if any(isinstance(event, Closed) for event in told):
        return
    missing = there.names(there.it.round.todo)
    ends = {
        complete(there, zip(missing, choices, strict=True)) for choices in completions(len(missing))
    }
    closed = [event for event in events if isinstance(event, Closed)]
    if closed:
        assert ends == {(closed[0].result, closed[0].model)}
    else:
        # Nor is a vote left open that nothing can change any more (7.2).
        assert {result for result, _ in ends} == {Outcome.ACCEPTED, Outcome.REJECTED}


def s4_after_any_ballot(scene):
    """S4 for whatever the next voter may say."""
    if not is_open(scene) or not scene.awaited or scene.now > scene.it.round.deadline:
        return
    who = scene.awaited[0]
    for name, mask in (("vote", 0), ("vote", 1), ("abstain", 0)):
        call, there = scene.call(name, who, not_worse=mask), scene.fork()
        events = there.do(name, who, not_worse=mask)
        s4_closing_early_changes_nothing(scene, call, address(who), events)


def s11_a_ballot_is_valid_in_its_place_alone(scene, count):
    """Ballots and commitments of another ledger, experiment, round, voter or candidate list."""
    if scene.phase not in (Phase.VOTE, Phase.REVEAL) or scene.now > scene.it.round.deadline:
        return
    number = scene.it.round.number
    elsewhere = [
        {"domain": ELSEWHERE},
        {"domain": replace(scene.book.domain, chain_id=2)},
        {"experiment": 2},
        {"round_number": number + 1},
        {"key": digest("other candidates")},
    ][count % 5]
    if is_open(scene):
        voter = scene.name(scene.it.roster.queue.order[-1])
        altered = replace(scene.ballot(voter, 0), not_worse=1)
        stolen, foreign = scene.ballot(voter, signer="z"), scene.ballot(voter, **elsewhere)
        for ballot in (altered, stolen, foreign):
            assert scene.why_not("vote_many", "z", ballots=(ballot,)) is Reason.SIGNATURE
    elif scene.phase is Phase.REVEAL:
        there, seat = scene.fork(), scene.it.round.todo.bit_length() - 1
        if seat < 0:
            return
        who = scene.name(seat)
        for other in (elsewhere, {"voter": address("z")}, {"not_worse": 0}, {"salt": ZERO}):
            commitments = {**scene.it.round.commitments, seat: scene.commitment(who, **other)}
            round_ = replace(scene.it.round, commitments=commitments)
            experiments = {**scene.book.experiments, 1: replace(scene.it, round=round_)}
            there.book = replace(scene.book, experiments=experiments)
            assert there.why_not("reveal", who) is Reason.COMMITMENT
