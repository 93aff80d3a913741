"""The log of 7.9: S10 to S13, L6 and L7 of section 9, and every condition both ways."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colearn.core import Entry, Genesis, Replica, Row, certifiers, encode_call, faults
from colearn.core.calls import Advance, Join, Leave, Motion, Skip
from tests.oracles import protocol_log
from tests.oracles.logs import DRIFT, Orderer, again, genesis, high_s, noise
from tests.oracles.pair import SEED
from tests.oracles.protocol_model import Ledger, NotAllowedError
from tests.oracles.scene import MODEL, NAMES, SPECIFICATION, address
from tests.oracles.wording import ZERO, Wording, key_of
from tests.oracles.worlds import World


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
        self.heads = {self.log.head(): self.orderer.replica.head}

    def allows(self, call, signer, stamp):
        """Whether the oracle's rules accept a call; nothing may change, so ask a copy."""
        name, sender, arguments = call
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
        here, there = self.orderer.replica, Replica(genesis("77"))
        signature = key_of(signer).sign((here if birth == "here" else there).digest(
            self.entry(covered)
        ))  # fmt: skip
        signature = signature if row.low else high_s(signature)
        return Row(self.entry(entry), signature, row.stamp)

    def entry(self, entry):
        data = b'{"call":"nonsense"}'
        if entry.call is not None:
            name, _, arguments = entry.call
            data = encode_call(self.words.call(name, arguments))
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
            replace(entry, anchor=("elsewhere",)),
            replace(entry, height=lower, anchor=self.log.head(lower)),
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
        entry = self.log.entry(sender, stamp, (name, sender, arguments))
        row = protocol_log.Row(entry, protocol_log.sign(sender, "here", entry), stamp)
        if self.random.random() < 0.4:
            self.check(self.changed(row))
        said = self.orderer.take(self.real(row))
        assert said == (next(iter(self.log.broken(row)), None))
        if said is not None:
            return
        self.log.append(row)
        assert self.refusal(self.world.ledger, name, sender, stamp, arguments) is None
        self.heads[self.log.head()] = self.orderer.replica.head
        self.compare(sender)

    def compare(self, sender):
        replica = self.orderer.replica
        for expected in self.world.ledger.experiments:
            found = replica.book.experiments[expected.number]
            self.words.note_seats(found)
            assert self.words.state(found) == self.words.expected(expected)
            assert replica.certified(expected.number) == self.log.certified(expected.members)
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
