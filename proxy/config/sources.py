"""The two places a setting comes from, the file and the environment, each read into values and where they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import msgspec
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from proxy.config import document, secrets, shape
from proxy.config.problems import Mark, Problem, closest
from proxy.config.settings import Config
from proxy.config.shape import Path

PREFIX = "TOLLWAY_"
NOT_SETTINGS = frozenset({"TOLLWAY_HOME", "TOLLWAY_API_KEY", "TOLLWAY_CONFIG"})

# Kubernetes tells every pod about a service called tollway, or tollway-redis, in such variables, wanted or not.
# Source: kubernetes.io/docs, "Service": environment variables.
_SERVICE_LINK = re.compile(
    r"TOLLWAY_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
    r"|TOLLWAY_(?:[A-Z0-9_]+_)?PORT=(?:tcp|udp|sctp)://.*"
)


class Place(msgspec.Struct, frozen=True):
    """Where a value was given; ``mark`` is ``None`` in the environment, where ``origin`` is the variable."""

    origin: str
    mark: Mark | None = None


class Source(PydanticBaseSettingsSource):
    """One place that settings come from.

    values: what it says, with every secret already resolved into a ``SecretStr``.
    keys, places: where each key and each value of it stands.  problems, warnings: what was found on the way.
    """

    def __init__(self, environ: Mapping[str, str], folder: FilePath) -> None:
        super().__init__(Config)
        self.values: dict[str, Any] = {}
        self.keys: dict[Path, Place] = {}
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._environ = environ
        self._folder = folder

    def __call__(self) -> dict[str, Any]:
        """For pydantic-settings."""
        return self.values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """For pydantic-settings, which asks for it of sources that go field by field."""
        return self.values.get(field_name), field_name, self.field_is_complex(field)

    def _refuse(self, place: Place, path: Path, what: str) -> None:
        self.problems.append(Problem(place.origin, place.mark, path, what))

    def _resolved(self, values: Any, annotation: Any, path: Path) -> Any:
        """``values`` with a ``SecretStr`` wherever the settings have one; ``None`` for one that cannot be had."""
        if isinstance(values, dict):
            return {key: self._resolved(item, shape.child(annotation, key), (*path, key)) for key, item in values.items()}
        if isinstance(values, list):
            return [self._resolved(item, shape.child(annotation, i), (*path, i)) for i, item in enumerate(values)]
        if not isinstance(values, str) or shape.plain(annotation) is not SecretStr:
            return values
        place = self.places[path]
        try:
            secret = secrets.resolve(values, environ=self._environ, folder=self._folder)
        except ValueError as error:
            self._refuse(place, path, str(error))
            return None
        if secrets.is_literal(values) and place.mark is not None:
            what = "a secret in the file itself; env:NAME or file:PATH keeps it out of copies and backups"
            self.warnings.append(Problem(place.origin, place.mark, path, what))
        return secret


class FileSource(Source):
    """The YAML file.  A secret's relative path starts at its folder.  Without a file: nothing.

    readable: whether there is anything to go by; if not, ``problems`` says why.
    """

    def __init__(self, path: FilePath | None, environ: Mapping[str, str]) -> None:
        super().__init__(environ, path.parent if path else FilePath())
        self._origin = str(path)
        self.readable = path is None or self._read(path)

    def _read(self, path: FilePath) -> bool:
        try:
            # One byte more than is taken, so that what is too large shows without being read whole.
            with path.open("rb") as file:
                read = document.parse(file.read(document.MAX_BYTES + 1))
        except OSError as error:
            self._refuse(Place(self._origin), (), (error.strerror or "cannot be read").lower())
            return False
        except document.FaultError as error:
            self._refuse(Place(self._origin, error.mark), error.path, error.what)
            return False
        self.keys = {path: Place(self._origin, mark) for path, mark in read.keys.items()}
        self.places = {path: Place(self._origin, mark) for path, mark in read.places.items()}
        for fault in read.faults:
            self._refuse(Place(self._origin, fault.mark), fault.path, fault.what)
        if read.values is None:
            return True
        if not isinstance(read.values, dict):
            self._refuse(self.places[()], (), "must be a mapping of sections, such as 'server:' and 'providers:'")
            return False
        self.values = self._resolved(read.values, Config, ())
        return True


class EnvironSource(Source):
    """``TOLLWAY_SERVER__PORT=8080``: the environment, which goes before the file.

    A name of your own (a provider, a model) is the file's where they differ in case and ``-``, ``.``, ``_`` alone, so
    that ``TOLLWAY_PROVIDERS__MY_VLLM__BASE_URL`` reaches ``my-vllm``; else it is taken in lower case.  Lists and whole
    sections are written as YAML or JSON.  An empty variable is as good as none.
    """

    def __init__(self, environ: Mapping[str, str], file: FileSource) -> None:
        super().__init__(environ, FilePath())
        self._file = file
        for name in sorted(environ):
            if name.startswith(PREFIX) and name not in NOT_SETTINGS and environ[name]:
                self._take(name, environ[name])

    def _take(self, name: str, text: str) -> None:
        place = Place(name)
        path, unknown = self._path(name)
        if unknown is not None:
            if not _SERVICE_LINK.fullmatch(name) and not _SERVICE_LINK.fullmatch(f"{name}={text}"):
                self._refuse(place, (), "unknown setting" + unknown)
            return
        if path in self.keys and self.keys[path].origin.casefold() == name.casefold():
            self._refuse(place, path, f"{self.keys[path].origin} sets it too")
            return
        annotation = shape.at(Config, path)
        if shape.is_section(annotation) or shape.is_mapping(annotation) or shape.is_list(annotation):
            value = self._nested(place, path, text, is_list=shape.is_list(annotation))
        elif shape.plain(annotation) in (str, SecretStr):
            value = text
        else:
            value = document.scalar(text)
        self._place(place, path)
        self._set(path, self._resolved(value, annotation, path))

    def _path(self, name: str) -> tuple[Path, str | None]:
        """Where ``name`` leads; or, if nowhere, the end of a sentence about what may have been meant."""
        path: Path = ()
        annotation: Any = Config
        parts = name.removeprefix(PREFIX).split("__")
        for index, part in enumerate(parts):
            key = self._own_name(path, part) if shape.is_mapping(annotation) else part.lower()
            inner = None if shape.is_list(annotation) or not key else shape.child(annotation, key)
            if inner is None:
                return (), _meant(parts, index, shape.fields(annotation))
            annotation = inner
            path = (*path, key)
        return path, None

    def _own_name(self, path: Path, part: str) -> str:
        names: Any = self._file.values
        for key in path:
            names = names.get(key) if isinstance(names, dict) else None
        written = names if isinstance(names, dict) else {}
        return next((name for name in written if _folded(name) == _folded(part)), part.lower())

    def _nested(self, place: Place, path: Path, text: str, *, is_list: bool) -> Any:
        try:
            read = document.parse(text.encode("utf-8", "surrogateescape"))
        except document.FaultError as error:
            self._refuse(place, path, f"column {error.mark.column}: {error.what}")
            return None
        for fault in read.faults:
            self._refuse(place, (*path, *fault.path), fault.what)
        if not isinstance(read.values, list if is_list else dict):
            written = "list, such as [one, two]" if is_list else "mapping, such as {name: value}"
            self._refuse(place, path, f"must be a {written}")
            return None
        for inner in read.places:
            self._place(place, (*path, *inner))
        return read.values

    def _place(self, place: Place, path: Path) -> None:
        self.keys[path] = self.places[path] = place
        for length in range(1, len(path)):
            self.keys.setdefault(path[:length], place)

    def _set(self, path: Path, value: Any) -> None:
        values = self.values
        for key in path[:-1]:
            inner = values.get(str(key))
            if not isinstance(inner, dict):
                inner = values[str(key)] = {}
            values = inner
        values[str(path[-1])] = value


def variable(path: Path) -> str:
    """The environment variable of the setting at ``path``."""
    return PREFIX + "__".join(str(key) for key in path).upper()


def leaves(annotation: Any = Config, path: Path = ()) -> list[Path]:
    """Every setting that has a fixed name, in the order of the classes."""
    if not shape.is_section(annotation):
        return [path]
    return [leaf for key in shape.fields(annotation) for leaf in leaves(shape.child(annotation, key), (*path, key))]


def _meant(parts: list[str], index: int, beside: tuple[str, ...]) -> str:
    """What the variable of ``parts`` may have meant, whose part ``index`` is none of the keys ``beside``."""
    whole = "__".join(parts)
    fixed = ["__".join(map(str, leaf)).upper() for leaf in leaves()]
    namesakes = [name for name in fixed if name.endswith(f"__{whole}")]
    if len(parts) > 1 and (near := closest(parts[index], beside)):
        meant: str | None = "__".join((*parts[:index], near.upper(), *parts[index + 1 :]))
    else:
        meant = namesakes[0] if namesakes else closest(whole, fixed)
    return f"; did you mean '{PREFIX}{meant}'?" if meant else ""


def _folded(name: str) -> str:
    return re.sub(r"[-.]", "_", name).casefold()
