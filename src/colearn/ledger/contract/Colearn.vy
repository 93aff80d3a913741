# pragma version 0.4.3
# pragma evm-version london
# pragma optimize gas
"""
@title Colearn
@license Apache-2.0
@author The Colearn maintainers
@notice The ledger of collective learning (protocol section 7): many experiments in one contract.
        Nobody owns it, it holds no money, and nothing in it can be changed once it is deployed.
@dev    A member has a seat: a number that is given once and never again. Sets of members are
        256-bit masks over seats: bit s is seat s. Turns are a linked ring of seats (P3.1). What a
        call changes is packed into words, which the comments of the storage section lay out.
        A refusal reverts with its reason; the pure rules of colearn.core give the same words.
        No block number and no block randomness is read, only the time (7.5).
"""

# ------------------------------------------------------------------------------------ constants

# Phases (7.1). 6 is left for a later ATTEST phase (section 5).
SETUP: constant(uint256) = 0
CONTRIBUTE: constant(uint256) = 1
PROPOSE: constant(uint256) = 2
VOTE: constant(uint256) = 3
REVEAL: constant(uint256) = 4
OVER: constant(uint256) = 5

# Outcomes of a round (P3.3, P3.6).
ACCEPTED: constant(uint256) = 1
REJECTED: constant(uint256) = 2
NO_PROPOSAL: constant(uint256) = 3

# Kinds of motion (7.7).
ADMIT: constant(uint256) = 1
EXPEL: constant(uint256) = 2
FINISH: constant(uint256) = 3

# What a Member event says; somebody who joined has an event of its own.
INVITED: constant(uint256) = 1
ADMITTED: constant(uint256) = 2
LEAVING: constant(uint256) = 4
EXPELLED: constant(uint256) = 5

# Limits (6.4).
SEATS_MAX: constant(uint256) = 256
CANDIDATES_MAX: constant(uint256) = 8
INVITATIONS_MAX: constant(uint256) = 64
BALLOTS_MAX: constant(uint256) = 256
URI_BYTES_MAX: constant(uint256) = 256

# Steps of `_proceed`. At most 86 mergers have a turn in one round, which then stops at the opening
# of the next; without contributions at most 127 dormant members are passed over in a row.
STEP_PROPOSE: constant(uint256) = 0
STEP_TURN_OVER: constant(uint256) = 1
STEP_CLOSE: constant(uint256) = 2
STEPS_MAX: constant(uint256) = 256

# Widths of packed fields.
BITS_4: constant(uint256) = 2**4 - 1
BITS_8: constant(uint256) = 2**8 - 1
BITS_12: constant(uint256) = 2**12 - 1
BITS_16: constant(uint256) = 2**16 - 1
BITS_32: constant(uint256) = 2**32 - 1
BITS_40: constant(uint256) = 2**40 - 1
BITS_160: constant(uint256) = 2**160 - 1

# The rules word, an argument of `create`; RULES_RESERVED must be 0:
#   numerator 16 @0 | denominator 16 @16 | contribute_s 32 @32 | propose_s 32 @64 | vote_s 32 @96
#   reveal_s 32 @128 | rounds 32 @160 | merge tolerance k 16 @192 | election 8 @208 (must be 0)
#   early_close 8 @216 (0 or 1) | patience 16 @224 | unused 16 @240 (must be 0)
# contribute_s 0: no CONTRIBUTE phase. reveal_s 0: open votes. rounds 0: no end. patience 0: none.
CONTRIBUTE_S: constant(uint256) = 32
PROPOSE_S: constant(uint256) = 64
VOTE_S: constant(uint256) = 96
REVEAL_S: constant(uint256) = 128
ROUNDS: constant(uint256) = 160
MERGE_TOLERANCE: constant(uint256) = 192
EARLY_CLOSE: constant(uint256) = 216
PATIENCE: constant(uint256) = 224
RULES_RESERVED: constant(uint256) = (2**16 - 1) * 2**240 + 127 * 2**217 + 255 * 2**208

# The turn word, all 256 bits of it in use but two flags:
#   round 32 @0 | counted 32 @32 (rounds with a proposal) | deadline 40 @64 | phase 4 @104
#   tried 8 @108 (mergers passed over) | front 8 @116 (the proposer's seat) | candidates 4 @124
#   n 12 @128 (members) | cast 12 @140 (ballots with masks) | abstained 12 @152
#   approvals 12 @164 (of the only candidate) | numerator 16 @176 | denominator 16 @192
#   empty 12 @208 (rounds running without a proposal) | streak 16 @220 (proposals in a row not
#   accepted; stays at 65,535) | flags 8 @236 (see below) | asleep 12 @244 (members in `missed2`)
COUNTED: constant(uint256) = 32
DEADLINE: constant(uint256) = 64
PHASE: constant(uint256) = 104
TRIED: constant(uint256) = 108
FRONT: constant(uint256) = 116
CANDIDATES: constant(uint256) = 124
N: constant(uint256) = 128
CAST: constant(uint256) = 140
ABSTAINED: constant(uint256) = 152
APPROVALS: constant(uint256) = 164
NUMERATOR: constant(uint256) = 176
DENOMINATOR: constant(uint256) = 192
EMPTY: constant(uint256) = 208
STREAK: constant(uint256) = 220
ASLEEP: constant(uint256) = 244
FLAG_BLIND: constant(uint256) = 2**236  # votes are committed, then revealed
FLAG_LATE: constant(uint256) = 2**237  # `missed1` is not empty
FLAG_CHANGED: constant(uint256) = 2**238  # the roster changes where the next round opens
FLAG_FINISH: constant(uint256) = 2**239  # the experiment ends with this round
FLAG_COUNCIL: constant(uint256) = 2**240  # rounds begin with contributions
FLAG_EARLY: constant(uint256) = 2**241  # an open vote ends once it is decided
# Unused flags: 2**242, 2**243.
COUNTS_OF_BALLOTS: constant(uint256) = (2**36 - 1) * 2**140  # cast, abstained, approvals
PHASE_AND_DEADLINE: constant(uint256) = (2**44 - 1) * 2**64
EMPTY_AND_STREAK: constant(uint256) = (2**28 - 1) * 2**208
OPEN_VOTE_BITS: constant(uint256) = 2**236 + 2**241 + 15 * 2**124 + 15 * 2**104
OPEN_VOTE: constant(uint256) = 2**241 + 1 * 2**124 + 3 * 2**104  # early, one candidate, VOTE

