"""The contract on a real EVM node (anvil, london), beside the pure rules and the private EVM."""

import hashlib
import http.client
import json
import socket
import subprocess
import time

from colearn.core import Rules
from colearn.core import calls as c
from colearn.core.bindings import Domain, commitment, word
from colearn.ledger.abi import from_log, to_calldata
from colearn.ledger.contract import artefact
from tests.worlds import Twins, address, signed

DEPLOYER = "0x" + "de" * 20
BEGIN = 1_700_000_000
"""Where the node's clock starts; afterwards it is where the calls say."""

URI = "ipfs://" + "u" * 53
NOTE = hashlib.sha256(b"note").hexdigest()
_PATIENCE_S = 20.0


class Node:
    """A node of a chain of its own; anybody may send from any address, for free.

    Attributes:
        now: The time of the latest call, as the callers count it.
    """

    def __init__(self, program):
        self.now = BEGIN
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ("--hardfork", "london", "--silent", "--auto-impersonate", "--port", self.port)
        free_gas = ("--gas-price", 0, "--base-fee", 0, "--gas-limit", 30_000_000)
        command = [program, *map(str, (*options, *free_gas, "--timestamp", BEGIN - 1))]
        self._process = subprocess.Popen(command)
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)

    def __enter__(self):
        limit = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.ask("eth_chainId")
            except OSError:
                self._connection.close()
                if time.monotonic() > limit:
                    self.__exit__()
                    raise
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_):
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def ask(self, method, *params):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"content-type": "application/json"}
        self._connection.request("POST", "/", json.dumps(request), headers)
        answer = json.load(self._connection.getresponse())
        assert "error" not in answer, answer
        return answer["result"]

    def send(self, sender, to, data):
        """Make a transaction, and return its receipt."""
        transaction = {"from": sender, "data": "0x" + data.hex(), "gas": hex(25_000_000)}
        named = transaction if to is None else transaction | {"to": to}
        place = self.ask("eth_sendTransaction", named | {"gasPrice": "0x0"})
        limit = time.monotonic() + _PATIENCE_S
        while (receipt := self.ask("eth_getTransactionReceipt", place)) is None:
            assert time.monotonic() < limit, "the node does not mine"
            time.sleep(0.001)
        return receipt


class Receipts(Twins):
    """Twins whose accepted calls a real node takes as well, with what its receipts say.

    Attributes:
        gas: Of each accepted call: 21,000, calldata, execution, less refunds.
        deployment_gas: Of the deployment.
    """

    def __init__(self, node):
        receipt = node.send(DEPLOYER, None, artefact().bytecode + word(0))
        self.node, self.gas = node, []
        self.deployment_gas = int(receipt["gasUsed"], 16)
        super().__init__(
            domain=Domain(int(node.ask("eth_chainId"), 16), receipt["contractAddress"])
        )

    def apply(self, call, sender, now):
        events = super().apply(call, sender, now)
        if events is not None:
            self.node.ask("evm_setNextBlockTimestamp", now)
            receipt = self.node.send(sender, self.book.domain.contract, to_calldata(call))
            assert receipt["status"] == "0x1"
            assert tuple(map(event_of, receipt["logs"])) == events
            self.gas.append(int(receipt["gasUsed"], 16))
        return events


class Group:
    """Members of one experiment, and what their calls cost."""

    def __init__(self, node, size, **rules):
        self.people = [address(person) for person in range(size)]
        self.node, self.receipts = node, Receipts(node)
        node.now += 1000  # more than the node's own clock has run meanwhile
        word = Rules(**{"propose_s": 600, "vote_s": 600} | rules).to_word()
        self.creating = self.do(0, c.Create(NOTE, NOTE, word, URI))
        for begin in range(0, size, 64):
            self.inviting = self.do(0, c.Invite(1, tuple(self.people[begin : begin + 64])))
        for person in range(size):
            self.joining = self.do(person, c.Join(1, NOTE, NOTE, NOTE))
        self.starting = self.do(0, c.Start(1, self.state.roster.digest))

    @property
    def state(self):
        return self.receipts.experiment(1)

    @property
    def at(self):
        return 1, self.state.round.number

    def do(self, person, call):
        before = len(self.receipts.gas)
        self.node.now += 1
        self.receipts.apply(call, self.people[person], self.node.now)
        assert len(self.receipts.gas) == before + 1, self.receipts.tail[-1]
        return self.receipts.gas[-1]

    @property
    def voters(self):
        return [person for person in range(len(self.people)) if person != self.state.front]

    def contribute(self):
        return [
            self.do(person, c.Contribute(*self.at, self.state.model, NOTE))
            for person in range(len(self.people))
        ]

    def propose(self, candidates=1, included=0):
        digests = [hashlib.sha256(f"{self.at} {i}".encode()) for i in range(candidates)]
        names = tuple(digest.hexdigest() for digest in digests)
        call = c.Propose(*self.at, self.state.model, included, names, URI)
        return self.do(self.state.front, call)

    def vote(self):
        masks = (1 << len(self.state.round.candidates)) - 1
        call = c.Vote(*self.at, self.state.round.key, masks, 0, NOTE)
        return [self.do(person, call) for person in self.voters]

    def relay(self):
        plain = [c.SignedBallot(person, 1, 0, NOTE, False, None) for person in self.voters]
        at = (*self.at, self.state.round.key)
        ballots = [signed(each, each.seat, self.receipts.book.domain, *at) for each in plain]
        return self.do(0, c.VoteMany(*self.at, tuple(ballots)))

    def seal(self):
        ballot = c.Reveal(*self.at, 1, 0, NOTE, NOTE)
        voters, committing = self.voters, []
        for person in voters:
            sealed = commitment(
                self.receipts.book.domain, self.people[person], self.state.round.key, ballot
            )
            committing.append(self.do(person, c.Commit(*self.at, sealed)))
        return committing, [self.do(person, ballot) for person in voters]

    def advance(self):
        self.node.now = self.state.round.deadline
        return self.do(0, c.Advance(*self.at, int(self.state.phase)))


def event_of(log):
    topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
    return from_log(topics, bytes.fromhex(log["data"][2:]))
