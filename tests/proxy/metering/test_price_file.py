"""The file of prices that commands write: what it takes, what it refuses, and what counts before it."""

import stat
from pathlib import Path

import pytest

from proxy.config import Config, PriceConfig
from proxy.metering.price_file import NAME, PriceFileRefused, merged, read, stubs, text, with_file, write
from proxy.metering.prices import Declared

ROW = PriceConfig(model="acme/m", input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
DEARER = ROW.model_copy(update={"input_usd_per_mtok": 2.0})
LATER = ROW.model_copy(update={"effective_from": "2027-01-01"})


def test_what_is_written_is_read_again_and_nobody_elses(tmp_path: Path) -> None:
    write(tmp_path / NAME, [ROW, LATER])

    assert read(tmp_path / NAME) == [ROW, LATER]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_backup_is_the_file_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / NAME, [ROW])

    backup = write(tmp_path / NAME, [DEARER], now_s=1_795_000_000.25)

    assert backup == tmp_path / "prices.yaml.20261118T110640.250000Z"
    assert (read(backup), read(tmp_path / NAME)) == ([ROW], [DEARER])


def test_a_patch_replaces_the_row_of_the_same_model_and_days_and_adds_the_others() -> None:
    assert merged([ROW], [DEARER, LATER]) == [DEARER, LATER]
    assert merged(merged([ROW], [LATER]), [LATER]) == merged([ROW], [LATER])


def test_a_stub_is_a_row_that_is_not_filled_in(tmp_path: Path) -> None:
    (tmp_path / "patch.yaml").write_text(stubs(["acme/new", "acme/other"]), encoding="utf-8")

    rows = read(tmp_path / "patch.yaml")

    assert [row.model for row in rows] == ["acme/new", "acme/other"]
    assert not any(row.is_filled for row in rows)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not YAML"),
        ("model: x", "is no list"),
        ("- 5", "row 1"),
        ("- {model: m, input_usd_per_mtok: 1, output_usd_per_mtok: 1}", "must be provider/model"),
        ("- {model: a/b, input_usd_per_mtok: -1}", "row 1: input_usd_per_mtok"),
        ("- {model: a/b, input_usd_per_tok: 1}", "row 1: input_usd_per_tok"),
        ("- {model: a/b, input_usd_per_mtok: .nan}", "row 1: input_usd_per_mtok"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / NAME).write_text(content, encoding="utf-8")

    with pytest.raises(PriceFileRefused, match=said):
        with_file(Config(), tmp_path)


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "[]", text([]), stubs(["a/b"])])
def test_without_a_filled_row_the_configuration_is_as_it_is(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / NAME).write_text(content, encoding="utf-8")
    config = Config()

    assert with_file(config, tmp_path) is config


def test_the_configurations_own_row_counts_before_the_files(tmp_path: Path) -> None:
    write(tmp_path / NAME, [ROW])
    config = Config(ledger={"prices": [DEARER]})

    rows = Declared(with_file(config, tmp_path)).rows("acme", "m")

    # Of several rows that hold, the last counts.
    assert [row.input_nusd_per_mtok for row in rows] == [1_000_000_000, 2_000_000_000]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()

    with pytest.raises(PriceFileRefused, match="cannot be"):
        write(tmp_path / NAME, [ROW])

    assert [path.name for path in tmp_path.iterdir()] == [NAME]