# The desk word:  creator 160 @0 | seats given 16 @160 | seats opened 16 @176 | epoch 32 @192 |
#   unused 32 @224. A seat is opened where the round opens in which its holder is a member first.
GIVEN: constant(uint256) = 160
OPENED: constant(uint256) = 176
EPOCH: constant(uint256) = 192

# A word of the ring, by seat:  address 160 @0 | next seat 16 @160 | unused 80 @176
NEXT: constant(uint256) = 160

# A word of a person, by address:  latest seat + 1 16 @0 (0: none) | invitation 8 @16 (0 none,
#   1 by the creator, 2 by a motion) | epoch + 1 of the motion it opened 32 @24 |
#   that motion's key 160 @56 | unused 40 @216
INVITATION: constant(uint256) = 16
MOTION_EPOCH: constant(uint256) = 24
MOTION_KEY: constant(uint256) = 56

PASSED: constant(uint256) = max_value(uint256)  # in place of a passed motion's supporters

# Eight 16-bit lanes, one a candidate. A mask of 8 bits times SPREAD has bit i at 16 i.
LANES: constant(uint256) = (2**128 - 1) // 65535
SPREAD: constant(uint256) = 1 + 2**15 + 2**30 + 2**45 + 2**60 + 2**75 + 2**90 + 2**105

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Colearn")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
BALLOT_TYPE: constant(bytes32) = keccak256(
    "Ballot(uint256 experiment,uint256 round,bytes32 key,uint256 notWorse,uint256 better,bytes32 note,bool abstain)"
)

# ----------------------------------------------------------------------------------- immutables

SHORTEST_S: immutable(uint256)  # the shortest phase that `create` allows, in seconds (7.2)

# -------------------------------------------------------------------------------------- structs

struct SignedBallot:
    seat: uint256  # of the voter
    not_worse: uint256  # bit i: candidate i is not worse than the model (5.3)
    better: uint256  # reserved, 0
    note: bytes32  # opaque, never tallied
    abstain: bool
    v: uint256  # the EIP-712 signature of the seat's holder
    r: uint256
    s: uint256

# -------------------------------------------------------------------------------------- storage

experiments: uint256  # created so far; ids count from 1
rules: public(HashMap[uint256, uint256])  # the rules word
turn: public(HashMap[uint256, uint256])  # the turn word
desk: public(HashMap[uint256, uint256])  # the desk word
origin: HashMap[uint256, bytes32]  # keccak256(specification, model 0)
model: public(HashMap[uint256, bytes32])  # the current model's digest
key: public(HashMap[uint256, bytes32])  # of the latest proposal (7.3); before it, of the roster
candidates: HashMap[uint256, bytes32[CANDIDATES_MAX]]
tallies: HashMap[uint256, uint256]  # lanes of approvals (unused: 128 @128); several candidates only
members: public(HashMap[uint256, uint256])  # frozen while a round runs
todo: public(HashMap[uint256, uint256])  # whose act this phase still lacks; not kept at PROPOSE
abstainers: HashMap[uint256, uint256]  # blind rounds only; stale while the count is 0
missed1: HashMap[uint256, uint256]  # members that missed a deadline since they last acted
missed2: HashMap[uint256, uint256]  # those of them that missed a second one
leaving: HashMap[uint256, uint256]  # members until the next round opens
ring: HashMap[uint256, HashMap[uint256, uint256]]  # seat -> ring word
people: HashMap[uint256, HashMap[address, uint256]]  # address -> person word
commitments: HashMap[uint256, HashMap[address, bytes32]]  # stale unless in the todo of REVEAL
motions: HashMap[uint256, HashMap[uint256, uint256]]  # key -> supporters, or PASSED

# --------------------------------------------------------------------------------------- events

event Created:
    experiment: indexed(uint256)
    creator: indexed(address)
    specification: bytes32
    model: bytes32
    rules: uint256
    uri: String[URI_BYTES_MAX]

event Member:
    experiment: indexed(uint256)
    member: indexed(address)
    status: uint256

event Joined:
    experiment: indexed(uint256)
    member: indexed(address)
    seat: uint256
    moments: bytes32

event Started:
    experiment: indexed(uint256)
    roster: bytes32

event Opened:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    phase: uint256
    proposer: uint256
    deadline: uint256

event Contributed:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    member: indexed(address)
    digest: bytes32

event Proposed:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    proposer: indexed(address)
    key: bytes32
    parent: bytes32
    included: uint256
    candidates: DynArray[bytes32, CANDIDATES_MAX]
    uri: String[URI_BYTES_MAX]
    deadline: uint256

event Skipped:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    member: indexed(address)

event Voted:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    voter: indexed(address)
    not_worse: uint256
    better: uint256
    abstain: bool
    note: bytes32

event Committed:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    voter: indexed(address)
    commitment: bytes32

event Revealed:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    voter: indexed(address)
    not_worse: uint256
    better: uint256
    note: bytes32
    salt: bytes32

event Missed:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    phase: uint256
    seats: uint256

event Closed:
    experiment: indexed(uint256)
    round_number: indexed(uint256)
    proposer: uint256
    outcome: uint256
    model: bytes32

event MotionSupported:
    experiment: indexed(uint256)
    member: indexed(address)
    target: indexed(address)
    kind: uint256
    epoch: uint256
    passed: bool

event Awoke:
    experiment: indexed(uint256)
    member: indexed(address)

event Confirmed:
    experiment: indexed(uint256)
    member: indexed(address)
    model: bytes32

# ---------------------------------------------------------------------------------- constructor

@deploy
def __init__(drift: uint256):
    """
    @notice Deploys an empty ledger.
    @param drift By how many seconds clocks may differ; every phase lasts at least four times that,
           and at least one second (7.2).
    """
    assert drift < 2**30, "drift too long"
    SHORTEST_S = max(4 * drift, 1)

# --------------------------------------------------------------- calls: before the first round

