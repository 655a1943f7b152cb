"""What one installation keeps on disk: its owner's alone, whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.disk.home import Home, Running

RUNNING = Running(pid=os.getpid(), url="http://127.0.0.1:4000", token="tw-secret")


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "deep" / "home")
    home.make()
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_whatever_the_umask_only_the_owner_can_read_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    home.make()
    home.pepper()
    home.announce(RUNNING)

    assert mode(home.path) == 0o700
    assert {path.name: mode(path) for path in home.path.iterdir()} == {"pepper": 0o600, "server.json": 0o600}


def test_a_home_that_exists_is_left_as_it_is(home: Home) -> None:
    (home.path / "mine").write_text("x")

    home.make()

    assert (home.path / "mine").read_text() == "x"


@pytest.mark.usefixtures("umask")
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.replace("facts", b"one")
    home.replace("facts", b"two")
    (tmp_path / "folder").mkdir()

    with pytest.raises(OSError):
        home.replace("folder", b"three")

    assert (tmp_path / "facts").read_bytes() == b"two"
    assert mode(tmp_path / "facts") == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"facts", "folder"}


def test_the_pepper_is_made_once(home: Home) -> None:
    first = home.pepper()

    assert (len(first), home.pepper(), Home(home.path).pepper()) == (32, first, first)


def test_two_homes_have_two_peppers(tmp_path: Path) -> None:
    peppers = set()
    for name in ("one", "two"):
        home = Home(tmp_path / name)
        home.make()
        peppers.add(home.pepper())

    assert len(peppers) == 2


def test_many_that_start_at_once_have_one_pepper(home: Home) -> None:
    with ThreadPoolExecutor(16) as pool:
        peppers = set(pool.map(lambda _: Home(home.path).pepper(), range(64)))

    assert len(peppers) == 1
    assert [path.name for path in home.path.iterdir()] == ["pepper"]


@pytest.mark.parametrize("left", [b"", b"short", b"x" * 31])
def test_a_damaged_pepper_is_not_replaced(home: Home, left: bytes) -> None:
    (home.path / "pepper").write_bytes(left)

    with pytest.raises(ValueError, match="damaged"):
        home.pepper()

    assert (home.path / "pepper").read_bytes() == left


def test_a_link_is_not_written_through(home: Home, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (home.path / "pepper").symlink_to(victim)
    (home.path / "server.json").symlink_to(victim)

    with pytest.raises(FileNotFoundError):
        home.pepper()
    home.announce(RUNNING)

    assert not victim.exists()
    assert not (home.path / "server.json").is_symlink()


def test_a_server_is_announced_until_it_is_withdrawn(home: Home) -> None:
    before = home.running()
    home.announce(RUNNING)
    during = home.running()
    home.withdraw()

    assert (before, during, home.running()) == (None, RUNNING, None)


def test_a_new_server_replaces_what_an_old_one_left(home: Home) -> None:
    home.announce(Running(pid=1, url="http://127.0.0.1:1", token="old"))

    home.announce(RUNNING)

    assert home.running() == RUNNING
    assert [path.name for path in home.path.iterdir()] == ["server.json"]


def test_a_server_whose_process_is_gone_is_not_running(home: Home) -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)

    home.announce(Running(pid=child, url="http://127.0.0.1:4000", token="x"))

    assert home.running() is None


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"pid":"x","url":"","token":""}', b'{"pid":1}', b"\xff"])
def test_an_announcement_that_cannot_be_read_is_none(home: Home, left: bytes) -> None:
    (home.path / "server.json").write_bytes(left)

    assert home.running() is None


def test_withdrawing_twice_is_withdrawing_once(home: Home) -> None:
    home.withdraw()
    home.withdraw()

    assert list(home.path.iterdir()) == []


def test_no_text_about_a_server_shows_its_token() -> None:
    assert RUNNING.token not in repr(RUNNING) + str(RUNNING) + f"{[RUNNING]}"
