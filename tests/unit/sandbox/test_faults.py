"""The language of faults, and when they fall due."""

import math

import pytest

from daedalus.sandbox.faults import FAULTS, Fault, FaultPlan, RefusalPlan
from daedalus.shared.errors import ConfigError


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("disconnect@20", Fault("disconnect", at=20)),
        ("disconnect", Fault("disconnect")),
        ("silence@2.5x1:15", Fault("silence", at=2.5, first=1, arg=15)),
        ("skip_sequence@500f:3", Fault("skip_sequence", at=500, in_frames=True, arg=3)),
        ("malformed@every=7f", Fault("malformed", at=7, in_frames=True, is_repeated=True)),
        ("duplicate@every=0.5", Fault("duplicate", at=0.5, is_repeated=True)),
        ("slow_start:3", Fault("slow_start", arg=3)),
        (" refuse@0x2:5 ", Fault("refuse", first=2, arg=5)),
    ],
)
def test_specs(spec: str, fault: Fault) -> None:
    assert Fault.parse(spec) == fault


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("disconect@5", "did you mean disconnect"),
        ("earthquake", "one of: disconnect"),
        ("disconnect@soon", "NAME"),
        ("disconnect@5:much", "'much' is not a number"),
        ("disconnect@every=0", "above 0"),
        ("refuse@5f", "counts in seconds"),
        ("silence:nan", "ARG"),
        ("silence:-1", "ARG"),
        ("", "NAME"),
    ],
)
def test_wrong_specs_say_what_is_wrong(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Fault.parse(spec)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_a_doc_and_a_default(name: str) -> None:
    assert FAULTS[name].doc
    assert Fault.parse(name).value == FAULTS[name].default
    assert math.isfinite(FAULTS[name].default)


def test_timed_faults_fall_due_once_or_again_and_again() -> None:
    plan = FaultPlan([Fault("disconnect", at=5), Fault("duplicate", at=2, is_repeated=True)], 0)
    assert plan.next_s == 2
    assert [f.name for f in plan.due(1.9)] == []
    assert [f.name for f in plan.due(2.0)] == ["duplicate"]
    assert plan.next_s == 4
    assert [f.name for f in plan.due(9.0)] == ["duplicate", "disconnect"]
    assert plan.next_s == 11


def test_faults_by_frame() -> None:
    plan = FaultPlan([Fault.parse("malformed@3f"), Fault.parse("duplicate@every=2f")], 0)
    assert plan.next_s is None
    due = {number: [f.name for f in plan.due_at_frame(number)] for number in range(1, 6)}
    assert due == {1: [], 2: ["duplicate"], 3: ["malformed"], 4: ["duplicate"], 5: []}


def test_faults_of_the_first_connections_only() -> None:
    faults = [Fault.parse("disconnect@1x2")]
    assert [FaultPlan(faults, index).next_s for index in range(4)] == [1, 1, None, None]


def test_refusals() -> None:
    plan = RefusalPlan([Fault.parse("refuse@2x2:7"), Fault.parse("refuse@10")])
    assert [plan.retry_after(at) for at in (0, 2, 3, 4, 11, 12)] == [None, 7, 7, None, 1, None]
    again = RefusalPlan([Fault.parse("refuse@every=3")])
    assert [again.retry_after(at) for at in (0, 3, 4, 6, 7)] == [None, 1, None, 1, None]
