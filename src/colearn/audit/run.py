"""The audit: everything is read anew, nothing is believed (section 8)."""

from __future__ import annotations

from colearn.audit.blobs import check_blobs
from colearn.audit.chain import ChainReplay, ChainSource
from colearn.audit.claims import check_claims
from colearn.audit.replay import LogReplay
from colearn.audit.report import CHECKS, Check, Report
from colearn.audit.source import LogSource
from colearn.audit.stories import Stories
from colearn.errors import ConfigError
from colearn.ledger import Head
from colearn.store import BlobStore

__all__ = ["audit", "parse_head"]

_SHOWN_MAX = 10


def audit(
    source: LogSource | ChainSource, *, bytecode: bool = False, head: Head | None = None
) -> Report:
    """Replay a ledger and check its blobs.

    Args:
        source: From `open_source`.
        bytecode: Whether to run the contract's bytecode beside the pure rules. A chain has done
            that already, so its execution is compared in any case.
        head: A place that the ledger must contain, known from elsewhere.

    Returns:
        The report; a fault is a finding in it, not an error.

    Raises:
        LedgerError: The ledger cannot be read at all.
        MissingExtraError: `bytecode` without the extra `evm`.
    """
    on_chain = isinstance(source, ChainSource)
    asked = {13: bytecode or on_chain, 14: head is not None}
    checks = {number: Check(number) for number in CHECKS if asked.get(number, True)}
    if isinstance(source, ChainSource):
        reached = _audit_chain(source, checks, head)
    else:
        reached = _audit_log(source, checks, head)
    return Report(source.name, source.kind, reached.height, reached.digest, tuple(checks.values()))


def _audit_log(source: LogSource, checks: dict[int, Check], head: Head | None) -> Head:
    replay = LogReplay(source.genesis, checks)
    replay.run(source.rows)
    _certified(replay, checks[8])
    if source.partial:
        _blobs_of_some(replay.stories, source.store, checks[9], partial=True)
    else:
        _blobs(replay.stories, source.store, checks[9])
    _spends(replay.stories, source.store, checks[11])
    if head is not None:
        _given_head(replay, head, checks[14])
    return Head(replay.replica.height, replay.replica.head)


def _audit_chain(source: ChainSource, checks: dict[int, Check], head: Head | None) -> Head:
    replay = ChainReplay(source.chain, checks)
    replay.run()
    _blobs_of_some(replay.stories, source.store, checks[9], partial=source.partial)
    _spends(replay.stories, source.store, checks[11])
    if head is not None:
        replay.check_head(head, checks[14])
    return replay.head


def parse_head(text: str) -> Head:
    """Read HEIGHT:HASH, as a run prints it.

    Raises:
        ConfigError: It is something else.
    """
    height, _, digest = text.partition(":")
    hexadecimal = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    if not (height.isascii() and height.isdigit() and len(height) < 16 and hexadecimal):
        raise ConfigError(
            f"Expected HEIGHT:HASH, got {text[:100]!r}.", hint="A run prints it as its head."
        )
    return Head(int(height), digest)


def _certified(replay: LogReplay, check: Check) -> None:
    """Say how far the rows are final; that they are not yet is no fault (7.9)."""
    parts = []
    for number, experiment in sorted(replay.replica.book.experiments.items()):
        height = replay.replica.certified(number)
        state = "over" if experiment.phase.name == "OVER" else "running"
        parts.append(f"experiment {number} ({state}): up to row {height}")
    check.detail = "; ".join(parts) or "no experiment"


def _blobs(stories: Stories, store: BlobStore | None, check: Check) -> None:
    if store is None:
        check.done = False
        check.detail = "the blobs are not at hand; --blobs names their folder"
        return
    count = sum(check_blobs(story, store, check) for story in stories.told.values())
    check.detail = f"{count} blobs read"


def _spends(stories: Stories, store: BlobStore | None, check: Check) -> None:
    """Check the claims of those experiments whose specification is at hand."""
    told = [each for each in stories.told.values() if store and store.has(each.specification)]
    if store is None or not told:
        check.done = False
        check.detail = "the blobs are not at hand; --blobs names their folder"
        return
    found = [check_claims(story, store, check) for story in told]
    claims, private = (sum(each) for each in zip(*found, strict=True))
    check.detail = f"{claims} claims read" if private else "no privacy was agreed on"


def _blobs_of_some(
    stories: Stories, store: BlobStore | None, check: Check, *, partial: bool = False
) -> None:
    """Check the experiments whose specification is at hand: a ledger has those of others too."""
    told = stories.told
    known = {number for number in told if store and store.has(told[number].specification)}
    if store is None or not known:
        _blobs(stories, None, check)
        return
    count = sum(check_blobs(told[each], store, check, partial=partial) for each in sorted(known))
    shown = ", ".join(map(str, sorted(known)[:_SHOWN_MAX])) + ", ..." * (len(known) > _SHOWN_MAX)
    check.detail = f"{count} blobs read; of {len(told)} experiments those of {shown}"
    if partial:
        check.detail += "; a node holds what it needed"


def _given_head(replay: LogReplay, head: Head, check: Check) -> None:
    replica = replay.replica
    check.detail = f"row {head.height}"
    if head.height > replica.height:
        check.find(None, "7.9", f"a row {head.height} with head {head.digest}", "no such row")
    elif replica.heads[head.height] != head.digest:
        check.find(head.height, "7.9", f"head {head.digest}", replica.heads[head.height])