@external
def create(
    specification: bytes32, model: bytes32, rules: uint256, uri: String[URI_BYTES_MAX]
) -> uint256:
    """
    @notice Creates an experiment in SETUP; the sender becomes its creator.
    @param specification The sha256 of the specification (6.1).
    @param model The digest of model 0.
    @param rules The rules word.
    @param uri Where the specification can be fetched.
    @return The experiment's id.
    """
    denominator: uint256 = (rules >> 16) & BITS_16
    assert denominator != 0 and rules & BITS_16 <= denominator, "threshold out of range"
    contribute_s: uint256 = (rules >> CONTRIBUTE_S) & BITS_32
    reveal_s: uint256 = (rules >> REVEAL_S) & BITS_32
    assert contribute_s == 0 or contribute_s >= SHORTEST_S, "deadline too short"
    assert (rules >> PROPOSE_S) & BITS_32 >= SHORTEST_S, "deadline too short"
    assert (rules >> VOTE_S) & BITS_32 >= SHORTEST_S, "deadline too short"
    assert reveal_s == 0 or reveal_s >= SHORTEST_S, "deadline too short"
    assert rules & RULES_RESERVED == 0, "reserved bits set"
    turn: uint256 = (rules & BITS_32) << NUMERATOR
    if contribute_s != 0:
        turn |= FLAG_COUNCIL
    if reveal_s != 0:
        turn |= FLAG_BLIND
    if (rules >> EARLY_CLOSE) & 1 != 0:
        turn |= FLAG_EARLY
    experiment: uint256 = self.experiments + 1
    self.experiments = experiment
    self.rules[experiment] = rules
    self.turn[experiment] = turn
    self.desk[experiment] = convert(msg.sender, uint256)
    self.origin[experiment] = keccak256(concat(specification, model))
    self.model[experiment] = model
    log Created(
        experiment=experiment,
        creator=msg.sender,
        specification=specification,
        model=model,
        rules=rules,
        uri=uri,
    )
    return experiment

@external
def invite(experiment: uint256, who: DynArray[address, INVITATIONS_MAX]):
    """
    @notice Lets each of `who` join before the start. Only the creator may.
    @param experiment The experiment's id.
    @param who At most 64 addresses.
    """
    self._desk_in_setup(experiment)
    for member: address in who:
        self.people[experiment][member] |= INVITED << INVITATION
        log Member(experiment=experiment, member=member, status=INVITED)

@external
def join(experiment: uint256, specification: bytes32, model: bytes32, moments: bytes32):
    """
    @notice Uses an invitation (before the start) or an admission (after it) up and takes the next
            seat; after the start its holder is a member where the next round opens (7.7).
    @param experiment The experiment's id.
    @param specification The digest of the specification, as the sender computed it.
    @param model The digest of model 0, as the sender computed it (6.1).
    @param moments The digest of the sender's moments; zero where none are shared (6.2).
    """
    turn: uint256 = self.turn[experiment]
    phase: uint256 = (turn >> PHASE) & BITS_4
    assert phase != OVER, "experiment is over"
    person: uint256 = self.people[experiment][msg.sender]
    invitation: uint256 = INVITED if phase == SETUP else ADMITTED
    assert (person >> INVITATION) & BITS_8 == invitation, "not invited"
    desk: uint256 = self.desk[experiment]
    old: uint256 = person & BITS_16
    if old != 0:
        opened: bool = phase != SETUP and old <= (desk >> OPENED) & BITS_16
        member: bool = (self.members[experiment] >> unsafe_sub(old, 1)) & 1 != 0
        assert opened and not member, "already a member"
    seat: uint256 = (desk >> GIVEN) & BITS_16
    assert seat < SEATS_MAX, "no seat is left"
    origin: bytes32 = keccak256(concat(specification, model))
    assert origin == self.origin[experiment], "another specification or model"
    following: uint256 = unsafe_add(seat, 1)
    self.people[experiment][msg.sender] = following
    self.ring[experiment][seat] = convert(msg.sender, uint256) | (following << NEXT)
    self.desk[experiment] = unsafe_add(desk, 1 << GIVEN)
    if phase == SETUP:
        roster: bytes32 = self.key[experiment]
        self.key[experiment] = keccak256(concat(roster, convert(msg.sender, bytes32)))
    else:
        self.turn[experiment] = turn | FLAG_CHANGED
    log Joined(experiment=experiment, member=msg.sender, seat=seat, moments=moments)

@external
def start(experiment: uint256, roster: bytes32):
    """
    @notice Makes everybody who joined a member and opens round 1. Only the creator may.
    @param experiment The experiment's id.
    @param roster The roster's digest (7.3): d = 0; for each member in join order
           d = keccak256(d, address as 32 bytes).
    """
    desk: uint256 = self._desk_in_setup(experiment)
    n: uint256 = desk >> GIVEN
    assert n > 1, "fewer than two members"
    assert roster == self.key[experiment], "another roster"
    self.desk[experiment] = desk | (n << OPENED)
    self.members[experiment] = self._seats_below(n)
    last: uint256 = unsafe_sub(n, 1)
    # The ring is closed: behind the last seat comes seat 0, the first proposer.
    self.ring[experiment][last] &= BITS_160
    log Started(experiment=experiment, roster=roster)
    turn: uint256 = self._with_front(self.turn[experiment] | (n << N), last)
    turn = self._open_round(experiment, turn, self.rules[experiment])
    if turn & FLAG_COUNCIL != 0:
        self.turn[experiment] = turn
    else:
        self._proceed(experiment, turn, STEP_PROPOSE, NO_PROPOSAL, empty(bytes32))

# -------------------------------------------------------------------------- calls: in a round

@external
def contribute(experiment: uint256, round_number: uint256, parent: bytes32, digest: bytes32):
    """
    @notice Posts the digest of a contribution (5.1). Once a member, in CONTRIBUTE.
    @param experiment The experiment's id.
    @param round_number The current round.
    @param parent The model the contribution was trained from; must be the current one (7.4).
    @param digest The digest of the contribution.
    """
    turn: uint256 = self._turn_at(experiment, round_number, CONTRIBUTE)
    assert parent == self.model[experiment], "parent is not the model"
    bit: uint256 = 0
    todo: uint256 = 0
    bit, todo = self._awaited(experiment)
    log Contributed(
        experiment=experiment, round_number=round_number, member=msg.sender, digest=digest
    )
    self._settle(experiment, self._awake(experiment, turn, bit), todo)

