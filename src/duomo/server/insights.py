"""How the service does: the dashboard's figures, and the same as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from duomo.errors import InputError
from duomo.server.auth import AgentDep
from duomo.server.site import SiteDep
from duomo.store.postgres import Tx
from duomo.support import insights
from duomo.support.guard import mask
from duomo.support.insights import By, Figures, Period, Step
from duomo.support.interval import Share

router = APIRouter(prefix="/agent", tags=["agent"])

_DAYS = 30  # shown when no period is asked for
_NOT_KNOWN = "-"  # how `only` names the group without a name


class ShareView(BaseModel):
    k: int
    n: int
    rate: float | None
    low: float
    high: float


class TimesView(BaseModel):
    n: int
    median_s: float | None
    p90_s: float | None


class CsatShareView(BaseModel):
    n: int
    mean: float | None
    satisfied: ShareView
    scores: list[int]


class FiguresView(BaseModel):
    conversations: int
    resolved: ShareView
    resolved_bot: ShareView
    resolved_people: ShareView
    handed_over: ShareView
    outcomes: dict[str, int]
    waiting: int
    first_bot: TimesView
    first_people: TimesView
    handling: TimesView
    csat: CsatShareView


class StepView(BaseModel):
    start: date
    figures: FiguresView


class GroupView(BaseModel):
    name: str | None
    figures: FiguresView


class ExampleView(BaseModel):
    message_id: str
    conversation_id: str
    text: str


class TopicView(BaseModel):
    kind: Literal["proposal", "intent", "unknown"]
    name: str | None
    n: int
    examples: list[ExampleView]


class AgreedView(BaseModel):
    name: str
    agreed: ShareView
    instead: str | None


class AgreementView(BaseModel):
    overall: ShareView
    by_intent: list[AgreedView]


class VersionView(BaseModel):
    kind: Literal["model", "policy"]
    name: str
    version: str
    role: str | None
    share: float | None
    began_at: datetime
    ended_at: datetime | None
    note: str


class PeriodView(BaseModel):
    since: date
    until: date
    tz: str
    step: Step
    by: By
    only: str | None


class InsightsView(BaseModel):
    period: PeriodView
    total: FiguresView
    steps: list[StepView]
    groups: list[GroupView]
    unanswered: list[TopicView]
    agreement: AgreementView
    versions: list[VersionView]
    now: datetime


Day = Annotated[date | None, Query(description="a day of `tz`; the last one is included")]
Zone = Annotated[str, Query(max_length=64, description="time zone of the days, e.g. Asia/Shanghai")]
Only = Annotated[str | None, Query(max_length=200, description="one group of `by`; - is what could not be told")]


@router.get("/insights")
async def show_insights(
    site: SiteDep,
    agent: AgentDep,
    since: Annotated[Day, Query(alias="from")] = None,
    until: Annotated[Day, Query(alias="to")] = None,
    by: By = "intent",
    step: Step | None = None,
    tz: Zone = "UTC",
    only: Only = None,
) -> InsightsView:
    """Figures of the conversations begun in a period (30 days): all, by the day or week, and by one dimension."""
    async with site.db.transaction(agent.workspace.id) as tx:
        period = await _period(tx, since, until, by=by, step=step, tz=tz, only=only)
        total, steps = await insights.over_time(tx, period)
        groups = await insights.by_group(tx, period, by)
        agreement = await insights.agreement(tx, period)
        topics = await insights.unanswered(tx, period)
        versions = await insights.versions(tx, period)
    return InsightsView(
        period=PeriodView(since=period.since, until=period.until, tz=tz, step=period.step, by=by, only=only),
        total=_figures(total),
        steps=[StepView(start=start, figures=_figures(figures)) for start, figures in steps],
        groups=[GroupView(name=name, figures=_figures(figures)) for name, figures in groups],
        unanswered=[TopicView.model_validate(asdict(topic)) for topic in topics],
        agreement=AgreementView(
            overall=_share(agreement.overall),
            by_intent=[AgreedView(name=n, agreed=_share(s), instead=i) for n, s, i in agreement.by_intent],
        ),
        versions=[VersionView.model_validate(asdict(version)) for version in versions],
        now=datetime.now(UTC),
    )


@router.get("/insights.csv", response_class=StreamingResponse)
async def export_insights(
    site: SiteDep,
    agent: AgentDep,
    since: Annotated[Day, Query(alias="from")] = None,
    until: Annotated[Day, Query(alias="to")] = None,
    by: By = "intent",
    step: Step | None = None,
    tz: Zone = "UTC",
    only: Only = None,
    kind: Literal["figures", "conversations"] = "figures",
) -> StreamingResponse:
    """The same as CSV: `figures`, a row for each group or step and measure; `conversations`, a row for each."""
    async with site.db.transaction(agent.workspace.id) as tx:
        period = await _period(tx, since, until, by=by, step=step, tz=tz, only=only)
        if kind == "figures":
            total, steps = await insights.over_time(tx, period)
            groups = await insights.by_group(tx, period, by)
    if kind == "figures":
        parts = [("all", "", total), *(("step", start.isoformat(), f) for start, f in steps)]
        parts += [(by, name or "", f) for name, f in groups]
        rows = [[what, name, *measure] for what, name, f in parts for measure in _measures(f)]
        pages = _once([["by", "group", "measure", "unit", "value", "n", "low", "high"], *rows])
    else:
        pages = _conversations(insights.conversations(site.db, agent.workspace.id, period))
    name = f"duomo-{kind}-{period.since}-{period.until}.csv"
    return StreamingResponse(
        _csv(pages),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _period(
    tx: Tx, since: date | None, until: date | None, *, by: By, step: Step | None, tz: str, only: str | None
) -> Period:
    await insights.check_time_zone(tx, tz)
    last = until or await tx.value("today", tz=tz)
    if last < insights.EARLIEST:
        raise InputError(f"the period ends on {last}; there is nothing before {insights.EARLIEST}. Choose a later one.")
    first = since or last - timedelta(days=_DAYS - 1)
    narrowed = None if only is None else (by, None if only == _NOT_KNOWN else only)
    return Period.of(first, last, tz=tz, step=step, only=narrowed)


def _share(share: Share) -> ShareView:
    return ShareView(**share._asdict())


def _figures(figures: Figures) -> FiguresView:
    named = {name: getattr(figures, name) for name in Figures.__slots__}
    for name, value in named.items():
        if isinstance(value, Share):
            named[name] = _share(value)
    csat = figures.csat
    named["csat"] = CsatShareView(n=csat.n, mean=csat.mean, satisfied=_share(csat.satisfied), scores=list(csat.scores))
    for name in ("first_bot", "first_people", "handling"):
        named[name] = TimesView(**asdict(named[name]))
    return FiguresView(**named)


# CSV --------------------------------------------------------------------------------------------------------------

Cell = str | int | float | bool | datetime | None
_COLUMNS = (
    *("id", "created_at", "channel", "language", "intent", "sent", "team", "priority", "status", "outcome", "verified"),
    *("handed_over", "handoff_reason", "bot_s", "people_s", "handling_s", "csat_score", "csat_comment"),
)
_FORMULA = (*"=+-@", *"＝＋－＠", "\t", "\r", "\n")  # full-width ones are read as the others in East Asia


def _measures(figures: Figures) -> list[list[Cell]]:
    """Measure, unit, value, n, low, high."""
    rows: list[list[Cell]] = [["conversations", "count", figures.conversations, figures.conversations, None, None]]
    for name in ("resolved", "resolved_bot", "resolved_people", "handed_over"):
        s: Share = getattr(figures, name)
        rows.append([name, "share", s.rate, s.n, s.low, s.high])
    for outcome, n in figures.outcomes.items():
        rows.append([f"outcome_{outcome}", "count", n, figures.conversations, None, None])
    for name in ("first_bot", "first_people", "handling"):
        times: insights.Times = getattr(figures, name)
        rows.append([f"{name}_median", "seconds", times.median_s, times.n, None, None])
        rows.append([f"{name}_p90", "seconds", times.p90_s, times.n, None, None])
    csat = figures.csat
    rows.append(["csat_mean", "1 to 5", csat.mean, csat.n, None, None])
    rows.append(["csat_satisfied", "share", csat.satisfied.rate, csat.n, csat.satisfied.low, csat.satisfied.high])
    rows += [[f"csat_{score}", "count", n, csat.n, None, None] for score, n in enumerate(csat.scores, 1)]
    return rows


async def _once(rows: list[list[Cell]]) -> AsyncIterator[list[list[Cell]]]:
    yield rows


async def _conversations(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[list[list[Cell]]]:
    yield [[*_COLUMNS]]
    async for page in pages:
        shown = [row | {"csat_comment": mask(row["csat_comment"] or "")} for row in page]  # a customer's words
        yield [[_plain(row[name]) for name in _COLUMNS] for row in shown]


def _plain(value: Any) -> Cell:
    if isinstance(value, list):
        return " ".join(value)
    return value if value is None or isinstance(value, bool | int | float | datetime) else str(value)


async def _csv(pages: AsyncIterator[Iterable[list[Cell]]]) -> AsyncIterator[bytes]:
    yield b"\xef\xbb\xbf"  # without it spreadsheets take UTF-8 for something else
    async for rows in pages:
        out = io.StringIO(newline="")
        csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
        yield out.getvalue().encode()


def _cell(value: Cell) -> str | int | float:
    """A cell that no spreadsheet takes for a formula, whatever a customer wrote."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds")
        case float():
            return round(value, 6)
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
    return value
