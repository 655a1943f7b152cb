import hashlib

from ledger.journal.chain import GENESIS, link


def test_a_link_is_the_hash_of_what_was_before_and_of_the_row() -> None:
    # MessagePack by hand: the text "VOID"; then a list of "req_1", 1, 2000000, "connect", nil.
    row = b"\xa4VOID" + b"\x95" + b"\xa5req_1" + b"\x01" + b"\xce\x00\x1e\x84\x80" + b"\xa7connect" + b"\xc0"

    linked = link(GENESIS, "VOID", ["req_1", 1, 2_000_000, "connect", None])

    assert linked == hashlib.sha256(bytes(32) + row).digest()


def test_bytes_are_hashed_alike_before_and_after_they_were_stored() -> None:
    assert link(GENESIS, "SETTLE", [bytearray(b"{}")]) == link(GENESIS, "SETTLE", [b"{}"])
