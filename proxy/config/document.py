"""YAML without its traps, and where in the file each value stands.

A subset of YAML 1.2 (core schema): no tags, no duplicate keys, one document, aliases within bounds.  ``no``, ``on`` and
``12:30`` are text here, and a key is always text.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import yaml

from proxy.config.problems import Mark
from proxy.config.shape import Path

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 10_000
MAX_ALIASED = 1_000


class FaultError(Exception):
    """The text is not the YAML we take.  ``path``: where it stands, as far as that is known."""

    def __init__(self, mark: Mark, what: str, path: Path = ()) -> None:
        super().__init__(what)
        self.mark = mark
        self.what = what
        self.path = path


class Document(msgspec.Struct, frozen=True):
    """A parsed text.

    values: mappings, lists, texts, numbers, booleans, ``None``.  keys, places: where each key and each value begins.
    faults: what was skipped; the rest is as if it were not there.
    """

    values: Any = None
    keys: dict[Path, Mark] = msgspec.field(default_factory=dict)
    places: dict[Path, Mark] = msgspec.field(default_factory=dict)
    faults: list[FaultError] = msgspec.field(default_factory=list)


def parse(data: bytes) -> Document:
    """Read one YAML document.

    Raises: FaultError, if nothing can be made of it: not UTF-8, not YAML, a tag, too deep, too much.
    """
    if len(data) > MAX_BYTES:
        raise FaultError(Mark(1, 1), f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise FaultError(_mark_at(before, len(before)), "not UTF-8") from None
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        raise FaultError(_mark_at(text, error.position), "a control character; YAML takes none") from None
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _fault(error) from None
    document = Document()
    if node is None:
        return document
    return msgspec.structs.replace(document, values=_Construction(document).value(node, ()))


def scalar(text: str) -> Any:
    """What ``text`` means where a file would have it unquoted: a number, a boolean, ``None``, else itself."""
    tag = _Resolver().resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # untyped in its stubs
    return _typed(tag, text)


def _mark_at(text: str, index: int) -> Mark:
    return Mark(text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1)


def _mark(mark: yaml.Mark | None) -> Mark:
    return Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)


# The parser's own sentences quote the file, which may hold secrets; these do not.
_SENTENCES = (
    ("but found another document", "a second document begins here; one file holds one"),
    ("found undefined alias", "no anchor (&name) before this alias (*name)"),
    ("found duplicate anchor", "this anchor (&name) is already in use"),
    ("found character '\\t' that cannot start any token", "a tab; YAML is indented with spaces"),
    ("that cannot start any token", "text that begins with this character needs quotes"),
    (
        "mapping values are not allowed here",
        "a ':' that cannot stand here: wrong indentation, or text that needs quotes",
    ),
    ("could not find expected ':'", "a key without its ':'"),
    ("expected ',' or '}'", "a ',' or '}' is missing"),
    ("expected ',' or ']'", "a ',' or ']' is missing"),
    ("expected <block end>", "wrong indentation"),
    ("found unexpected end of stream", "a quote that is never closed"),
    ("found unknown escape character", "an unknown escape; in 'single quotes' a backslash is a backslash"),
)


def _fault(error: yaml.MarkedYAMLError) -> FaultError:
    told = f"{error.context} {error.problem}"
    what = next((sentence for part, sentence in _SENTENCES if part in told), "not valid YAML")
    return FaultError(_mark(error.problem_mark or error.context_mark), what)


class _Resolver(yaml.resolver.BaseResolver):
    """Which unquoted texts are not text.  Source: yaml.org/spec/1.2.2, §10.3.2 (core schema); ``10_000`` is ours."""


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]{0,17}", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Resolver.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _typed(tag: str, text: str) -> Any:
    match tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            return text


class _Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, _Resolver):
    """Text to nodes, within bounds.  An alias becomes a node of its own, so that its place is where it is used."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        _Resolver.__init__(self)
        self._open: list[str | None] = []  # the anchors of the nodes we are inside of
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in its stubs
        mark = _mark(event.start_mark)
        self._values += 1
        if self._values > MAX_VALUES:
            raise FaultError(mark, f"more than {MAX_VALUES} values")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._open:
                raise FaultError(mark, "an alias inside of what it stands for")
            node = super().compose_node(parent, index)
            return None if node is None else _Aliased(node, mark)
        if event.tag is not None:
            raise FaultError(mark, "a tag ('!…'); none is taken here, put text that begins with '!' in quotes")
        if len(self._open) == MAX_DEPTH:
            raise FaultError(mark, f"nested deeper than {MAX_DEPTH} levels")
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node


class _Aliased(yaml.Node):
    """``*name``: another node, used again at ``mark``."""

    def __init__(self, node: yaml.Node, mark: Mark) -> None:
        super().__init__(node.tag, node.value, node.start_mark, node.end_mark)
        self.node = node
        self.mark = mark


class _Construction:
    """Nodes to values; fills the document's places and faults on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._aliases = 0
        self._aliased = 0

    def value(self, node: yaml.Node, path: Path, place: Mark | None = None) -> Any:
        if isinstance(node, _Aliased):
            self._aliases += 1
            try:
                return self.value(node.node, path, node.mark)
            finally:
                self._aliases -= 1
        mark = place or _mark(node.start_mark)
        if self._aliases:
            self._aliased += 1
            if self._aliased > MAX_ALIASED:
                raise FaultError(mark, f"aliases stand for more than {MAX_ALIASED} values", path)
        if len(path) > MAX_DEPTH:
            raise FaultError(mark, f"nested deeper than {MAX_DEPTH} levels", path)
        self._document.places[path] = mark
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return _typed(node.tag, node.value)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self._document.faults.append(FaultError(mark, "a key must be text", path))
                continue
            key = key_node.value
            place = (*path, key)
            if key in values:
                first = self._document.keys[place]
                self._document.faults.append(FaultError(mark, f"duplicate key; the first is on line {first.line}", place))
                continue
            self._document.keys[place] = mark
            values[key] = self.value(value_node, place)
        return values