@external
def propose(
    experiment: uint256,
    round_number: uint256,
    parent: bytes32,
    included: uint256,
    candidates: DynArray[bytes32, CANDIDATES_MAX],
    uri: String[URI_BYTES_MAX],
):
    """
    @notice Posts the proposal of the round's proposer, or the candidates of its merger (5.2), and
            opens VOTE.
    @param experiment The experiment's id.
    @param round_number The current round.
    @param parent The model the candidates were made from; must be the current one (7.4).
    @param included The seats whose contributions were merged; 0 where there are none.
    @param candidates Digests of 1 to 8 candidates, all different, none of them the parent.
    @param uri Where the candidates can be fetched.
    """
    turn: uint256 = self._turn_at(experiment, round_number, PROPOSE)
    bit: uint256 = self._front_bit(experiment, turn)
    assert parent == self.model[experiment], "parent is not the model"
    count: uint256 = len(candidates)
    assert count != 0, "no candidate"
    members: uint256 = self.members[experiment]
    rules: uint256 = self.rules[experiment]
    contributors: uint256 = 0
    if turn & FLAG_COUNCIL != 0:
        contributors = members & ~self.todo[experiment]
        least: uint256 = self._contributions_needed(turn, rules)
        assert self._count(included) >= least, "too few contributions included"
    assert included & ~contributors == 0, "included without contribution"
    for i: uint256 in range(count, bound=CANDIDATES_MAX):
        candidate: bytes32 = candidates[i]
        assert candidate != parent, "candidates must differ"
        for j: uint256 in range(i, bound=CANDIDATES_MAX):
            assert candidate != candidates[j], "candidates must differ"
        self.candidates[experiment][i] = candidate
    key: bytes32 = keccak256(abi_encode(parent, included, candidates))
    self.key[experiment] = key
    self.todo[experiment] = members & ~bit
    deadline: uint256 = block.timestamp + ((rules >> VOTE_S) & BITS_32)
    turn = turn & ~(COUNTS_OF_BALLOTS | (BITS_4 << CANDIDATES)) | (count << CANDIDATES)
    turn = self._with_phase(turn, VOTE, deadline)
    self.turn[experiment] = self._awake(experiment, turn, bit)
    log Proposed(
        experiment=experiment,
        round_number=round_number,
        proposer=msg.sender,
        key=key,
        parent=parent,
        included=included,
        candidates=candidates,
        uri=uri,
        deadline=deadline,
    )

@external
def skip(experiment: uint256, round_number: uint256):
    """
    @notice Ends the sender's own turn at once, without a proposal (P3.6).
    @param experiment The experiment's id.
    @param round_number The current round.
    """
    turn: uint256 = self._turn_at(experiment, round_number, PROPOSE)
    bit: uint256 = self._front_bit(experiment, turn)
    log Skipped(experiment=experiment, round_number=round_number, member=msg.sender)
    self._end_phase(experiment, self._awake(experiment, turn, bit), 0)

@external
def vote(
    experiment: uint256,
    round_number: uint256,
    key: bytes32,
    not_worse: uint256,
    better: uint256,
    note: bytes32,
):
    """
    @notice Casts the sender's open ballot (5.3).
    @param experiment The experiment's id.
    @param round_number The current round.
    @param key The key of the candidates that were judged (7.3).
    @param not_worse Bit i: candidate i is approved.
    @param better Reserved, 0.
    @param note An opaque word that is logged and never tallied.
    """
    turn: uint256 = self._turn_at(experiment, round_number, VOTE)
    assert turn & FLAG_BLIND == 0, "votes are blind"
    bit: uint256 = 0
    todo: uint256 = 0
    bit, todo = self._awaited(experiment)
    assert key == self.key[experiment], "other candidates"
    turn = self._with_ballot(experiment, turn, not_worse, better)
    log Voted(
        experiment=experiment,
        round_number=round_number,
        voter=msg.sender,
        not_worse=not_worse,
        better=better,
        abstain=False,
        note=note,
    )
    self._settle(experiment, self._awake(experiment, turn, bit), todo)

@external
def abstain(experiment: uint256, round_number: uint256, key: bytes32):
    """
    @notice Abstains, in VOTE and instead of a ballot or a commitment (P3.4).
    @param experiment The experiment's id.
    @param round_number The current round.
    @param key The key of the candidates (7.3).
    """
    turn: uint256 = self._turn_at(experiment, round_number, VOTE)
    bit: uint256 = 0
    todo: uint256 = 0
    bit, todo = self._awaited(experiment)
    assert key == self.key[experiment], "other candidates"
    if turn & FLAG_BLIND != 0:
        abstainers: uint256 = bit
        if (turn >> ABSTAINED) & BITS_12 != 0:
            abstainers |= self.abstainers[experiment]
        self.abstainers[experiment] = abstainers
    turn = unsafe_add(turn, 1 << ABSTAINED)
    log Voted(
        experiment=experiment,
        round_number=round_number,
        voter=msg.sender,
        not_worse=0,
        better=0,
        abstain=True,
        note=empty(bytes32),
    )
    self._settle(experiment, self._awake(experiment, turn, bit), todo)

@external
def commit(experiment: uint256, round_number: uint256, commitment: bytes32):
    """
    @notice Commits to a blind ballot. It does not end dormancy; its reveal does (7.2).
    @param experiment The experiment's id.
    @param round_number The current round.
    @param commitment What `reveal` recomputes.
    """
    turn: uint256 = self._turn_at(experiment, round_number, VOTE)
    assert turn & FLAG_BLIND != 0, "votes are open"
    bit: uint256 = 0
    todo: uint256 = 0
    bit, todo = self._awaited(experiment)
    self.commitments[experiment][msg.sender] = commitment
    log Committed(
        experiment=experiment,
        round_number=round_number,
        voter=msg.sender,
        commitment=commitment,
    )
    self._settle(experiment, turn, todo)

@external
def reveal(
    experiment: uint256,
    round_number: uint256,
    not_worse: uint256,
    better: uint256,
    note: bytes32,
    salt: bytes32,
):
    """
    @notice Opens the sender's commitment, which was the keccak256 of the ABI encoding of chain id,
            contract, experiment, round, voter, key and the last four arguments (7.4).
    @param experiment The experiment's id.
    @param round_number The current round.
    @param not_worse Bit i: candidate i is approved.
    @param better Reserved, 0.
    @param note An opaque word that is logged and never tallied.
    @param salt 32 random bytes.
    """
    turn: uint256 = self._turn_at(experiment, round_number, REVEAL)
    bit: uint256 = 0
    todo: uint256 = 0
    bit, todo = self._awaited(experiment)
    commitment: bytes32 = keccak256(
        abi_encode(
            chain.id,
            self,
            experiment,
            round_number,
            msg.sender,
            self.key[experiment],
            not_worse,
            better,
            note,
            salt,
        )
    )
    assert commitment == self.commitments[experiment][msg.sender], "commitment does not match"
    turn = self._with_ballot(experiment, turn, not_worse, better)
    log Revealed(
        experiment=experiment,
        round_number=round_number,
        voter=msg.sender,
        not_worse=not_worse,
        better=better,
        note=note,
        salt=salt,
    )
    self._settle(experiment, self._awake(experiment, turn, bit), todo)

