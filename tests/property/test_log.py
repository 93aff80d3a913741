"""The log of 7.9: S10 to S13, L6 and L7 of section 9, and every condition both ways."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import protocol_log
from tests.oracles.logs import DRIFT, Orderer, again, genesis, high_s, noise
from tests.oracles.pair import SEED
from tests.oracles.protocol_model import Ledger, NotAllowedError
from tests.oracles.scene import MODEL, NAMES, SPECIFICATION, Scene, address
from tests.oracles.wording import ZERO, Wording, key_of
from tests.oracles.worlds import World

from colearn.core import Entry, Reason, Replica, Row, certifiers, encode_call, faults
from colearn.core.calls import Advance, Join, Leave, Motion, Skip
from colearn.errors import LocalProtocolError


class Both:
    """A random world in a log, and the oracle's log beside the package's."""

    def __init__(self, seed):
        print(f"COLEARN_SEED={seed}")
        self.random = random.Random(seed)
        self.world = World(seed, verified=False)
        self.orderer = Orderer(genesis(drift_s=self.world.ledger.drift))
        self.words = Wording(self.orderer.replica.genesis.domain)
        for name in (*NAMES[:12], "z"):
            self.words.address(name)
        self.log = protocol_log.Log("here", self.world.ledger.drift, self.allows)
        self.heads = {self.log.heads[0]: self.orderer.replica.head}
        self.calls = []
        self.rosters = {}

    def allows(self, call, signer, stamp):
        """Whether the oracle's rules accept a call; nothing may change, so ask a copy."""
        name, arguments = self.calls[call]
        return self.refusal(self.copied(), name, signer, stamp, arguments) is None

    def copied(self):
        ledger = Ledger(self.world.ledger.drift)
        ledger.experiments = [copied(each) for each in self.world.ledger.experiments]
        return ledger

    @staticmethod
    def refusal(ledger, name, sender, now, arguments):
        try:
            ledger.apply(name, sender, now, **arguments)
        except NotAllowedError as error:
            return str(error)
        return None

    def real(self, row):
        """The row of the package that a row of the oracle stands for."""
        entry, (signer, birth, covered) = row.entry, row.signature
        log = self.orderer.replica if birth == "here" else Replica(genesis("77"))
        signature = key_of(signer).sign(log.digest(self.entry(covered)))
        signature = signature if row.low else high_s(signature)
        return Row(self.entry(entry), signature, row.stamp)

    def entry(self, entry):
        data = b'{"call":"nonsense"}'
        if entry.call is not None:
            data = encode_call(self.words.call(*self.calls[entry.call]))
        head = self.heads.get(entry.anchor, "ab" * 32)
        return Entry(entry.nonce, entry.height, head, entry.time, data)

    def changed(self, row):
        """A row that may break one condition, or two."""
        R, entry = self.random, row.entry
        signer, birth, _ = row.signature
        lower = R.randrange(self.log.height + 1)
        entries = [
            replace(entry, nonce=entry.nonce + 1),
            replace(entry, nonce=max(entry.nonce - 1, 0)),
            replace(entry, height=entry.height + 1),
            replace(entry, anchor="elsewhere"),
            replace(entry, height=lower, anchor=self.log.heads[lower]),
            replace(entry, height=lower),
            replace(entry, time=entry.time + R.choice([-9, -4, -1, 1, 4, 9])),
            replace(entry, call=None),
        ]
        other = R.choice(entries)
        rows = [
            replace(row, stamp=max(row.stamp + R.choice([-40, -9, -1, 1, 9]), 0)),
            replace(row, low=False),
            replace(row, signature=(signer, "another log", entry)),
            replace(row, entry=other),
            *[replace(row, entry=other, signature=(signer, birth, other))] * 6,
        ]
        return R.choice(rows)

    def check(self, row):
        """Ask both of a row that may be wrong, as the next one."""
        broken = self.log.broken(row)
        real = self.real(row)
        found = self.orderer.look(real)
        if broken == {"signature"} and row.low:
            # Nobody signed this: it is a stranger's at most, whom the rules know nothing of.
            assert found == "signature" or self.signer(real) not in self.words.names
            return
        assert (found in broken) if broken else found is None

    def signer(self, row):
        return self.orderer.replica.signer(row.entry, row.signature)

    def step(self):
        name, sender, now, arguments = self.world.step()
        stamp = max(now, self.log.rows[-1].stamp if self.log.rows else 0)
        self.world.now = stamp
        self.calls.append((name, arguments))
        entry = self.log.entry(sender, stamp, len(self.calls) - 1)
        row = protocol_log.Row(entry, protocol_log.sign(sender, "here", entry), stamp)
        if self.random.random() < 0.4:
            self.check(self.changed(row))
        said = self.orderer.take(self.real(row))
        assert said == (next(iter(self.log.broken(row)), None))
        if said is not None:
            return
        self.log.append(row)
        assert self.refusal(self.world.ledger, name, sender, stamp, arguments) is None
        self.heads[self.log.heads[-1]] = self.orderer.replica.head
        self.compare(sender)

    def compare(self, sender):
        replica = self.orderer.replica
        for expected in self.world.ledger.experiments:
            found = replica.book.experiments[expected.number]
            self.words.note_seats(found)
            assert self.words.state(found) == self.words.expected(expected)
            rosters = self.rosters.setdefault(expected.number, [])
            members = set(expected.members)
            if members and (not rosters or rosters[-1][1] != members):
                rosters.append((self.log.height, members))
            assert replica.certified(expected.number) == self.log.certified(rosters)
        mine = self.log.mine(sender)
        assert replica.nonce(address(sender)) == len(mine)
        assert replica.anchor(address(sender)) == mine[-1].height
        assert replica.place(address(sender), len(mine) - 1) == self.log.height == replica.height
        assert replica.certified(99) == 0


