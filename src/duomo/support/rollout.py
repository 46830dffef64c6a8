"""Which model answers whom, and what happens to a model that is being tried.

A shadow reads what the active model reads and answers nobody; a canary answers a share of the conversations; the model
that became active last is compared with the one before it. `watch` looks at all three every minute: who does well goes
one step up, who is worse is taken back, in the one transaction that also leaves the alarm and the history.

Looking every minute must not make a false alarm likelier. Three situations, three tests:

- Canary: conversations are drawn by chance, so that, were it no worse than the active model, bad events would be its
  own as often as its share says. Each event counts when it happens, however late, and the evidence that the share
  among them is larger (`sequential.evidence`) holds after every event. Before it becomes active one exact test of the
  same counts, less strict, has the last word.
- The model that became active: nobody is drawn, its conversations come later than those it is compared with. The rate
  to beat is the highest that the former model's last conversations allow; against it counts the same evidence. An event
  that comes late makes it smaller than it will be, never larger.
- Shadow: both read the same turns; McNemar's exact test, once, when the turns are there.

Each is shared out among the indicators (Bonferroni), and a difference must also be as large as the policy names.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from duomo.errors import Conflict
from duomo.store.postgres import Database, Row, Tx
from duomo.support.alarms import raise_alarm
from duomo.support.policy import load_policy
from duomo.support.policy_sections import Rollback, Rollout
from duomo.support.registry import Role, current, deploy, retire
from duomo.support.sequential import evidence, highest_rate, paired, tail

logger = logging.getLogger("duomo.rollout")

INDICATORS = ("handed_over", "corrected", "unhappy", "out_of_scope", "abstained")
"""Of conversations: handed over; a label a person changed, among those labelled; thumbs down or a rating of 1 or 2; a
turn out of scope; a turn the model left to a person."""
LABELS_ENOUGH = 20  # labelled turns from which on a shadow is judged by them, not by its likeness to the active model
LIKENESS = 0.5  # of the labels, below which an unlabelled shadow is not tried on customers
SURENESS = 0.15  # of mean confidence that it may lose then
LAST_LOOK = 0.05  # significance of the one look before a canary becomes active: then the doubt is the model's
COMPARABLE = 30  # conversations of the former model below which there is nothing to compare with
WATCHED_WINDOWS = 5  # after so many windows of turns a model is no longer compared with the one before it

Verdict = Literal["waiting", "passed", "worse"]


def chosen(current: Mapping[Role, Row], conversation_id: str) -> Row | None:
    """The model of a conversation: the canary where there is one and the conversation falls into its share.

    Args:
        current: role -> deployment joined with its model, as `registry.current` gives it.
    """
    canary = current.get("canary")
    if canary is not None and in_canary(conversation_id, canary["share"] or 0.0, salt=str(canary["id"])):
        return canary
    return current.get("active")


def in_canary(conversation_id: str, share: float, *, salt: str) -> bool:
    """Whether a conversation belongs to a canary's share: always the same answer, and a larger share keeps its own.

    Args:
        share: of the conversations, [0, 1].
        salt: of this canary, so that it is not always the same conversations that try a model.
    """
    digest = hashlib.sha256(f"{salt} {conversation_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


# Judging ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arm:
    """What happened in a model's conversations; each counts once an indicator."""

    conversations: int = 0
    turns: int = 0
    labelled: int = 0
    handed_over: int = 0
    corrected: int = 0
    unhappy: int = 0
    out_of_scope: int = 0
    abstained: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Arm:
        return cls(**{name: int(row[name]) for name in cls.__slots__}) if row else cls()

    def count(self, indicator: str) -> tuple[int, int]:
        """(bad, of how many)."""
        bad: int = getattr(self, indicator)
        return bad, self.labelled if indicator == "corrected" else self.conversations


@dataclass(frozen=True, slots=True)
class Finding:
    """One indicator of a model under trial beside the usual.

    Attributes:
        tried, usual: (k, n).
        evidence: e-value of a canary or an active model; for a shadow 1 / p.
        needed: evidence from which on it counts.
    """

    indicator: str
    tried: tuple[int, int]
    usual: tuple[int, int]
    evidence: float
    needed: float
    worse: bool

    def __str__(self) -> str:
        return f"{self.indicator} {self.tried[0]}/{self.tried[1]} against {self.usual[0]}/{self.usual[1]}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "indicator": self.indicator, "tried": list(self.tried), "usual": list(self.usual),
            "evidence": round(self.evidence, 3), "needed": round(self.needed, 1), "worse": self.worse,
        }  # fmt: skip