@external
def vote_many(
    experiment: uint256, round_number: uint256, ballots: DynArray[SignedBallot, BALLOTS_MAX]
):
    """
    @notice Casts ballots that their voters signed (EIP-712, 7.3), whoever sends them. Who has acted
            already is passed over; one wrong seat, signature or mask refuses all.
    @param experiment The experiment's id.
    @param round_number The current round.
    @param ballots At most 256 signed ballots.
    """
    turn: uint256 = self._turn_at(experiment, round_number, VOTE)
    assert turn & FLAG_BLIND == 0, "votes are blind"
    key: bytes32 = self.key[experiment]
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self)
    )
    todo: uint256 = self.todo[experiment]
    voters: uint256 = self.members[experiment] & ~(1 << ((turn >> FRONT) & BITS_8))
    acted: uint256 = 0
    for ballot: SignedBallot in ballots:
        # A shift by 256 or more leaves nothing, so a seat out of range is no voter's.
        assert (voters >> ballot.seat) & 1 != 0, "no voter of this round"
        voter: address = convert(self.ring[experiment][ballot.seat] & BITS_160, address)
        content: bytes32 = keccak256(
            abi_encode(
                BALLOT_TYPE,
                experiment,
                round_number,
                key,
                ballot.not_worse,
                ballot.better,
                ballot.note,
                ballot.abstain,
            )
        )
        digest: bytes32 = keccak256(concat(x"1901", domain, content))
        signer: address = ecrecover(digest, ballot.v, ballot.r, ballot.s)
        assert signer == voter, "signature does not match"
        bit: uint256 = 1 << ballot.seat
        if todo & bit == 0:
            continue
        todo &= ~bit
        acted |= bit
        if ballot.abstain:
            turn = unsafe_add(turn, 1 << ABSTAINED)
        else:
            turn = self._with_ballot(experiment, turn, ballot.not_worse, ballot.better)
        log Voted(
            experiment=experiment,
            round_number=round_number,
            voter=voter,
            not_worse=ballot.not_worse,
            better=ballot.better,
            abstain=ballot.abstain,
            note=ballot.note,
        )
    assert acted != 0, "nothing new"
    self._settle(experiment, self._awake(experiment, turn, acted), todo)

@external
def advance(experiment: uint256, round_number: uint256, phase: uint256):
    """
    @notice Ends a phase whose deadline has passed (7.2). Anybody may. Who was awaited and is not
            dormant has missed the deadline.
    @param experiment The experiment's id.
    @param round_number The current round.
    @param phase The current phase.
    """
    turn: uint256 = self.turn[experiment]
    current: uint256 = (turn >> PHASE) & BITS_4
    assert current != SETUP and current != OVER, "another phase or round"
    assert current == phase and turn & BITS_32 == round_number, "another phase or round"
    assert block.timestamp > (turn >> DEADLINE) & BITS_40, "deadline has not passed"
    todo: uint256 = self.todo[experiment]
    late: uint256 = todo
    if phase == PROPOSE:
        late = 1 << ((turn >> FRONT) & BITS_8)
    late &= ~self._dormant(experiment, turn)
    if late != 0:
        once: uint256 = self.missed1[experiment]
        if once & late != 0:
            twice: uint256 = self.missed2[experiment]
            self.missed2[experiment] = twice | (once & late)
            turn = unsafe_add(turn, self._count(once & late & ~twice) << ASLEEP)
        self.missed1[experiment] = once | late
        turn |= FLAG_LATE
    log Missed(experiment=experiment, round_number=round_number, phase=phase, seats=late)
    self._end_phase(experiment, turn, todo)

# ----------------------------------------------------------------- calls: members and the end

@external
def wake(experiment: uint256):
    """
    @notice Says that the sender is back: deadlines wait for it again (7.2).
    @param experiment The experiment's id.
    """
    bit: uint256 = self._member_bit(experiment)
    assert self.missed1[experiment] & bit != 0, "nothing missed"
    self.turn[experiment] = self._awake(experiment, self.turn[experiment], bit)
    log Awoke(experiment=experiment, member=msg.sender)

@external
def leave(experiment: uint256):
    """
    @notice Gives the sender's seat up where the next round opens (7.7).
    @param experiment The experiment's id.
    """
    turn: uint256 = self._turn_running(experiment)
    bit: uint256 = self._member_bit(experiment)
    leaving: uint256 = self.leaving[experiment]
    assert leaving & bit == 0, "already leaving"
    self.leaving[experiment] = leaving | bit
    self.turn[experiment] = turn | FLAG_CHANGED
    log Member(experiment=experiment, member=msg.sender, status=LEAVING)

@external
def motion(experiment: uint256, epoch: uint256, kind: uint256, target: address):
    """
    @notice Opens a motion or supports it (7.7). More than two thirds of the members (less the
            target of an expulsion) pass it; a new epoch of the roster lapses it.
    @param experiment The experiment's id.
    @param epoch The current epoch of the roster.
    @param kind 1 admits, 2 expels, 3 finishes the experiment after the open round.
    @param target Who; the zero address for kind 3.
    """
    turn: uint256 = self._turn_running(experiment)
    bit: uint256 = self._member_bit(experiment)
    assert target != msg.sender, "no motion about oneself"
    desk: uint256 = self.desk[experiment]
    assert epoch == desk >> EPOCH, "another roster epoch"
    person: uint256 = self.people[experiment][target]
    seat: uint256 = person & BITS_16
    opened: uint256 = (desk >> OPENED) & BITS_16
    leaving: uint256 = self.leaving[experiment]
    target_bit: uint256 = 0
    if seat != 0:
        target_bit = self.members[experiment] & (1 << unsafe_sub(seat, 1))
    n: uint256 = (turn >> N) & BITS_12
    electors: uint256 = n
    if kind == ADMIT:
        assert target_bit == 0 and seat <= opened, "no such target"
    elif kind == EXPEL:
        assert target_bit & ~leaving != 0, "no such target"
        electors = unsafe_sub(n, 1)
    else:
        assert kind == FINISH and target == empty(address), "no such target"
    key: uint256 = convert(keccak256(abi_encode(epoch, kind, target)), uint256) >> 96
    supporters: uint256 = self.motions[experiment][key]
    assert supporters & bit == 0, "already supported"
    if supporters == 0:
        own: uint256 = self.people[experiment][msg.sender]
        if (own >> MOTION_EPOCH) & BITS_32 == epoch + 1:
            earlier: uint256 = self.motions[experiment][own >> MOTION_KEY]
            assert earlier == PASSED, "one open motion a member"
        self.people[experiment][msg.sender] = (
            own & (2**24 - 1) | ((epoch + 1) << MOTION_EPOCH) | (key << MOTION_KEY)
        )
    supporters |= bit
    passed: bool = 3 * self._count(supporters) > 2 * electors
    if passed:
        supporters = PASSED
    self.motions[experiment][key] = supporters
    log MotionSupported(
        experiment=experiment,
        member=msg.sender,
        target=target,
        kind=kind,
        epoch=epoch,
        passed=passed,
    )
    if not passed:
        return
    if kind == ADMIT:
        self.people[experiment][target] = (
            person & ~(BITS_8 << INVITATION) | (ADMITTED << INVITATION)
        )
        log Member(experiment=experiment, member=target, status=ADMITTED)
    elif kind == EXPEL:
        waiting: uint256 = unsafe_sub((desk >> GIVEN) & BITS_16, opened)
        stay: uint256 = unsafe_add(n, waiting)
        assert stay > unsafe_add(self._count(leaving), 2), "two members must stay"
        self.leaving[experiment] = leaving | target_bit
        self.turn[experiment] = turn | FLAG_CHANGED
        log Member(experiment=experiment, member=target, status=EXPELLED)
    else:
        self.turn[experiment] = turn | FLAG_FINISH