def copied(experiment):
    other = type(experiment)(**vars(experiment))
    for name, value in vars(experiment).items():
        if isinstance(value, list | dict | set):
            setattr(other, name, value.copy())
    return other


@pytest.mark.parametrize("batch", range(4))
def test_rows_are_valid_exactly_where_the_oracle_says_so(batch):
    for seed in range(SEED + 3000 + 5 * batch, SEED + 3005 + 5 * batch):
        both = Both(seed)
        for _ in range(90):
            if both.world.over():
                break
            both.step()


# ---------------------------------------------------------------- S10


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_s10_replicas_that_read_the_same_rows_are_the_same(who, pause):
    orderer = Orderer()
    orderer.start(4)
    for count, index in enumerate(who):
        assert orderer.put(NAMES[index], noise(count), 1 + count) is None
    reader = Orderer()
    for count, row in enumerate(orderer.rows):
        # Another reads at another pace, and is shown rows that are none in between.
        if count % pause == 0:
            assert reader.take(replace(row, stamp=row.stamp + DRIFT + 1)) == "clock"
        assert reader.take(again(row)) is None
    assert reader.state == orderer.state
    assert len(set(reader.replica.heads)) == reader.replica.height + 1


def test_s10_another_stamp_is_another_head():
    """The rules are asked at the time of the stamp, so one head must not stand for two."""
    one, two = Orderer(), Orderer()
    row = one.row("a", noise(0), 100)
    assert one.take(row) is two.take(replace(row, stamp=101)) is None
    assert one.replica.head != two.replica.head


# ---------------------------------------------------------------- S11

OTHERS = [
    genesis("77"),
    genesis(contract="c1" * 32),
    genesis(creator=address("b")),
    genesis(drift_s=DRIFT + 1),
]


@pytest.mark.parametrize("other", OTHERS)
def test_s11_an_entry_of_another_genesis_or_contract_is_not_its_signers(other):
    here, there = Orderer(), Replica(other)
    entry, signature = here.sign("a", noise(0), 1, signing=there)
    assert here.replica.signer(entry, signature) != address("a")
    assert there.signer(entry, signature) == address("a")


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": 1},
        {"anchor_height": 1},
        {"anchor_head": "00" * 32},
        {"time": 2},
        {"call": encode_call(noise(1))},
    ],
)
def test_s11_every_field_of_an_entry_is_signed(changes):
    here = Orderer()
    entry, signature = here.sign("a", noise(0), 1)
    assert here.replica.signer(entry, signature) == address("a")
    assert here.replica.signer(replace(entry, **changes), signature) != address("a")


