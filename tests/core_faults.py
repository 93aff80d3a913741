"""One-line faults of the pure rules, as `tests.mutants` takes them; a number is the rule they break.

Beside them stands a fault for every condition that the rules ask for: each is left out once.
"""

MACHINE, MODEL, LOG = (f"tests/property/test_{name}.py" for name in ("machine", "model", "log"))
UNIT, ATTACKS = "tests/unit/core", "tests/scenario/test_ledger_attacks.py"
REFUSALS, ROUNDS = f"{UNIT}/test_refusals.py", f"{UNIT}/test_rounds.py"
MEMBERSHIP, BYTES = f"{UNIT}/test_membership.py", f"{UNIT}/test_encoding.py"
ACTS, BALLOTS, MEMBERS = "core/acts.py", "core/ballots.py", "core/membership.py"
PROGRESS, SCHEDULE, BOOK = "core/progress.py", "core/schedule.py", "core/machine.py"
TABLE, BINDINGS, CHAIN = "core/transitions.py", "core/bindings.py", "core/chain.py"
REPLAY, TOLERANCE, STATE = "core/replay.py", "core/tolerance.py", "core/experiment.py"
ENCODING, DECIDE = "core/encoding.py", "core/decide.py"

INVARIANTS = [
    ("S1 what was rejected becomes the model", PROGRESS, "_close(experiment, Outcome.REJECTED, experiment.model, now, events)", "_close(experiment, Outcome.REJECTED, current.candidates[0], now, events)", MACHINE),
    ("S2 one approval too few accepts", PROGRESS, "        if approvals >= needed:", "        if approvals >= max(needed - 1, 1):", MACHINE),
    ("S2 silence shrinks the count", PROGRESS, "experiment.roster.size, current.abstainers.bit_count()\n    )\n    for", "experiment.roster.size, experiment.roster.size - 1 - current.cast\n    )\n    for", MACHINE),
    ("S3 an abstention is worse than a rejection", "core/tally.py", "max(members - abstained, ", "max(members + abstained, ", MACHINE),
    ("S4 early close one ballot too early", PROGRESS, "approvals + outstanding < needed", "approvals + outstanding <= needed", MACHINE),
    ("S4 early close forgets who abstained", PROGRESS, "size - 1 - current.cast - abstained", "size - 1 - current.cast", MACHINE),
    ("S4 early close one ballot too late", PROGRESS, "approvals >= needed or approvals", "approvals > needed or approvals", MACHINE),
    ("S5 a member acts twice", BALLOTS, "current = replace(current, todo=current.todo & ~mask)", "current = replace(current)", MACHINE),
    ("S5 a relayed ballot counts twice", BALLOTS, "if not current.todo & ~done & mask:", "if not current.todo & mask:", MACHINE),
    ("S5 the proposer votes", ACTS, "todo=experiment.roster.members & ~front", "todo=experiment.roster.members", MACHINE),
    ("S5 an act a second late", TABLE, "now <= current.deadline", "now <= current.deadline + 1", MACHINE),
    ("S6 a leaver is out at once", MEMBERS, "return replace(roster, leaving=", "return replace(roster, members=roster.members & ~mask, leaving=", MACHINE),
    ("S7 newcomers stand in front", SCHEDULE, "(*self.order[1:], *self.order[:1], *joined)", "(*joined, *self.order[1:], *self.order[:1])", MACHINE),
    ("S7 who proposed keeps its turn", PROGRESS, "return replace(roster, queue=roster.queue.next())", "return roster", MACHINE),
    ("S8 the highest candidate that passes", PROGRESS, "zip(current.candidates, current.approvals, strict=True)", "zip(current.candidates[::-1], current.approvals[::-1], strict=True)", MACHINE),
    ("S9 contributions of the round before count", PROGRESS, "Round(number=number + 1, phase=Phase.PROPOSE)", "Round(number=number + 1, phase=Phase.PROPOSE, contributions=experiment.round.contributions)", MACHINE),
    ("S9 a contribution is anybody's", ACTS, "{**current.contributions, seat: call.digest}", "{**current.contributions, experiment.front: call.digest}", MACHINE),
    ("S10 one head for other stamps", CHAIN, 'row.stamp.to_bytes(8, "big")', "bytes(8)", LOG),
    ("S11 an entry is valid in every log", CHAIN, "_NAME + _VERSION + bytes.fromhex(self.digest)", "_NAME + _VERSION", LOG),
    ("S11 a ballot is valid in every log", CHAIN, 'Domain(LOG_CHAIN_ID, "0x" + self.digest[-40:])', 'Domain(LOG_CHAIN_ID, "0x" + "00" * 20)', LOG),
    ("S11 an entry without its anchor", REPLAY, "height > self.height or self.heads[height] != entry.anchor_head", "height > self.height", LOG),
    ("S11 a ballot is valid in every contract", BINDINGS, "word(domain.chain_id) + _address(domain.contract)\n    )", "word(domain.chain_id) + bytes(32)\n    )", MACHINE),
    ("S11 a ballot is valid in every experiment", BINDINGS, "+ word(experiment)", "+ word(0)", MACHINE),
    ("S11 a ballot is valid in every round", BINDINGS, "+ word(round_number)", "+ word(0)", MACHINE),
    ("S11 a ballot is valid for other candidates", BINDINGS, "+ word(round_number)\n        + bytes.fromhex(key)", "+ word(round_number)\n        + bytes(32)", MACHINE),
    ("S11 a commitment is valid in every experiment", BINDINGS, "+ word(ballot.experiment)", "+ word(0)", MACHINE),
    ("S11 a commitment is valid in every round", BINDINGS, "+ word(ballot.round_number)", "+ word(0)", MACHINE),
    ("S11 a commitment is valid for every voter", BINDINGS, "+ _address(voter)", "+ bytes(32)", MACHINE),
    ("S11 a commitment is valid for other candidates", BINDINGS, "+ _address(voter)\n        + bytes.fromhex(key)", "+ _address(voter)\n        + bytes(32)", MACHINE),
    ("S12 half of the members certify", TOLERANCE, "(members + faults(members)) // 2 + 1", "members // 2 + 1", LOG),
    ("S12 one anchor too few certifies", REPLAY, "tops[certifiers(len(members)) - 1]", "tops[certifiers(len(members)) - 2]", LOG),
    ("S12 newcomers certify what let them in", REPLAY, "if end is None or top < end:", "if end is None:", LOG),
    ("S12 an anchor goes back", REPLAY, "if height < self.anchor(signer):", "if False:", LOG),
    ("S13 a host stamps early as it likes", REPLAY, "abs(row.stamp - entry.time)", "row.stamp - entry.time", LOG),
    ("S13 a host stamps late as it likes", REPLAY, "abs(row.stamp - entry.time)", "entry.time - row.stamp", LOG),
    ("L1 mergers without end", PROGRESS, "current.tried < max((size - 1) // 3, 1)", "current.tried < 2 * size", MACHINE),
    ("L1 a dormant merger strands the contributions", PROGRESS, "replace(experiment, round=replace(current, phase=Phase.PROPOSE))", "experiment", MODEL),
    ("L1 a phase whose deadline cannot pass", ACTS, "now > current.deadline", "now > current.deadline + 10**9", MACHINE),
    ("L2 an honest proposal lacks one approval", PROGRESS, "        if approvals >= needed:", "        if approvals > needed:", MACHINE),
    ("L3 nobody falls asleep", ACTS, "missed_twice=roster.missed_twice | roster.missed_once & late", "missed_twice=roster.missed_twice", MACHINE),
    ("L3 the dormant are waited for", PROGRESS, "experiment.round.todo & ~experiment.roster.dormant", "experiment.round.todo", MACHINE),
    ("L4 silence uses up rounds", PROGRESS, "return replace(experiment, empty=experiment.empty + 1)", "return replace(experiment, empty=experiment.empty + 1, counted=experiment.counted + 1)", MACHINE),
    ("L5 a council has one merger", PROGRESS, "current.tried < max((size - 1) // 3, 1)", "current.tried < 0", MACHINE),
    ("L6 only the last head is an anchor", REPLAY, "if height > self.height or", "if height != self.height or", LOG),
    ("L7 heads forget what was before", CHAIN, "bytes.fromhex(head)\n", "bytes(32)\n", LOG),
]  # fmt: skip

