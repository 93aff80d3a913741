"""The audit of privacy: the shipped code against its own claims, and records against targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from colearn.audit import subjects
from colearn.audit.guards import check_guards
from colearn.audit.leaves import forest, share_auc
from colearn.audit.mechanism import Release, Settings, audit_mechanism
from colearn.audit.privacy_report import PrivacyCheck, PrivacyReport
from colearn.audit.shown import check_membership, check_votes
from colearn.audit.spends import Target, check_spends
from colearn.errors import LearnerError, MissingExtraError, PrivacyError
from colearn.privacy.randomness import SecureSource

__all__ = ["AuditedRun", "audit_privacy"]


@dataclass(frozen=True, slots=True)
class AuditedRun:
    """What is known of a run or an experiment.

    Attributes:
        source: What the user called it.
        noise: Where its noise comes from, by use: "proposals" and "votes", "secure" or
            "simulation".
        unit: Whose presence is hidden, in words.
        targets: What each part of a dataset may give away.
        records: Its records of spends.
    """

    source: str
    noise: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    targets: Mapping[str, Target] = field(default_factory=dict)
    records: Sequence[Path] = ()


def audit_privacy(run: AuditedRun, *, thorough: bool = False) -> PrivacyReport:
    """Audit the code that is installed, and what is known of a run.

    Args:
        run: What is known of it.
        thorough: Whether to use more canaries and trials; minutes instead of seconds.

    Raises:
        MissingExtraError: The extra `privacy` is not installed.
        SpendsUnavailableError: A record of spends cannot be read.
    """
    settings = Settings(runs=10 if thorough else 1)
    checks = [
        _noise(run),
        _conformance("engine", lambda: subjects.engine(settings, SecureSource()), settings),
        _conformance("linear", lambda: subjects.linear(settings), settings),
        _conformance("forest", lambda: forest(settings), settings, shares=True),
        _conformance("torch", lambda: subjects.torch(settings), settings),
        # It takes seconds to load.
        *([_conformance("keras", lambda: subjects.keras(settings), settings)] * thorough),
        check_guards(),
        check_membership(thorough=thorough),
        check_votes(trials=4000 if thorough else 400),
        check_spends(run.records, run.targets),
    ]
    return PrivacyReport(run.source, tuple(checks))


def _noise(run: AuditedRun) -> PrivacyCheck:
    check = PrivacyCheck("noise", "noise comes from the operating system, and units are stated")
    for use, source in run.noise.items():
        if source != "secure":
            check.findings.append(
                f"the noise of {use} is a simulation that its seed repeats: NOT PRIVATE"
            )
    check.detail = "; ".join([f"{use}: {source}" for use, source in run.noise.items()])
    if run.unit:
        check.detail += f"; unit: {run.unit}"
    if not run.noise:
        check.done = False
        check.detail = "no experiment is named, or it has no privacy"
    return check


def _conformance(
    name: str, make: Callable[[], Release], settings: Settings, *, shares: bool = False
) -> PrivacyCheck:
    check = PrivacyCheck(
        f"mechanism: {name}", "one step releases no more than its noise and clipping claim"
    )
    try:
        found = audit_mechanism(
            make(), settings, share_auc(settings.noise_multiplier) if shares else None
        )
    except MissingExtraError as error:
        return replace(check, done=False, detail=str(error))
    except (LearnerError, PrivacyError) as error:
        # The engine stopped it, so nothing was released; the shipped code is broken all the same.
        return replace(check, findings=[f"it cannot train privately: {error}"])
    seen = found.seen
    return replace(
        check,
        detail=f"{seen.canaries} canaries; epsilon >= {seen.bound:.2f} of {found.epsilon:.2f} "
        f"claimed; AUC {seen.auc:.3f} of {found.auc:.3f} in theory",
        numbers={
            "claimed epsilon": found.epsilon,
            "lower bound": seen.bound,
            "auc": seen.auc,
            "auc error": seen.auc_error,
            "auc in theory": found.auc,
            "canaries": seen.canaries,
        },
        findings=list(found.findings),
    )