def test_s11_an_entry_enters_no_fork_without_its_anchor():
    common = Orderer()
    common.start(3)
    one, two = common.fork(), common.fork()
    assert one.put("a", noise(1), 1) is None
    assert two.put("b", noise(2), 1) is None
    # Anchored at the end of one fork it is a row there and nowhere else.
    row = one.row("c", noise(3), 2)
    assert two.take(row) == "anchor"
    assert one.take(row) is None
    # Anchored where the two were one, it is a row of both: so little was verified.
    row = one.row("b", noise(4), 2, anchor=common.replica.height)
    assert one.take(row) is None
    assert two.take(replace(row, entry=replace(row.entry, nonce=row.entry.nonce + 1))) is not None


def test_s11_a_ballot_of_another_log_is_no_ballot_here():
    scene = Scene(3, domain=genesis().domain)
    scene.propose()
    for other in OTHERS:
        ballot = scene.ballot("b", domain=other.domain)
        assert scene.why_not("vote_many", "z", ballots=(ballot,)) is Reason.SIGNATURE
    scene.do("vote_many", "z", ballots=(scene.ballot("b"),))


# ---------------------------------------------------------------- S12


def forks(size, prefix):
    common = Orderer()
    common.start(size)
    for count in range(prefix):
        common.put(NAMES[count % size], noise(count), 1)
    return common, [common.fork(), common.fork()]


@given(st.integers(1, 7), st.data())
@settings(max_examples=60, deadline=None)
def test_s12_no_two_certified_rows_conflict_while_f_members_lie(size, data):
    """The host equivocates for ever, liars sign on both forks, and members leave as they like."""
    size = max(size, 2)
    names = NAMES[:size]
    liars = names[: data.draw(st.integers(0, faults(size)))]
    side = {name: data.draw(st.integers(0, 1)) for name in names}
    common, views = forks(size, data.draw(st.integers(0, 3)))
    for step in range(data.draw(st.integers(1, 40))):
        view, who = data.draw(st.integers(0, 1)), data.draw(st.sampled_from(names))
        if who not in liars and side[who] != view:
            continue
        log, call = views[view], data.draw(st.sampled_from(["noise", "noise", "leave", "skip"]))
        number = log.replica.book.experiments[1].round.number
        call = {"noise": noise(f"{view}{step}"), "leave": Leave(1), "skip": Skip(1, number)}[call]
        lowest = log.replica.anchor(address(who))
        anchor = data.draw(st.integers(lowest, log.replica.height)) if who in liars else None
        log.put(who, call, 2, anchor=anchor)
    heads = [view.replica.heads for view in views]
    conflict = next((h for h, two in enumerate(zip(*heads, strict=False)) if len({*two}) > 1), None)
    if conflict is not None:
        assert any(view.replica.certified(1) < conflict for view in views)
    assert all(view.replica.certified(1) <= view.replica.height for view in views)
    assert conflict is None or conflict > common.replica.height