@external
def confirm(experiment: uint256, model: bytes32):
    """
    @notice Says, after the end, that the sender holds this final model. Once a member.
    @param experiment The experiment's id.
    @param model The digest of the final model.
    """
    assert (self.turn[experiment] >> PHASE) & BITS_4 == OVER, "not over"
    bit: uint256 = 0
    todo: uint256 = 0
    bit, todo = self._awaited(experiment)
    assert model == self.model[experiment], "not the final model"
    self.todo[experiment] = todo
    log Confirmed(experiment=experiment, member=msg.sender, model=model)

# ------------------------------------------------------------------- internal: who may, and when

@internal
@view
def _desk_in_setup(experiment: uint256) -> uint256:
    """
    @dev The desk word; refuses everybody but the creator, and everything after the start.
    """
    desk: uint256 = self.desk[experiment]
    assert desk & BITS_160 == convert(msg.sender, uint256), "only the creator may"
    assert (self.turn[experiment] >> PHASE) & BITS_4 == SETUP, "already started"
    return desk

@internal
@view
def _turn_at(experiment: uint256, round_number: uint256, phase: uint256) -> uint256:
    """
    @dev The turn word; refuses other phases and rounds, and what comes after the deadline.
    """
    turn: uint256 = self.turn[experiment]
    current: uint256 = (turn >> PHASE) & BITS_4
    assert current == phase and turn & BITS_32 == round_number, "another phase or round"
    assert block.timestamp <= (turn >> DEADLINE) & BITS_40, "deadline has passed"
    return turn

@internal
@view
def _turn_running(experiment: uint256) -> uint256:
    """
    @dev The turn word; refuses SETUP and OVER.
    """
    turn: uint256 = self.turn[experiment]
    phase: uint256 = (turn >> PHASE) & BITS_4
    assert phase != SETUP and phase != OVER, "not running"
    return turn

@internal
@view
def _awaited(experiment: uint256) -> (uint256, uint256):
    """
    @dev The sender's bit, and who is awaited once it has acted; refuses who is not awaited. The
         latest seat counts: one that is no member's, any more or yet, is awaited nowhere.
    """
    seat: uint256 = self.people[experiment][msg.sender] & BITS_16
    assert seat != 0, "no member"
    bit: uint256 = 1 << unsafe_sub(seat, 1)
    todo: uint256 = self.todo[experiment]
    assert todo & bit != 0, "not awaited"
    return bit, todo & ~bit

@internal
@view
def _member_bit(experiment: uint256) -> uint256:
    """
    @dev The sender's bit; refuses who is no member now.
    """
    # Without a seat the shift is by 2**256 - 1, and nothing is left.
    seat: uint256 = self.people[experiment][msg.sender] & BITS_16
    bit: uint256 = self.members[experiment] & (1 << unsafe_sub(seat, 1))
    assert bit != 0, "no member"
    return bit

@internal
@view
def _front_bit(experiment: uint256, turn: uint256) -> uint256:
    """
    @dev The proposer's bit; refuses everybody else.
    """
    front: uint256 = (turn >> FRONT) & BITS_8
    seat: uint256 = self.people[experiment][msg.sender] & BITS_16
    assert seat == unsafe_add(front, 1), "not your turn"
    return 1 << front

# ------------------------------------------------------------------------- internal: arithmetic

@internal
@pure
def _with_phase(turn: uint256, phase: uint256, deadline: uint256) -> uint256:
    """
    @dev The turn word in another phase. 40 bits of seconds last until the year 36,812.
    """
    return turn & ~PHASE_AND_DEADLINE | (deadline << DEADLINE) | (phase << PHASE)

@internal
@pure
def _with_front(turn: uint256, seat: uint256) -> uint256:
    """
    @dev The turn word with another proposer.
    """
    return turn & ~(BITS_8 << FRONT) | (seat << FRONT)