RULES = [
    ("P3.6 a skip is no act", ACTS, "roster = acted(experiment.roster, 1 << experiment.front)", "roster = experiment.roster", ROUNDS),
    ("3.1 the expelled are electors", MEMBERS, "2 * (roster.size - expulsion)", "2 * roster.size", MEMBERSHIP),
    ("5.1 a council of any contributions", STATE, "size - min(self.rules.merge_tolerance, (size - 1) // 2)", "size - self.rules.merge_tolerance", ROUNDS),
    ("6.1 patience one longer", PROGRESS, "0 < rules.patience <= experiment.streak", "0 < rules.patience < experiment.streak", ROUNDS),
    ("6.1 a round without a proposal is no patience", PROGRESS, "else experiment.streak + 1\n", "else 1\n", ROUNDS),
    ("7.2 rounds one longer", PROGRESS, "0 < rules.rounds <= experiment.counted", "0 < rules.rounds < experiment.counted", ROUNDS),
    ("7.2 empty rounds one longer", PROGRESS, "experiment.empty >= 2 * size", "experiment.empty > 2 * size", ROUNDS),
    ("7.2 empty rounds not in a row", PROGRESS, "streak=streak, empty=0)", "streak=streak)", ROUNDS),
    ("7.2 half are dormant", STATE, "2 * asleep.bit_count() < self.members.bit_count()", "2 * asleep.bit_count() <= self.members.bit_count()", ROUNDS),
    ("7.2 the dormant miss deadlines", ACTS, "late = current.todo & ~roster.dormant", "late = current.todo", ROUNDS),
    ("7.2 a dormant proposer is waited for", PROGRESS, "while experiment.roster.dormant >> experiment.front & 1:", "while False:", ROUNDS),
    ("7.2 a ballot ends no dormancy", BALLOTS, "roster = acted(experiment.roster, mask)", "roster = experiment.roster", ROUNDS),
    ("7.2 a contribution ends no dormancy", ACTS, "roster=acted(experiment.roster, 1 << seat)", "roster=experiment.roster", MODEL),
    ("7.2 a proposal ends no dormancy", ACTS, "roster=acted(experiment.roster, front)", "roster=experiment.roster", MODEL),
    ("7.2 waking keeps one miss", ACTS, "replace(experiment, roster=acted(experiment.roster, mask))", "experiment", ROUNDS),
    ("7.2 four times the drift is three", BOOK, "max(4 * drift_s, 1)", "max(3 * drift_s, 1)", UNIT),
    ("7.2 blind votes close early", PROGRESS, " or experiment.blind:", ":", ROUNDS),
    ("7.2 early close without the rule", PROGRESS, "if not experiment.rules.early_close or", "if", ROUNDS),
    ("7.2 early close with several candidates", PROGRESS, "if len(current.candidates) != 1:", "if False:", ROUNDS),
    ("7.3 a roster without order", BINDINGS, "keccak256(bytes.fromhex(roster) + _address(member))", "keccak256(_address(member))", UNIT),
    ("7.4 the reveal phase is passed over", PROGRESS, "current.phase is Phase.VOTE and current.commitments", "False", ROUNDS),
    ("7.7 two thirds are enough", MEMBERS, "3 * supporters.bit_count() > 2", "3 * supporters.bit_count() >= 2", MEMBERSHIP),
    ("7.7 motions outlive their epoch", PROGRESS, "        motions={},\n", "", MEMBERSHIP),
    ("7.7 an epoch is for ever", PROGRESS, "epoch=roster.epoch + 1", "epoch=roster.epoch", MEMBERSHIP),
    ("7.7 who returns is asleep", PROGRESS, "missed_once=roster.missed_once & members", "missed_once=roster.missed_once", MEMBERSHIP),
    ("7.7 an invitation is good twice", MEMBERS, "if who != sender},\n        digest", "},\n        digest", MEMBERSHIP),
    ("7.7 finish is forgotten", MEMBERS, "return replace(experiment, finish=True)", "return experiment", MEMBERSHIP),
    ("7.9 another spelling of a call", ENCODING, "if _dumps(document).encode() != data:", "if False:", BYTES),
    ("7.9 true is a number", ENCODING, "and not isinstance(value, bool) and", "and", BYTES),
    ("7.9 a call of any length", ENCODING, "if len(data) > CALL_BYTES_MAX:", "if False:", BYTES),
    ("7.9 terminal escapes in a text", ENCODING, "value.isascii() and value.isprintable()", "value.isascii()", BYTES),
    ("7.9 deep nesting kills the reader", ENCODING, "except (ValueError, RecursionError)", "except ValueError", BYTES),
    ("7.9 two spellings of a signature", REPLAY, " or not is_low_s(signature)", "", LOG),
    ("7.9 a row twice", REPLAY, "if entry.nonce != self.nonce(signer):", "if False:", LOG),
    ("7.9 stamps go back", REPLAY, "if not self.stamp <= row.stamp < STAMP_END:", "if not row.stamp < STAMP_END:", LOG),
    ("7.9 stamps without end", REPLAY, "if not self.stamp <= row.stamp < STAMP_END:", "if not self.stamp <= row.stamp:", LOG),
    ("7.9 a row in a place it was not checked for", REPLAY, "if step.head != head_after(self.head, step.row):", "if False:", LOG),
    ("7.9 a genesis of another version", CHAIN, "(int, RULES_VERSION)", "(int, genesis.rules_version)", f"{UNIT}/test_chain.py"),
    ("7.9 an entry of any number", CHAIN, "or max(numbers) >= NUMBER_MAX", "", f"{UNIT}/test_chain.py"),
    ("a member advances too early", DECIDE, "if now > current.deadline:", "if now >= current.deadline:", f"{UNIT}/test_decide.py"),
    ("a sleeper never wakes", DECIDE, "if experiment.roster.missed_once >> seat & 1:", "if False:", f"{UNIT}/test_decide.py"),
    ("who waits for its seat is done", DECIDE, "seat is not None and seat < experiment.roster.opened", "seat is not None", f"{UNIT}/test_decide.py"),
]  # fmt: skip

