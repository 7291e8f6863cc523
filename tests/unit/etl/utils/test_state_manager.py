"""Checkpoints on disk: whole at every instant, bounded, and refused where they do not belong."""

import datetime as dt
import json
from pathlib import Path

import pytest

from daedalus.etl.transforms.base import Market
from daedalus.etl.utils.state_manager import StateManager
from daedalus.shared.errors import StateError
from daedalus.storage.base import Place
from daedalus.storage.clouds import MemoryStorage

BTC, ETH = Market("coinbase", "BTC-USD"), Market("coinbase", "ETH-USD")


def hour(number: int) -> dt.datetime:
    return dt.datetime(2025, 6, 19, number, tzinfo=dt.UTC)


def head_file(states: StateManager) -> Path:
    path = states.root.local_path
    assert path is not None
    return path


def commit(states: StateManager, number: int, market: Market = BTC, fingerprint: str = "f" * 64) -> bytes:
    data = f"{market} until {number}".encode() * 100
    states.commit("orderbook", market, fingerprint, data, began=hour(0), until=hour(number), rows=number * 10)
    return data


@pytest.mark.parametrize("name", ["state", "state/btc-usd_orderbook.json"])
def test_the_newest_comes_back_and_older_ones_are_bounded(tmp_path: Path, name: str) -> None:
    states = StateManager(tmp_path / name, keep=3)
    assert states.load("orderbook", BTC, "f" * 64) is None
    written = {number: commit(states, number) for number in (1, 2, 3, 4, 5)}
    found = StateManager(tmp_path / name).load("orderbook", BTC, "f" * 64)
    assert found is not None
    assert (found[0].until, found[0].rows, found[1]) == (hour(5), 50, written[5])
    earlier = states.load("orderbook", BTC, "f" * 64, upto=hour(4))
    assert earlier is not None
    assert earlier[1] == written[4]
    assert states.load("orderbook", BTC, "f" * 64, upto=hour(2)) is None
    assert len(list(tmp_path.rglob("*.bin"))) == 3
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_commit_back_in_time_drops_what_lies_after_it(tmp_path: Path) -> None:
    states = StateManager(tmp_path)
    for number in (1, 2, 3, 2):
        commit(states, number)
    [(_, head)] = states.heads()
    assert [one.until for one in head.checkpoints] == [hour(2), hour(1)]


def test_what_does_not_belong_is_refused_with_the_reason(tmp_path: Path) -> None:
    states = StateManager(tmp_path / "one.json")
    commit(states, 1)
    with pytest.raises(
        StateError, match="the state of orderbook of coinbase BTC-USD, not of orderbook of coinbase ETH"
    ):
        states.load("orderbook", ETH, "f" * 64)
    with pytest.raises(StateError, match="not of trades of coinbase BTC-USD: use another --state-path"):
        states.load("trades", BTC, "f" * 64)
    with pytest.raises(StateError, match=r"another configuration .*ffffffffffff, now 000000000000.*--reset-state"):
        states.load("orderbook", BTC, "0" * 64)
    head = json.loads(head_file(states).read_text())
    head["checkpoints"][0]["version"] = "0.0.1"
    head_file(states).write_text(json.dumps(head))
    with pytest.raises(StateError, match=r"another version \(Daedalus 0\.0\.1"):
        states.load("orderbook", BTC, "0" * 64)


def test_damage_is_named_and_reset_helps(tmp_path: Path) -> None:
    states = StateManager(tmp_path / "one.json")
    commit(states, 1)
    body = next(tmp_path.glob("*.bin"))
    data = body.read_bytes()
    body.write_bytes(data[:-1])
    with pytest.raises(StateError, match=r"bin is damaged.*--reset-state"):
        states.load("orderbook", BTC, "f" * 64)
    body.unlink()
    with pytest.raises(StateError, match="which is missing"):
        states.load("orderbook", BTC, "f" * 64)
    for text, words in (("{", "is not a state"), ('{"format": 1, "checkpoints": []}', "is not a state")):
        head_file(states).write_text(text)
        with pytest.raises(StateError, match=words):
            states.load("orderbook", BTC, "f" * 64)
    assert states.reset("orderbook", BTC)
    assert not states.reset("orderbook", BTC)
    assert states.load("orderbook", BTC, "f" * 64) is None


def test_a_crash_between_the_files_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = StateManager(tmp_path)
    old = commit(states, 1)
    renamed: list[str] = []
    rename = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if target.name == "BTC-USD.json":
            raise KeyboardInterrupt
        renamed.append(target.name)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            commit(states, 2)
    assert [name.split(".")[-1] for name in renamed] == ["bin"]  # the new bytes are there, nothing names them
    found = states.load("orderbook", BTC, "f" * 64)
    assert found is not None
    assert found[1] == old
    commit(states, 2)
    assert len(list(tmp_path.rglob("*.bin"))) == 2
    assert not list(tmp_path.rglob("*.tmp"))


def test_many_states_are_listed_and_kept_apart(tmp_path: Path) -> None:
    states = StateManager(tmp_path)
    commit(states, 1)
    commit(states, 2, ETH)
    commit(StateManager(tmp_path / "single.json"), 3)
    (tmp_path / "other.json").write_text("{}")
    assert [(path.name, head.symbol) for path, head in states.heads()] == [
        ("single.json", "BTC-USD"),
        ("BTC-USD.json", "BTC-USD"),
        ("ETH-USD.json", "ETH-USD"),
    ]
    assert [path.name for path in (tmp_path / "orderbook").iterdir()] == ["coinbase"]
    states.reset("orderbook", ETH)
    assert states.load("orderbook", BTC, "f" * 64) is not None


def test_states_in_a_store_are_the_same_as_on_a_disk(tmp_path: Path) -> None:
    store, disk = StateManager(Place(MemoryStorage(), "state"), keep=2), StateManager(tmp_path, keep=2)
    for number in (1, 2, 3):
        assert commit(store, number) == commit(disk, number)
    commit(store, 1, ETH)
    commit(disk, 1, ETH)
    assert [head for _, head in store.heads()] == [head for _, head in disk.heads()]
    names = {info.key for info in store.root.storage.list()}
    assert names == {f"state/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*.*")}
    assert store.load("orderbook", BTC, "f" * 64) == disk.load("orderbook", BTC, "f" * 64)
    kept = store.rewind("orderbook", BTC, hour(2))
    assert kept is not None and kept.until == hour(2)
    assert store.reset("orderbook", BTC) and not store.reset("orderbook", BTC)
    assert [head.market for _, head in store.heads()] == [ETH]
    assert len(list(store.root.storage.list())) == 2


def test_one_state_in_a_store(tmp_path: Path) -> None:
    states = StateManager(Place(MemoryStorage(), "folder/one.json"))
    data = commit(states, 1)
    found = states.load("orderbook", BTC, "f" * 64)
    assert states.of_one and found is not None and found[1] == data
    assert [place.key for place, _ in states.heads()] == ["folder/one.json"]