def judge_canary(canary: Arm, active: Arm, *, share: float, rule: Rollback, last: bool = False) -> list[Finding]:
    """A canary against the active model in the same time.

    Args:
        last: it would become active now.
    """
    needed = len(INDICATORS) / rule.significance
    findings = []
    for name in INDICATORS:
        tried, usual = canary.count(name), active.count(name)
        null = share
        if name == "corrected" and tried[1] + usual[1]:
            # people may look at the canary's turns more often than at others; then that share is the usual one
            null = max(share, min(tried[1] / (tried[1] + usual[1]), 0.999))
        found = evidence(tried[0], tried[0] + usual[0], null=null)
        if last and tail(tried[0], tried[0] + usual[0], null=null) <= LAST_LOOK / len(INDICATORS):
            found = max(found, needed)
        findings.append(_finding(name, tried, usual, found, needed, canary.turns, rule))
    return findings


def judge_after(now: Arm, before: Arm, *, rule: Rollback) -> list[Finding]:
    """The model that became active against the one before it."""
    each = rule.significance / len(INDICATORS) / 2  # one half for the usual rate's limit, one for the evidence
    findings = []
    for name in INDICATORS:
        tried, usual = now.count(name), before.count(name)
        found = 0.0
        if usual[1] >= COMPARABLE:
            null = min(max(highest_rate(*usual, significance=each), 1e-6), 1 - 1e-6)
            found = evidence(*tried, null=null)
        findings.append(_finding(name, tried, usual, found, 1 / each, now.turns, rule))
    return findings


def _finding(
    name: str, tried: tuple[int, int], usual: tuple[int, int], found: float, needed: float, turns: int, rule: Rollback
) -> Finding:
    by = _rate(tried) - _rate(usual)
    worse = found >= needed and by >= _margin(name, rule) and turns >= rule.min_turns
    return Finding(name, tried, usual, found, needed, worse)


def _margin(indicator: str, rule: Rollback) -> float:
    return {
        "handed_over": rule.handover_rate_worse_by,
        "corrected": rule.corrected_rate_worse_by,
        "wrong": rule.corrected_rate_worse_by,
        "unhappy": rule.corrected_rate_worse_by,
    }.get(indicator, rule.out_of_scope_worse_by)


def _rate(count: tuple[int, int]) -> float:
    return count[0] / count[1] if count[1] else 0.0


def judge_shadow(turns: Sequence[Row], *, rule: Rollback) -> tuple[list[Finding], dict[str, Any]]:
    """A shadow and the active model on the same turns.

    Args:
        turns: rows of `shadow_turns`.
    Returns:
        What counts, and what is shown beside it: agreement, mean confidence, milliseconds.
    """
    pairs = [(_main(turn["shadow"]), _main(turn["active"])) for turn in turns]
    labelled = [turn for turn in turns if turn["labels"]]
    needed = 3 / rule.significance
    wrongs = [(_wrong(turn["shadow"], turn["labels"]), _wrong(turn["active"], turn["labels"])) for turn in labelled]
    tests: dict[str, list[tuple[bool, bool]]] = {
        "wrong": wrongs,
        "out_of_scope": [(_beyond(shadow), _beyond(active)) for shadow, active in pairs],
        "abstained": [(bool(shadow.get("abstain")), bool(active.get("abstain"))) for shadow, active in pairs],
    }
    findings = []
    for name, sides in tests.items():
        p = paired(sum(s and not a for s, a in sides), sum(a and not s for s, a in sides))
        tried, usual = (sum(s for s, _ in sides), len(sides)), (sum(a for _, a in sides), len(sides))
        findings.append(_finding(name, tried, usual, 1 / max(p, 1e-300), needed, len(turns), rule))
    alike = sum(shadow.get("label") == active.get("label") for shadow, active in pairs)
    sure = [_mean([_number(side.get("confidence")) for side in sides]) for sides in zip(*pairs, strict=True)]
    if pairs and len(labelled) < LABELS_ENOUGH:
        unlike = (len(pairs) - alike, len(pairs))
        findings.append(Finding("unlike", unlike, (0, len(pairs)), 1.0, 1.0, alike < LIKENESS * len(pairs)))
        share = (round(sure[0] * 1000), 1000), (round(sure[1] * 1000), 1000)
        findings.append(Finding("confidence", *share, 1.0, 1.0, sure[0] < sure[1] - SURENESS))
    shown = {
        "turns": len(turns), "labelled": len(labelled), "agreement": alike / len(pairs) if pairs else None,
        "confidence": list(sure) if pairs else None,
        "duration_ms": [_mean([turn[f"{side}_ms"] for turn in turns]) for side in ("shadow", "active")],
    }  # fmt: skip
    return findings, shown


