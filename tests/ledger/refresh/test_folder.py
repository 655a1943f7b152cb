"""What is remembered between two runs."""

import stat
from pathlib import Path

import pytest

from ledger.errors import LedgerUnavailable
from ledger.refresh.folder import ASIDE_MAX, Aside, Folder, Imported, State, changed, digest
from ledger.refresh.schedule import Standing


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "sources")


def aside(at: int) -> Aside:
    return Aside(id=f"{at:016x}", source="s", at_us=at, reasons=("odd",), rows=1)


def test_what_is_remembered_is_there_again_and_nobody_elses(folder: Folder) -> None:
    state = State(sources={"s": Standing(etag='"x"', requests=3, day=9)}, aside=(aside(1),))

    folder.remember(state)
    folder.keep("s", b"payload")

    assert Folder(folder.path).state() == state
    assert Folder(folder.path).payload("s") == b"payload"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sources": {"s": 1}}', b"\xff"])
def test_a_damaged_state_is_no_state(folder: Folder, content: bytes) -> None:
    folder.remember(State())
    (folder.path / "state.json").write_bytes(content)

    assert folder.state() == State()


def test_a_write_leaves_nothing_half_done(folder: Folder) -> None:
    folder.keep("s", b"first")
    (folder.path / "s.payload").unlink()
    (folder.path / "s.payload").mkdir()

    with pytest.raises(LedgerUnavailable, match="cannot be written"):
        folder.keep("s", b"second")

    assert [path.name for path in folder.path.iterdir()] == ["s.payload"]


def test_one_process_refreshes_at_a_time(folder: Folder) -> None:
    with folder.alone(), pytest.raises(LedgerUnavailable, match="another process"), Folder(folder.path).alone():
        pass
    with folder.alone():
        pass


@pytest.mark.parametrize("aside_id", ["../state.json", "x", "", "0" * 17])
def test_an_id_does_not_lead_out_of_the_folder(folder: Folder, aside_id: str) -> None:
    folder.remember(State())

    folder.forget(aside_id)

    assert folder.aside(aside_id) is None
    assert (folder.path / "state.json").exists()


def test_the_oldest_of_what_was_put_aside_goes_when_there_is_too_much() -> None:
    many = tuple(aside(at) for at in range(ASIDE_MAX + 3))

    state = changed(State(), {"s": Standing()}, many)

    assert [it.at_us for it in state.aside] == list(range(3, ASIDE_MAX + 3))


def test_an_import_is_kept_once_and_read_in_the_order_of_its_time(folder: Folder) -> None:
    later, earlier = (Imported(form="helios", at_us=at, payload=str(at).encode()) for at in (2, 1))

    ids = [folder.keep_import(it) for it in (later, earlier, later)]

    assert ids[0] == ids[2] == digest("import", b"2")
    assert list(folder.imports()) == [earlier, later]


def test_an_import_that_cannot_be_read_is_left_out(folder: Folder) -> None:
    folder.keep_import(Imported(form="helios", at_us=1, payload=b"{}"))
    (folder.path / "0000000000000000.import").write_bytes(b"broken")

    assert len(list(folder.imports())) == 1