@pytest.mark.parametrize("size", range(2, 11))
def test_s12_the_bound_is_tight(size):
    """A host with the fewest liars for whom half of the honest see each fork; f + 1 if 3 | n - 1."""
    liars = next(k for k in range(size + 1) if (size - k) // 2 + k >= certifiers(size))
    assert liars >= faults(size) + 1
    assert liars == faults(size) + 1 or size % 3 != 1
    common, views = forks(size, 0)
    names, honest = NAMES[:size], NAMES[liars:size]
    for view, log in enumerate(views):
        seen_here = names[:liars] + honest[view::2]
        for who in seen_here:
            assert log.put(who, noise(f"{view}{who}"), 2) is None
        for who in seen_here:
            assert log.put(who, noise(f"again {view}{who}"), 2) is None
    height = common.replica.height + 1
    assert views[0].replica.heads[height] != views[1].replica.heads[height]
    certified = [view.replica.certified(1) >= height for view in views]
    # The honest of an odd number are not shared out equally.
    assert all(certified) or (size - liars) % 2


def newcomers_on_one_fork():
    """Four members, one of them a liar; two were admitted, and join where the host shows them."""
    common = Orderer()
    common.start(4)
    for target in "ef":
        for who in "abc" if target == "e" else "bcd":
            assert common.put(who, Motion(1, 0, 1, address(target)), 1) is None
    one, two = common.fork(), common.fork()
    for _ in range(2):
        for who in "abd":
            assert one.put(who, noise(f"one {who}"), 2) is None
    for who in "ef":
        assert two.put(who, Join(1, SPECIFICATION, MODEL, ZERO), 2) is None
    assert two.put("c", Advance(1, 1, 2), 62) is None
    for _ in range(2):
        for who in "acef":
            assert two.put(who, noise(f"two {who}"), 62) is None
    return common.replica.height + 1, one.replica, two.replica


def test_s12_no_two_certified_rows_conflict_where_newcomers_see_one_fork():
    height, one, two = newcomers_on_one_fork()
    assert one.heads[height] != two.heads[height]
    assert [each.book.experiments[1].roster.size for each in (one, two)] == [4, 6]
    assert one.certified(1) < height or two.certified(1) < height


def test_certified_is_what_more_than_two_thirds_have_anchored_above():
    log = Orderer()
    log.start(4)
    height = log.replica.height
    heights = [log.replica.certified(1)]
    for who in "abcd":
        assert log.put(who, noise(who), 1, anchor=height) is None
        heights.append(log.replica.certified(1))
    # The third of four anchors makes it: more than (4 + 1) / 2.
    assert heights[2] < height
    assert heights[3:] == [height, height]


# ---------------------------------------------------------------- S13


@pytest.mark.parametrize("late", range(-DRIFT - 3, DRIFT + 4))
def test_s13_no_host_stamps_a_row_away_by_more_than_the_drift(late):
    log = Orderer()
    row = log.row("a", noise(0), 100, stamp=100 + late)
    assert log.take(row) == (None if abs(late) <= DRIFT else "clock")
    # Nor does it give the entry another time: that is not what was signed.
    moved = replace(row, entry=replace(row.entry, time=row.stamp))
    assert late == 0 or log.replica.signer(moved.entry, moved.signature) != address("a")


# ---------------------------------------------------------------- L6, L7


@pytest.mark.parametrize("size", [1, 5, 20])
@pytest.mark.parametrize("flooded", [False, True])
def test_l6_n_concurrent_writers_need_n_signatures(size, flooded):
    log = Orderer()
    log.start(2)
    signed = [log.row(name, noise(name), 1) for name in NAMES[:size]]
    random.Random(size).shuffle(signed)
    for count, row in enumerate(signed):
        if flooded:
            assert log.put("z", noise(f"flood {count}"), 1) is None
        assert log.take(row) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=14))
@settings(max_examples=40, deadline=None)
def test_l7_the_first_head_exchanged_names_a_split(steps):
    common, views = forks(4, 1)
    top = common.replica.height
    for count, (where, index, low) in enumerate(steps):
        # 2: the same entry reaches both, which unites no heads.
        row = views[where % 2].row(NAMES[index], noise(count), 2, anchor=top if low else None)
        for view in views if where == 2 else [views[where]]:
            view.take(row)
    heads = [view.replica.heads for view in views]
    first = next((h for h, two in enumerate(zip(*heads, strict=False)) if len({*two}) > 1), None)
    for height, two in enumerate(zip(*heads, strict=False)):
        assert (two[0] != two[1]) == (first is not None and height >= first)
    shared = [row for row in views[0].rows if row in views[1].rows]
    assert first is None or len(shared) >= first - 1


def test_l7_no_common_row_heals_a_split():
    common, views = forks(3, 0)
    for view, log in enumerate(views):
        assert log.put("a", noise(f"fork {view}"), 2) is None
    for count, who in enumerate("bc"):
        row = views[0].row(who, noise(count), 2, anchor=common.replica.height)
        assert [view.take(row) for view in views] == [None, None]
        assert views[0].replica.head != views[1].replica.head


# ---------------------------------------------------------------- every condition of 7.9


@pytest.fixture
def log():
    orderer = Orderer()
    orderer.start(3, time=100)
    for who in "abc":
        assert orderer.put(who, noise(who), 100) is None
    return orderer