def _main(heads: Mapping[str, Any]) -> Mapping[str, Any]:
    """The head `intent`, or the first one."""
    found: Mapping[str, Any] = heads.get("intent") or next(iter(heads.values()), {})
    return found


def _wrong(heads: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    return any(heads[head]["label"] != value for head, value in labels.items() if head in heads)


def _beyond(head: Mapping[str, Any]) -> bool:
    return _number(head.get("out_of_scope")) >= 0.5


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


# Watching ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """A model that has to prove itself.

    Attributes:
        row: its deployment and model, as `registry.current` gives it.
        turns, wanted: how many it had, and after how many it is decided; of an active model, when the watch ends.
        against: the model it is compared with; None: there is none.
    """

    role: Role
    row: Row
    turns: int
    wanted: int
    findings: Sequence[Finding]
    verdict: Verdict
    against: Row | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worse(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.worse]

    def as_dict(self) -> dict[str, Any]:
        against = self.against and {"id": str(self.against["model_id"]), "name": self.against["name"]}
        return {
            "turns": self.turns, "wanted": self.wanted, "verdict": self.verdict, "against": against,
            "findings": [finding.as_dict() for finding in self.findings], **self.shown,
        }  # fmt: skip


async def trials(tx: Tx, rollout: Rollout) -> dict[Role, Trial]:
    """How the models that are being tried do; a role without a trial is absent."""
    now = await current(tx)
    found: dict[Role, Trial] = {}
    for role, look in _LOOKS.items():
        if role in now and (trial := await look(tx, now, rollout)) is not None:
            found[role] = trial
    return found


async def _active(tx: Tx, now: Mapping[Role, Row], rollout: Rollout) -> Trial | None:
    row, rule = now["active"], rollout.rollback
    before = await _before(tx, row)
    if row["began_by"] == "rollback" or before is None:
        return None  # the last known good one, or the first
    wanted = WATCHED_WINDOWS * rule.window
    arm = await _arm(tx, row["id"], since=row["began_at"], limit=wanted + 1)
    if arm.turns > wanted:
        return Trial("active", row, arm.turns, wanted, [], "passed", before)
    usual = await _arm(tx, before["model_id"], until=row["began_at"], limit=rule.window)
    findings = judge_after(arm, usual, rule=rule)
    return Trial("active", row, arm.turns, wanted, findings, _verdict(findings, passed=False), before)


async def _canary(tx: Tx, now: Mapping[Role, Row], rollout: Rollout) -> Trial:
    row, active, rule = now["canary"], now.get("active"), rollout.rollback
    findings: list[Finding] = []
    if active is None:
        arm = await _arm(tx, row["id"], since=row["began_at"])
    else:
        since = max(row["began_at"], active["began_at"])
        arm = await _arm(tx, row["id"], since=since)
        if row["share"] < 1:
            usual = await _arm(tx, active["id"], since=since)
            last = arm.turns >= rollout.canary_turns
            findings = judge_canary(arm, usual, share=row["share"], rule=rule, last=last)
        else:  # everybody gets the canary: there is only the time before
            usual = await _arm(tx, active["id"], until=since, limit=rule.window)
            findings = judge_after(arm, usual, rule=rule)
    wanted = rollout.canary_turns
    verdict = _verdict(findings, passed=active is not None and arm.turns >= wanted)
    return Trial("canary", row, arm.turns, wanted, findings, verdict, active and active | {"model_id": active["id"]})


async def _shadow(tx: Tx, now: Mapping[Role, Row], rollout: Rollout) -> Trial:
    row, active, wanted = now["shadow"], now.get("active"), rollout.shadow_turns
    turns: list[Row] = []
    if active is not None:
        since = max(row["began_at"], active["began_at"])
        turns = await tx.all(
            "shadow_turns", shadow_id=row["id"], active_id=active["id"], since=since, limit=max(wanted, 1)
        )
    findings, shown = judge_shadow(turns, rule=rollout.rollback)
    enough = active is not None and len(turns) >= wanted
    verdict = _verdict(findings, passed=True) if enough else "waiting"
    against = active and active | {"model_id": active["id"]}
    return Trial("shadow", row, len(turns), wanted, findings, verdict, against, shown)


_LOOKS: Mapping[Role, Callable[..., Any]] = {"active": _active, "canary": _canary, "shadow": _shadow}


def _verdict(findings: Sequence[Finding], *, passed: bool) -> Verdict:
    return "worse" if any(finding.worse for finding in findings) else "passed" if passed else "waiting"


async def _arm(tx: Tx, model_id: Any, *, since: Any = None, until: Any = None, limit: int | None = None) -> Arm:
    return Arm.of(await tx.one("live_figures", model_id=model_id, since=since, until=until, limit=limit))


async def _before(tx: Tx, row: Row) -> Row | None:
    """The last other model that was active and that nobody would be sorry to have back."""
    for former in await tx.all("active_before", model_id=row["id"]):
        if not former["taken_back"] or not await taken_back(tx, former["model_id"]):
            return former
    return None


async def taken_back(tx: Tx, model_id: Any) -> bool:
    """Whether a model was taken back for what it did, and no owner has insisted on it since."""
    row = await tx.one("last_rollback", model_id=model_id)
    return row is not None and not row["insisted"]


async def _insisted(tx: Tx, model_id: Any) -> bool:
    row = await tx.one("last_rollback", model_id=model_id)
    return row is not None and bool(row["insisted"])


async def watch(db: Database, workspace_id: str) -> list[str]:
    """Let models that do well go on, and take back those that are worse. Run it every minute.

    Returns:
        What was done, for the log.
    """
    async with db.transaction(workspace_id) as tx:
        if not await current(tx):
            return []
        await tx.one("lock_models")  # from here on nobody else changes them
        rollout = (await load_policy(tx)).rollout
        done = [await _act(tx, trial, rollout) for trial in (await trials(tx, rollout)).values()]
    said = [sentence for sentence in done if sentence]
    for sentence in said:
        logger.warning("workspace=%s %s", workspace_id, sentence)
    return said


async def roll_back(tx: Tx, *, agent_id: str | None, reason: str) -> Row:
    """A person takes the active model back: the one before it answers again, and this one is not tried by itself again.

    Returns:
        The former model: model_id, name, fingerprint.
    Raises:
        Conflict: none is active, or there is none to go back to.
    """
    await tx.one("lock_models")
    now = (await current(tx)).get("active")
    former = now and await _before(tx, now)
    if former is None:
        raise Conflict("there is no former model to go back to. Deploy another one, or retire this one.")
    await deploy(tx, former["model_id"], "active", by="rollback", agent_id=agent_id, reason=reason)
    return former


async def _act(tx: Tx, trial: Trial, rollout: Rollout) -> str:
    if trial.verdict == "waiting" or (trial.verdict == "passed" and trial.role == "active"):
        return ""
    if trial.role not in await current(tx) or (await current(tx))[trial.role]["id"] != trial.row["id"]:
        return ""  # another trial's end changed it a moment ago
    if trial.verdict == "worse":
        return await _take_back(tx, trial)
    if await taken_back(tx, trial.row["id"]):
        return await _end(tx, trial, "it was taken back before")
    if trial.role == "shadow" and rollout.canary_share > 0 and rollout.canary_turns > 0:
        if "canary" in await current(tx):
            return ""  # one at a time
        reason = f"shadow passed {trial.turns} turns"
        await deploy(tx, trial.row["id"], "canary", share=rollout.canary_share, by="rollout", reason=reason)
    else:
        reason = f"{trial.role} passed {trial.turns} turns"
        await deploy(tx, trial.row["id"], "active", by="rollout", reason=reason)
    return f"model={trial.row['fingerprint'][:12]} {reason}"


async def _take_back(tx: Tx, trial: Trial) -> str:
    why = "worse: " + "; ".join(map(str, trial.worse))
    if trial.role != "active":
        return await _end(tx, trial, why)
    if await _insisted(tx, trial.row["id"]):  # an owner wanted it although it was taken back: say it, change nothing
        return why if await _alarm(tx, trial, why, to=None) else ""
    assert trial.against is not None
    await deploy(tx, trial.against["model_id"], "active", by="rollback", reason=why)
    await _alarm(tx, trial, why, to=trial.against)
    return f"model={trial.row['fingerprint'][:12]} {why}; back to {trial.against['fingerprint'][:12]}"


async def _end(tx: Tx, trial: Trial, why: str) -> str:
    await retire(tx, trial.role, by="rollback", reason=why)
    await _alarm(tx, trial, why, to=None)
    return f"model={trial.row['fingerprint'][:12]} {trial.role} ended: {why}"


async def _alarm(tx: Tx, trial: Trial, why: str, *, to: Row | None) -> bool:
    data = {
        "model_id": str(trial.row["id"]), "name": trial.row["name"], "fingerprint": trial.row["fingerprint"],
        "role": trial.role, "reason": why, "findings": [finding.as_dict() for finding in trial.worse],
        "to": None if to is None else {"id": str(to["model_id"]), "name": to["name"]},
    }  # fmt: skip
    return await raise_alarm(tx, "rollback", trial.row["fingerprint"][:12], data)
