"""Joining an experiment: fetch what was agreed on, check that the learner fits, sign (6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from colearn.core import Experiment, MemberStatus, Phase, calls
from colearn.core.bindings import ZERO, origin
from colearn.crypto import checksum_address
from colearn.errors import BlobNotFoundError, ConfigError, WeightsError
from colearn.experiment.agreement import check_newcomer
from colearn.experiment.plan import Plan
from colearn.experiment.specification import SPECIFICATION_BYTES_MAX
from colearn.identity import Key
from colearn.ledger import Ledger
from colearn.network.folder import NodeFolder
from colearn.network.invitation import Invitation
from colearn.network.local import (
    Local,
    check_local,
    learner_of,
    local_plan,
    search_beside,
    strange_names,
)
from colearn.network.settings import NodeSettings
from colearn.network.terms import Terms, read_terms
from colearn.store import Archive, DirectoryStore, HoldingStore
from colearn.weights import DEFAULT_LIMITS, NamedArrays

__all__ = ["Offer", "check_fit", "check_place", "fetch_offer", "take_seat"]

_SPECIFICATION_S = 60.0
"""Seconds that a specification may take to come: it has 1 MiB at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What an invitation leads to, fetched and verified; nothing was signed on the ledger.

    Attributes:
        invitation: The invitation.
        experiment: Its state on the ledger.
        specification: Its bytes.
        terms: What was agreed on.
        model: Model 0.
    """

    invitation: Invitation
    experiment: Experiment
    specification: bytes
    terms: Terms
    model: NamedArrays


def check_place(invitation: Invitation, experiment: Experiment, address: str) -> bool:
    """Refuse an experiment that is another one, or that this address may not join.

    Returns:
        Whether the address has its seat already.

    Raises:
        ConfigError: Says why it cannot join.
    """
    if experiment.origin != origin(invitation.specification, invitation.model):
        raise ConfigError(
            f"Experiment {experiment.number} of this ledger has another specification or model 0 "
            "than the invitation names.",
            hint="Ask the creator for the link again.",
        )
    roster, setup = experiment.roster, experiment.phase is Phase.SETUP
    seat = roster.seat_of.get(address)
    if seat is not None and (setup or roster.members >> seat & 1 or seat >= roster.opened):
        return True
    if experiment.phase is Phase.OVER:
        raise ConfigError(f"Experiment {experiment.number} is over.")
    right = MemberStatus.INVITED if setup else MemberStatus.ADMITTED
    if roster.invited.get(address) == right:
        return False
    shown = checksum_address(address)
    if setup:
        raise ConfigError(
            f"{shown} is not invited.",
            hint=f"Send this address to the creator: `colearn invite LINK {shown}`.",
        )
    raise ConfigError(
        f"Experiment {experiment.number} has started without {shown}.",
        hint="Its members can admit this address by a motion (7.7).",
    )


def fetch_offer(
    invitation: Invitation, experiment: Experiment, store: HoldingStore, timeout_s: float
) -> Offer:
    """Fetch and check the specification and model 0.

    Args:
        invitation: Names both by their digests.
        experiment: Its state on the ledger.
        store: Where they come from; afterwards it holds them.
        timeout_s: How long model 0 may take to come.

    Raises:
        StoreError: They cannot be had.
        ConfigError: The specification is not understood, or does not fit the ledger.
        WeightsError: Model 0 is no weights (P3.5).
    """
    digest, model = invitation.specification, invitation.model
    _bring(store, digest, SPECIFICATION_BYTES_MAX, _SPECIFICATION_S)
    specification = store.held.get(digest, SPECIFICATION_BYTES_MAX)
    terms = read_terms(specification)
    if terms.model != model:
        raise ConfigError(
            f"The specification names model 0 {terms.model}, and the invitation {model}.",
            hint="Do not join: ask the creator.",
        )
    terms.check_ledger(experiment)
    _bring(store, model, DEFAULT_LIMITS.proposal_bytes, timeout_s)
    try:
        weights = Archive(store.held).get(model)
    except WeightsError as error:
        raise WeightsError(f"Model 0 is no weights: {error}") from error
    return Offer(invitation, experiment, specification, terms, weights)


def check_fit(offer: Offer, local: Local, trusted: Sequence[str] = ()) -> Plan:
    """Make the learner, and refuse it where its schema or its model 0 differ (6.1).

    Nothing that the specification names is called before it is known to be safe, or trusted.

    Raises:
        ConfigError: Names the key, the column, the class or the array.
    """
    check_local(offer.terms, local)
    strange = strange_names(offer.terms, local, trusted)
    if strange:
        module = strange[0].split('"')[1].partition(":")[0]
        raise ConfigError(
            f"The specification asks to call {', '.join(strange)}, which is neither Colearn's nor "
            "in this folder.",
            hint="Name your own with --learner or -o, or, if you know that code and these "
            f"settings: --trust {module}",
        )
    search_beside(local.search)
    prepared = local_plan(offer.terms, local)
    learner = learner_of(prepared, local)
    check_newcomer(learner, local.name, offer.terms.schema, offer.model)
    return prepared


def take_seat(
    offer: Offer, ledger: Ledger, key: Key, settings: NodeSettings, path: Path
) -> NodeFolder:
    """Sign and join, and write the node's folder; where the ledger refuses there is none.

    A folder that joined with the same key and link before is taken over with the new settings.

    Raises:
        ConfigError: There is something else at `path`, or a process runs the node.
        LedgerError: The ledger refuses, or cannot be reached: nobody knows then whether the seat
            was taken, and joining again goes on.
    """
    if not NodeFolder.holds_node(path):
        with NodeFolder.drafted(path, settings) as folder:
            _fill(folder, offer)
            _join(offer, ledger, key)
        return folder
    folder = NodeFolder.open(path)
    before = folder.settings
    if (before.invitation, before.address) != (settings.invitation, settings.address):
        raise ConfigError(
            f"{path} holds the node {before.name!r} of another experiment or key.",
            hint="Name another folder with -d.",
        )
    with folder.running():
        _fill(folder, offer)
        _join(offer, ledger, key)
        folder.change(settings)
    return folder


def _join(offer: Offer, ledger: Ledger, key: Key) -> None:
    """Take the seat, unless it is taken already."""
    invitation = offer.invitation
    ledger.sync()
    if not check_place(invitation, ledger.experiment(invitation.experiment), key.address):
        join = calls.Join(invitation.experiment, invitation.specification, invitation.model, ZERO)
        ledger.submit(key, join)


def _fill(folder: NodeFolder, offer: Offer) -> None:
    """Give a node what it needs to make its learner without asking anybody."""
    own = DirectoryStore(folder.blobs)
    own.put(offer.specification)
    own.put(offer.model.data)


def _bring(store: HoldingStore, digest: str, max_bytes: int, timeout_s: float) -> None:
    try:
        store.bring(digest, max_bytes, timeout_s=timeout_s)
    except BlobNotFoundError as error:
        raise BlobNotFoundError(
            f"Nobody has the blob {digest} that the invitation names.",
            hint="Its creator can leave it again: `colearn create --experiment NUMBER`.",
        ) from error