@internal
@pure
def _count(mask: uint256) -> uint256:
    """
    @dev How many bits are set: pairs, then nibbles, bytes and 16-bit lanes are added up.
    """
    bits: uint256 = unsafe_sub(mask, (mask >> 1) & (max_value(uint256) // 3))
    bits = unsafe_add(
        bits & (max_value(uint256) // 5), (bits >> 2) & (max_value(uint256) // 5)
    )
    bits = unsafe_add(bits, bits >> 4) & (max_value(uint256) // 17)
    bits = unsafe_add(bits, bits >> 8) & (max_value(uint256) // 257)
    return unsafe_mul(bits, max_value(uint256) // 65535) >> 240

@internal
@pure
def _seats_below(count: uint256) -> uint256:
    """
    @dev The mask of the first `count` seats; a shift by 256 leaves 0, and 0 - 1 is all of them.
    """
    one: uint256 = 1
    return unsafe_sub(one << count, 1)

@internal
@pure
def _contributions_needed(turn: uint256, rules: uint256) -> uint256:
    """
    @dev n - min(k, floor((n - 1) / 2)), for a round with contributions (5.1).
    """
    n: uint256 = (turn >> N) & BITS_12
    tolerance: uint256 = (rules >> MERGE_TOLERANCE) & BITS_16
    return unsafe_sub(n, min(tolerance, unsafe_sub(n, 1) >> 1))

# ------------------------------------------------------------------------ internal: dormancy (7.2)

@internal
@view
def _dormant(experiment: uint256, turn: uint256) -> uint256:
    """
    @dev Who is not waited for: who missed two deadlines running, while that is less than half.
    """
    asleep: uint256 = turn >> ASLEEP
    if asleep == 0 or asleep << 1 >= (turn >> N) & BITS_12:
        return 0
    return self.missed2[experiment]

@internal
def _awake(experiment: uint256, before: uint256, who: uint256) -> uint256:
    """
    @dev The turn word once the seats of `who` have acted: what they missed is forgotten.
    """
    turn: uint256 = before
    if turn & FLAG_LATE == 0:
        return turn
    once: uint256 = self.missed1[experiment]
    if once & who == 0:
        return turn
    once &= ~who
    self.missed1[experiment] = once
    if once == 0:
        turn &= ~FLAG_LATE
    if turn >> ASLEEP != 0:
        twice: uint256 = self.missed2[experiment]
        if twice & who != 0:
            self.missed2[experiment] = twice & ~who
            turn = unsafe_sub(turn, self._count(twice & who) << ASLEEP)
    return turn

# ------------------------------------------------------------------- internal: the tally (P3.3)

@internal
def _with_ballot(
    experiment: uint256, turn: uint256, not_worse: uint256, better: uint256
) -> uint256:
    """
    @dev The turn word with one more ballot; several candidates are counted in lanes (5.4).
    """
    count: uint256 = (turn >> CANDIDATES) & BITS_4
    assert not_worse >> count == 0 and better == 0, "masks out of range"
    if count == 1:
        return unsafe_add(turn, unsafe_add(1 << CAST, not_worse << APPROVALS))
    tallies: uint256 = unsafe_mul(not_worse, SPREAD) & LANES
    if (turn >> CAST) & BITS_12 != 0:
        tallies = unsafe_add(tallies, self.tallies[experiment])
    self.tallies[experiment] = tallies
    return unsafe_add(turn, 1 << CAST)

@internal
@pure
def _approvals_needed(turn: uint256) -> uint256:
    """
    @dev max(min(floor(t c) + 1, c) - 1, 1) with c = max(n - abstained, ceil(3 n / 4)) (P3.3).
    """
    n: uint256 = (turn >> N) & BITS_12
    c: uint256 = max(
        unsafe_sub(n, (turn >> ABSTAINED) & BITS_12), unsafe_add(unsafe_mul(3, n), 3) >> 2
    )
    share: uint256 = unsafe_div(
        unsafe_mul((turn >> NUMERATOR) & BITS_16, c), (turn >> DENOMINATOR) & BITS_16
    )
    # c is at least 2, so both sides of the outer max are taken one larger.
    return unsafe_sub(max(min(unsafe_add(share, 1), c), 2), 1)

@internal
@view
def _winner(experiment: uint256, turn: uint256) -> uint256:
    """
    @dev The lowest candidate with enough approvals (5.4), or CANDIDATES_MAX.
    """
    needed: uint256 = self._approvals_needed(turn)
    if (turn >> CANDIDATES) & BITS_4 == 1:
        return 0 if (turn >> APPROVALS) & BITS_12 >= needed else CANDIDATES_MAX
    if (turn >> CAST) & BITS_12 != 0:
        tallies: uint256 = self.tallies[experiment]
        for i: uint256 in range(CANDIDATES_MAX):
            if (tallies >> (16 * i)) & BITS_16 >= needed:
                return i
    return CANDIDATES_MAX

# ----------------------------------------------------- internal: how phases end and rounds open

@internal
def _settle(experiment: uint256, turn: uint256, todo: uint256):
    """
    @dev Keeps the words after an act, and ends the phase when nobody awake is awaited or, where
         the rules say so, no further ballot can change the outcome (7.2, S4).
    """
    end: bool = todo == 0
    asleep: uint256 = turn >> ASLEEP
    # As long as more are awaited than sleep, `missed2` need not be read.
    if not end and asleep != 0 and self._count(todo) <= asleep:
        end = todo & ~self._dormant(experiment, turn) == 0
    if not end and turn & OPEN_VOTE_BITS == OPEN_VOTE:
        needed: uint256 = self._approvals_needed(turn)
        approvals: uint256 = (turn >> APPROVALS) & BITS_12
        end = approvals >= needed or unsafe_add(approvals, self._count(todo)) < needed
    if end:
        self._end_phase(experiment, turn, todo)
    else:
        self.todo[experiment] = todo
        self.turn[experiment] = turn

@internal
def _end_phase(experiment: uint256, turn: uint256, todo: uint256):
    """
    @dev Ends the phase with `todo` still awaited, and keeps the turn word.
    """
    phase: uint256 = (turn >> PHASE) & BITS_4
    if phase == PROPOSE:
        self._proceed(experiment, turn, STEP_TURN_OVER, NO_PROPOSAL, self.model[experiment])
        return
    if phase == CONTRIBUTE:
        # Who contributed is the members without todo until the round closes.
        self.todo[experiment] = todo
        posted: uint256 = unsafe_sub((turn >> N) & BITS_12, self._count(todo))
        enough: bool = posted >= self._contributions_needed(turn, self.rules[experiment])
        step: uint256 = STEP_PROPOSE if enough else STEP_CLOSE
        self._proceed(experiment, turn, step, NO_PROPOSAL, self.model[experiment])
        return
    if phase == VOTE and turn & FLAG_BLIND != 0:
        front: uint256 = (turn >> FRONT) & BITS_8
        committed: uint256 = self.members[experiment] & ~(todo | (1 << front))
        if (turn >> ABSTAINED) & BITS_12 != 0:
            committed &= ~self.abstainers[experiment]
        if committed != 0:
            deadline: uint256 = (
                block.timestamp + ((self.rules[experiment] >> REVEAL_S) & BITS_32)
            )
            self.todo[experiment] = committed
            self.turn[experiment] = self._with_phase(turn, REVEAL, deadline)
            log Opened(
                experiment=experiment,
                round_number=turn & BITS_32,
                phase=REVEAL,
                proposer=front,
                deadline=deadline,
            )
            return
    winner: uint256 = self._winner(experiment, turn)
    if winner < CANDIDATES_MAX:
        model: bytes32 = self.candidates[experiment][winner]
        self.model[experiment] = model
        self._proceed(experiment, turn, STEP_CLOSE, ACCEPTED, model)
    else:
        self._proceed(experiment, turn, STEP_CLOSE, REJECTED, self.model[experiment])

@internal
def _proceed(
    experiment: uint256,
    before: uint256,
    first_step: uint256,
    first_outcome: uint256,
    model: bytes32,
):
    """
    @dev Takes steps until somebody awake is awaited or the experiment is over, and keeps the turn
         word: the front proposes; its turn is over (P3.6, 5.2); the round closes, and the next
         one opens.
    """
    turn: uint256 = before
    step: uint256 = first_step
    outcome: uint256 = first_outcome
    rules: uint256 = self.rules[experiment]
    dormant: uint256 = self._dormant(experiment, turn)
    for _: uint256 in range(STEPS_MAX):
        if step == STEP_PROPOSE:
            front: uint256 = (turn >> FRONT) & BITS_8
            if (dormant >> front) & 1 == 0:
                deadline: uint256 = block.timestamp + ((rules >> PROPOSE_S) & BITS_32)
                turn = self._with_phase(turn, PROPOSE, deadline)
                log Opened(
                    experiment=experiment,
                    round_number=turn & BITS_32,
                    phase=PROPOSE,
                    proposer=front,
                    deadline=deadline,
                )
                break
            step = STEP_TURN_OVER
        if step == STEP_TURN_OVER:
            mergers: uint256 = max(unsafe_div(unsafe_sub((turn >> N) & BITS_12, 1), 3), 1)
            if turn & FLAG_COUNCIL != 0 and (turn >> TRIED) & BITS_8 < mergers:
                members: uint256 = self.members[experiment]
                front: uint256 = self._next_seat(experiment, (turn >> FRONT) & BITS_8, members)
                turn = unsafe_add(self._with_front(turn, front), 1 << TRIED)
                step = STEP_PROPOSE
                continue
            outcome = NO_PROPOSAL
        log Closed(
            experiment=experiment,
            round_number=turn & BITS_32,
            proposer=(turn >> FRONT) & BITS_8,
            outcome=outcome,
            model=model,
        )
        turn = self._open_round(experiment, self._with_outcome(turn, outcome), rules)
        if (turn >> PHASE) & BITS_4 != PROPOSE:
            break
        dormant = self._dormant(experiment, turn)
        step = STEP_PROPOSE
    self.turn[experiment] = turn

@internal
@pure
def _with_outcome(turn: uint256, outcome: uint256) -> uint256:
    """
    @dev The turn word with the counters of rounds after a close; empty rounds leave the streak.
    """
    if outcome == NO_PROPOSAL:
        return unsafe_add(turn, 1 << EMPTY)
    streak: uint256 = 0
    if outcome == REJECTED:
        streak = min(unsafe_add((turn >> STREAK) & BITS_16, 1), BITS_16)
    return unsafe_add(turn & ~EMPTY_AND_STREAK | (streak << STREAK), 1 << COUNTED)

@internal
def _open_round(experiment: uint256, before: uint256, rules: uint256) -> uint256:
    """
    @dev The turn word of the next round, in CONTRIBUTE, or in PROPOSE without a deadline, or OVER.
         Roster changes take effect here and only here (7.7, S6).
    """
    turn: uint256 = before
    members: uint256 = self.members[experiment]
    last: uint256 = (turn >> FRONT) & BITS_8
    if turn & FLAG_CHANGED != 0:
        members, last = self._change_roster(experiment, members, last)
        turn = turn & ~(FLAG_CHANGED | (BITS_12 << N)) | (self._count(members) << N)
        if turn & FLAG_LATE != 0:
            once: uint256 = self.missed1[experiment] & members
            twice: uint256 = self.missed2[experiment] & members
            self.missed1[experiment] = once
            self.missed2[experiment] = twice
            turn = turn & (2**244 - 1) | (self._count(twice) << ASLEEP)
            if once == 0:
                turn &= ~FLAG_LATE
    n: uint256 = (turn >> N) & BITS_12
    rounds: uint256 = (rules >> ROUNDS) & BITS_32
    patience: uint256 = (rules >> PATIENCE) & BITS_16
    if (
        n < 2
        or (rounds != 0 and (turn >> COUNTED) & BITS_32 >= rounds)
        or turn & FLAG_FINISH != 0
        or (patience != 0 and (turn >> STREAK) & BITS_16 >= patience)
        or (turn >> EMPTY) & BITS_12 >= n << 1
    ):
        self.todo[experiment] = members
        log Opened(
            experiment=experiment,
            round_number=turn & BITS_32,
            phase=OVER,
            proposer=0,
            deadline=0,
        )
        return self._with_phase(turn, OVER, 0)
    front: uint256 = self._next_seat(experiment, last, members)
    turn = unsafe_add(self._with_front(turn, front) & ~(BITS_8 << TRIED), 1)
    if turn & FLAG_COUNCIL == 0:
        return self._with_phase(turn, PROPOSE, 0)
    self.todo[experiment] = members
    deadline: uint256 = block.timestamp + ((rules >> CONTRIBUTE_S) & BITS_32)
    log Opened(
        experiment=experiment,
        round_number=turn & BITS_32,
        phase=CONTRIBUTE,
        proposer=front,
        deadline=deadline,
    )
    return self._with_phase(turn, CONTRIBUTE, deadline)

@internal
def _change_roster(
    experiment: uint256, before: uint256, front: uint256
) -> (uint256, uint256):
    """
    @dev The members without leavers and with joiners, and the seat behind which the next proposer
         stands: the last newcomer's, as newcomers stand behind the last proposer (P3.1).
    """
    desk: uint256 = self.desk[experiment]
    given: uint256 = (desk >> GIVEN) & BITS_16
    opened: uint256 = (desk >> OPENED) & BITS_16
    members: uint256 = before & ~self.leaving[experiment]
    self.leaving[experiment] = 0
    last: uint256 = front
    if given > opened:
        members |= self._seats_below(given) & ~self._seats_below(opened)
        # Newcomers are linked in join order already: only both ends are missing.
        word: uint256 = self.ring[experiment][front]
        self.ring[experiment][front] = word & BITS_160 | (opened << NEXT)
        last = unsafe_sub(given, 1)
        self.ring[experiment][last] = (
            self.ring[experiment][last] & BITS_160 | ((word >> NEXT) << NEXT)
        )
    epoch: uint256 = unsafe_add(desk >> EPOCH, 1)
    self.desk[experiment] = desk & (2**176 - 1) | (given << OPENED) | (epoch << EPOCH)
    self.members[experiment] = members
    return members, last

@internal
def _next_seat(experiment: uint256, seat: uint256, members: uint256) -> uint256:
    """
    @dev The first member behind `seat`; the seats of who left are taken out of the ring.
    """
    word: uint256 = self.ring[experiment][seat]
    first: uint256 = word >> NEXT
    found: uint256 = first
    for _: uint256 in range(SEATS_MAX):
        if (members >> found) & 1 != 0:
            break
        found = self.ring[experiment][found] >> NEXT
    if found != first:
        self.ring[experiment][seat] = word & BITS_160 | (found << NEXT)
    return found
