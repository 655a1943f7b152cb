"""From a file and an environment to a ``Config``, or to everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import platformdirs
from pydantic import ValidationError

from proxy.config import shape
from proxy.config.checks import Finding, findings
from proxy.config.problems import ConfigError, Problem, sentence
from proxy.config.settings import Config
from proxy.config.shape import Path
from proxy.config.sources import EnvironSource, FileSource, Place, Source


def load(path: FilePath | None, environ: Mapping[str, str]) -> Config:
    """The configuration: ``TOLLWAY_…`` in ``environ`` over the YAML file at ``path`` over the defaults.

    Reads the file and those that ``file:`` names, nothing else.
    Raises: ConfigError, with every problem there is.
    """
    file = FileSource(path, environ)
    if not file.readable:
        raise ConfigError(file.problems)
    sources = (EnvironSource(environ, file), file)
    found = [problem for source in sources for problem in source.problems]
    try:
        config = Config(*sources)
    except ValidationError as error:
        found += _refused(sources, error)
        config = Config(*sources)
    broken = {problem.path for problem in found}
    found += [_problem(sources, finding) for finding in findings(config) if not _follows(finding, broken)]
    if found:
        raise ConfigError(found)
    return config.with_warnings(tuple(str(warning) for warning in file.warnings))


def home(environ: Mapping[str, str]) -> FilePath:
    """Where Tollway keeps its state: ``TOLLWAY_HOME``, or the platform's folder for a user's data."""
    if chosen := environ.get("TOLLWAY_HOME"):
        return FilePath(chosen).expanduser()
    return platformdirs.user_data_path("tollway", appauthor=False)


def _refused(sources: tuple[Source, ...], error: ValidationError) -> list[Problem]:
    """What the types refuse, in plain words; ``sources`` are mended as if it had not been written."""
    problems = []
    for item in error.errors(include_url=False):
        path = item["loc"]
        unknown = item["type"] == "extra_forbidden"
        names = shape.fields(shape.at(Config, path[:-1])) if unknown else shape.choices(shape.at(Config, path))
        what = sentence(item["type"], item.get("ctx", {}), path[-1] if unknown else item["input"], names)
        place, written = _locate(sources, path, at_key=unknown)
        problems.append(Problem(place.origin, place.mark, written, what))
        for source in sources:
            _mend(source.values, path)
    return problems


def _mend(values: Any, path: Path) -> None:
    """Put what a default would be where ``path`` leads, or where it breaks off; list items keep their index."""
    for index, key in enumerate(path):
        if key not in (values if isinstance(values, dict) else range(len(values))):
            return  # another source has it
        here = path[: index + 1]
        annotation = shape.at(Config, here)
        value = values[key]
        if here == path or not isinstance(value, list if shape.is_list(annotation) else dict):
            is_amount = isinstance(values, dict) and isinstance(annotation, type) and issubclass(annotation, int | float)
            if annotation is None or is_amount or shape.is_section(shape.at(Config, here[:-1])):
                del values[key]
            else:
                # Where only some texts may stand, the empty one may not.
                values[key] = {} if shape.is_section(annotation) else next(iter(shape.choices(annotation)), "")
            return
        values = value


def _follows(finding: Finding, broken: set[Path]) -> bool:
    """Whether a finding may be no more than what another problem, at one of ``broken``, leads to."""
    above = {finding.path[:length] for length in range(1, len(finding.path) + 1)}
    if above & broken or (finding.names,) in broken:
        return True
    depth = len(finding.path)
    inside = {path[depth] for path in broken if len(path) > depth and path[:depth] == finding.path}
    explaining = set(finding.missing) | (inside - set(shape.fields(shape.at(Config, finding.path))))
    return bool(finding.missing) and bool(inside & explaining)


def _problem(sources: tuple[Source, ...], finding: Finding) -> Problem:
    place, path = _locate(sources, finding.path, at_key=finding.at_key or bool(finding.missing))
    return Problem(place.origin, place.mark, path, finding.what)


def _locate(sources: tuple[Source, ...], path: Path, *, at_key: bool) -> tuple[Place, Path]:
    """Where ``path`` stands, the earlier source first; if nobody wrote it, the nearest written thing around it."""
    for length in range(len(path), 0, -1):
        written = path[:length]
        for source in sources:
            place = source.keys.get(written) if at_key else None
            if found := place or source.places.get(written) or source.keys.get(written):
                return found, written
    raise KeyError(path)  # a problem comes from something that somebody wrote