# File, the line that asks, and the tests; a line that stands twice brings what is beside it.
CONDITIONS = [
    (ACTS, "require(bool(experiment.round.todo >> seat & 1), Reason.NOT_AWAITED)", REFUSALS),
    (ACTS, "require(call.parent == experiment.model, Reason.PARENT)\n    seat", REFUSALS),
    (ACTS, "require(fits and current.phase in POSSIBLE[calls.Advance], Reason.PHASE)", REFUSALS),
    (ACTS, "require(now > current.deadline, Reason.EARLY)", REFUSALS),
    (ACTS, "require(bool(experiment.roster.missed_once & mask), Reason.NOTHING_MISSED)", REFUSALS),
    (ACTS, "require(experiment.roster.seat_of.get(sender) == experiment.front, Reason.TURN)", REFUSALS),
    (ACTS, "require(call.parent == experiment.model, Reason.PARENT)\n    require", REFUSALS),
    (ACTS, "require(len(call.candidates) > 0, Reason.NO_CANDIDATE)", REFUSALS),
    (ACTS, "require(enough, Reason.TOO_FEW_INCLUDED)", REFUSALS),
    (ACTS, "require(not call.included & ~contributed, Reason.NOT_CONTRIBUTED)", REFUSALS),
    (ACTS, "require(different and call.parent not in call.candidates, Reason.CANDIDATES_EQUAL)", REFUSALS),
    (BALLOTS, "require(not experiment.blind, Reason.BLIND)\n    seat", REFUSALS),
    (BALLOTS, "require(call.key == experiment.round.key, Reason.CANDIDATES)\n    counted", REFUSALS),
    (BALLOTS, "require(call.key == experiment.round.key, Reason.CANDIDATES)\n    events", REFUSALS),
    (BALLOTS, "require(experiment.blind, Reason.OPEN)", REFUSALS),
    (BALLOTS, "require(current.commitments.get(seat) == opened, Reason.COMMITMENT)", REFUSALS),
    (BALLOTS, "require(not experiment.blind, Reason.BLIND)\n    current", REFUSALS),
    (BALLOTS, "require(done != 0, Reason.NOTHING_NEW)", REFUSALS),
    (BALLOTS, "require(ballot.seat < SEATS_MAX and bool(voters >> ballot.seat & 1), Reason.NO_VOTER)", REFUSALS),
    (BALLOTS, "require(signer == voter, Reason.SIGNATURE)", REFUSALS),
    (BALLOTS, "require(not not_worse >> len(current.candidates) and not better, Reason.MASKS)", REFUSALS),
    (BOOK, "require(denominator > 0 and numerator <= denominator, Reason.THRESHOLD)", REFUSALS),
    (BOOK, "require(none or duration_s >= shortest_s, Reason.DEADLINE_SHORT)", REFUSALS),
    (MEMBERS, "require(phase in POSSIBLE[calls.Join], Reason.OVER)", REFUSALS),
    (MEMBERS, "require(roster.invited.get(sender) == right, Reason.NOT_INVITED)", REFUSALS),
    (MEMBERS, "require(_may_sit(roster, sender, setup=setup), Reason.MEMBER_ALREADY)", MEMBERSHIP),
    (MEMBERS, "require(seat < SEATS_MAX, Reason.FULL)", REFUSALS),
    (MEMBERS, "require(origin(call.specification, call.model) == experiment.origin, Reason.ORIGIN)", REFUSALS),
    (MEMBERS, "require(count > 1, Reason.TOO_FEW)", REFUSALS),
    (MEMBERS, "require(call.roster == roster.digest, Reason.ROSTER)", REFUSALS),
    (MEMBERS, "require(experiment.phase in POSSIBLE[calls.Leave], Reason.NOT_RUNNING)", REFUSALS),
    (MEMBERS, "require(not experiment.roster.leaving & mask, Reason.LEAVING)", REFUSALS),
    (MEMBERS, "require(experiment.phase in POSSIBLE[calls.Motion], Reason.NOT_RUNNING)", REFUSALS),
    (MEMBERS, "require(call.target != sender, Reason.ONESELF)", REFUSALS),
    (MEMBERS, "require(call.epoch == roster.epoch, Reason.EPOCH)", REFUSALS),
    (MEMBERS, "require(_has_target(roster, call), Reason.TARGET)", REFUSALS),
    (MEMBERS, "require(staying > 1, Reason.TWO_STAY)", REFUSALS),
    (MEMBERS, "require(experiment.phase in POSSIBLE[calls.Confirm], Reason.NOT_OVER)", REFUSALS),
    (MEMBERS, "require(call.model == experiment.model, Reason.FINAL_MODEL)", REFUSALS),
    (MEMBERS, "require(experiment.creator == sender, Reason.CREATOR)", REFUSALS),
    (MEMBERS, "require(experiment.phase in POSSIBLE[calls.Start], Reason.STARTED)", REFUSALS),
    (MEMBERS, "require(not before >> seat & 1, Reason.SUPPORTED)", REFUSALS),
    (MEMBERS, "require(settled, Reason.ONE_MOTION)", REFUSALS),
    (TABLE, "require(fits, Reason.PHASE)", REFUSALS),
    (TABLE, "require(now <= current.deadline, Reason.LATE)", ATTACKS),
]  # fmt: skip


def _unasked(number, file, line, tests):
    condition, _, rest = line.rpartition(", Reason.")
    place = condition.index("require(") + len("require(")
    name = f"condition {number}, {rest.partition(')')[0]}: nobody asks {condition[place:]}"
    return (name, file, line, f"{condition[:place]}True, Reason.{rest}", tests)


FAULTS = [
    *INVARIANTS,
    *RULES,
    *(_unasked(number, *condition) for number, condition in enumerate(CONDITIONS, 1)),
]
