"""What is known of models, as sources say it and as the ledger keeps it: frozen structs, units in their names.

A *model* is what a lab released, a *variant* one way to run it (reasoning effort), an *offer* a variant at one host.
A source speaks of a ``Subject`` in words of its own; ``catalogue/identity.py`` finds the variant and the offer.

Measurements are floats: they are measured.  Money is not: a price is ``ledger.records.Price``, in integers.
"""

from __future__ import annotations

import msgspec

from ledger.records import Price


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who a reading is about, in the words of its source.

    ``source_name``: the source's own id or slug (``openai/gpt-5``, ``gpt-5-high``, ``claude-opus-4-5-20251101``).
    ``creator``: who made it, as the source names them (``OpenAI``).  ``label``: the display name.
    ``effort``: the reasoning effort, if the source keeps it apart from the name (``none``, ``minimal``, ``low``, ``medium``,
    ``high``, ``xhigh``, ``max``, ``thinking``); empty: as the model is by default, or as its name says.
    ``host``: the provider that serves it, for what is true of an offer; empty: true of the model itself, wherever it runs.
    ``region``, ``plan``: of that host.
    """

    source_name: str
    creator: str = ""
    label: str = ""
    effort: str = ""
    host: str = ""
    region: str = ""
    plan: str = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One value of one metric, as a source states it; ``catalogue.metrics.check`` says whether it may be kept.

    ``source_version``: what values must share to be compared (the version of an index, of a harness); empty: unversioned.
    ``observed_at_us``: when it was true, by the source; ``fetched_at_us``: when we read it.
    ``confidence``: in [0, 1].   ``n``: the samples behind it, where they are known.
    """

    source: str
    source_version: str
    subject: Subject
    metric: str
    value: float
    unit: str
    observed_at_us: int
    fetched_at_us: int
    confidence: float = 1.0
    n: int | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """A reading whose subject was found: what the ledger keeps.

    ``variant``: ``model`` or ``model#effort``, by our names.  ``offer``: ``variant @ host`` in the form of
    ``catalogue.identity.offer_of``; empty: true of the variant wherever it runs.  ``subject``: who the source meant.
    """

    source: str
    source_version: str
    variant: str
    offer: str = ""
    subject: Subject
    metric: str
    value: float
    unit: str
    observed_at_us: int
    fetched_at_us: int
    confidence: float = 1.0
    n: int | None = None


class ModelFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says a model is and can take.

    ``modalities_in``, ``modalities_out``: ``text``, ``image``, ``audio``, ``video``, ``file``.  ``capabilities``: the names
    in ``catalogue.metrics.CAPABILITIES``.  ``released``: an ISO date, or empty.  ``aliases``: other names of the same model
    in this source.  ``base_model``: the source's name of the model that this one is a copy of, such as a host's of a lab's.
    ``None``: the source does not say.
    """

    subject: Subject
    context_tokens: int | None = None
    output_max_tokens: int | None = None
    modalities_in: tuple[str, ...] = ()
    modalities_out: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    released: str = ""
    aliases: tuple[str, ...] = ()
    base_model: str = ""


class OfferPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says an offer costs."""

    subject: Subject
    price: Price


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What one payload of a source says.  ``problems``: a sentence for each piece of it that was left out, and why."""

    readings: tuple[Reading, ...] = ()
    models: tuple[ModelFact, ...] = ()
    prices: tuple[OfferPrice, ...] = ()
    problems: tuple[str, ...] = ()