def test_a_nonce_is_the_number_of_the_signers_rows(log):
    mine = log.replica.nonce(address("b"))
    assert mine == 2
    for nonce in (0, mine - 1, mine + 1, 2**62):
        assert log.take(log.row("b", noise(0), 100, nonce=nonce)) == "nonce"
    row = log.row("b", noise(0), 100)
    assert row.entry.nonce == mine
    assert log.take(row) is None
    # The same entry again is no row; its sender is told where it is.
    assert log.take(row) == "nonce"
    assert log.replica.place(address("b"), mine) == log.replica.height


def test_an_anchor_is_a_row_of_this_log_and_never_goes_back(log):
    height, heads = log.replica.height, log.replica.heads
    above = {"anchor_height": height + 1, "anchor_head": heads[-1]}
    assert log.take(log.row("a", noise(0), 100, **above)) == "anchor"
    other = {"anchor_height": height, "anchor_head": heads[-2]}
    assert log.take(log.row("a", noise(0), 100, **other)) == "anchor"
    assert log.take(log.row("a", noise(0), 100, anchor_height=2**62)) == "anchor"
    before = log.replica.anchor(address("a"))
    assert before > 0
    assert log.take(log.row("a", noise(0), 100, anchor=before - 1)) == "anchor"
    assert log.take(log.row("a", noise(0), 100, anchor=before)) is None
    assert log.replica.anchor(address("a")) == before
    assert log.take(log.row("a", noise(0), 100)) is None
    assert log.replica.anchor(address("a")) == height + 1


def test_a_stamp_never_goes_back(log):
    assert log.take(log.row("a", noise(0), 99)) == "stamp"
    assert log.take(log.row("a", noise(0), 99, stamp=100)) is None
    assert log.take(log.row("a", noise(1), 105, stamp=104)) is None
    assert log.take(log.row("a", noise(2), 103)) == "stamp"
    assert log.replica.stamp == 104


def test_stamps_end_where_the_deadlines_of_the_contract_do(log):
    end = 2**40 - 2**32
    for stamp in (end, end + 1, 2**62):
        assert log.take(log.row("a", noise(0), stamp)) == "stamp"
    assert log.take(log.row("a", noise(0), end, stamp=end - 1)) is None


@pytest.mark.parametrize("call", [b"", b"{}", b" ", encode_call(noise(0)) + b" ", b"[" * 9999])
def test_a_call_that_nobody_can_read_is_no_row(log, call):
    assert log.take(log.row("a", call, 100)) == "call"


def test_a_call_that_the_rules_refuse_is_no_row(log):
    assert log.take(log.row("b", Skip(1, 1), 100)) == "rules"
    assert log.take(log.row("a", Skip(1, 1), 100)) is None


def test_the_rules_are_asked_at_the_time_of_the_stamp(log):
    # The deadline is at 160; the signer's clock is before it, the orderer's behind.
    advance = Advance(1, 1, 2)
    assert log.take(log.row("a", advance, 161, stamp=160)) == "rules"
    assert log.take(log.row("a", advance, 158, stamp=161)) is None


def test_only_one_spelling_of_a_signature_is_one(log):
    row = log.row("a", noise(0), 100)
    signature = row.signature
    bad = [
        high_s(signature),
        b"",
        signature[:-1],
        signature + b"\0",
        signature[:-1] + b"\x1d",
        signature[:-1] + bytes((signature[-1] - 27,)),
        bytes(64) + b"\x1b",
        b"\xff" * 32 + signature[32:],
    ]
    for each in bad:
        assert log.take(replace(row, signature=each)) == "signature"
    assert log.take(row) is None


def test_the_orderer_need_not_check_what_it_has_just_signed(log):
    row = log.row("a", noise(0), 100)
    step = log.replica.check(row, signer=address("a"), call=noise(0))
    assert step == log.replica.check(row)
    log.replica.adopt(step)
    assert log.replica.head == step.head


def test_a_row_is_adopted_in_the_place_it_was_checked_for_or_not_at_all(log):
    first = log.replica.check(log.row("a", noise(1), 100))
    second = log.replica.check(log.row("b", noise(2), 100))
    log.replica.adopt(first)
    for stale in (first, second):
        before = log.state
        with pytest.raises(LocalProtocolError, match="another place"):
            log.replica.adopt(stale)
        assert log.state == before
