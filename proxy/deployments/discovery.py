"""Finding providers where nobody has configured any: keys in the environment, Ollama and LM Studio on their ports.

``found_in_environment`` reads, ``list_models`` asks one provider, ``discover`` does both for all of them at once.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec

from providers import lmstudio, ollama
from providers.openai.vendors import VENDORS
from providers.provider import Identity, Protocol, Traits, Vendor
from proxy.deployments import clouds

MODEL_NAME_CHARS = 200
MODELS = 5_000
BODY_BYTES = 8 << 20
OWN_KEY_PREFIX = "tw-"
OWN_KEY_NAME = "TOLLWAY_API_KEY"

_HOST_NAMES = {"ollama": "OLLAMA_HOST", "lmstudio": "LMSTUDIO_HOST"}
# These vendors' own SDKs append the version to what their *_BASE_URL says; for the others it is part of the value.
# Source: the clients' default base URLs in anthropic-sdk-python, groq-python, cerebras-cloud-sdk-python, read 2026-11.
_SDK_PATHS = {"anthropic": "/v1", "groq": "/openai/v1", "cerebras": "/v1"}
_ANTHROPIC_VERSION = "2023-06-01"
# Pages have 20 names, or 50, unless asked for more.
# Source: platform.claude.com/docs/en/api/models/list and ai.google.dev/api/models, read 2026-11.
_QUERY: dict[Protocol, str] = {"anthropic": "limit=1000", "gemini": "pageSize=1000"}
# Names are listed as resources, ``models/gemini-…``, and accepted without that prefix.
# Source: ai.google.dev/api/models, read 2026-11.
_NAME_PREFIX = {"gemini": "models/"}
# Also beside its layer for OpenAI's clients, whose list is the native one.
_LISTED_AS: dict[str, Protocol] = {"anthropic": "anthropic"}
LOCAL_URLS = {name: VENDORS[name].base_url for name in _HOST_NAMES}
"""Where a vendor's server is looked for on this machine though nobody named it."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = "localhost"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could be used.

    vendor: a name in VENDORS.   origin: where it was found, ``OPENAI_API_KEY`` or ``127.0.0.1:11434``.
    protocol: how its list of models is asked for.   models_path: where it is; empty: nowhere that is asked.
    api_version, identity: of a cloud's, where there is no key.
    """

    vendor: str
    base_url: str
    api_key: str | None
    origin: str
    protocol: Protocol = "openai"
    models_path: str = "models"
    api_version: str = ""
    identity: Identity = Identity()

    def __repr__(self) -> str:
        key = "None" if self.api_key is None else "***"
        url = _without_userinfo(self.base_url)
        return f"Found(vendor={self.vendor!r}, base_url={url!r}, api_key={key}, origin={self.origin!r})"


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider said when asked for its models.

    problem: why there are no models, as the end of a sentence about it; empty if it answered.
    note: what else its owner should know; empty as a rule.
    traits: what it says of some of its models by its own API.
    """

    found: Found
    models: tuple[str, ...] = ()
    problem: str = ""
    note: str = ""
    traits: Mapping[str, Traits] = {}


def found_in_environment(environ: Mapping[str, str]) -> tuple[Found, ...]:
    """The vendors whose key, or whose address if they need none, is in the environment; in VENDORS' order.

    ``<VENDOR>_BASE_URL`` overrides the vendor's address; OLLAMA_HOST and LMSTUDIO_HOST take what Ollama takes there.
    """
    rows = (_found(vendor, environ) for vendor in VENDORS.values())
    return tuple(found for found in rows if found is not None)


def host_url(text: str, default_port: int) -> str | None:
    """The base URL, ``http://HOST:PORT/v1``, that OLLAMA_HOST's forms mean; ``None`` if it is none of them.

    ``host``, ``host:port``, ``:port``, an IPv6 address with or without brackets, or a URL, in which the port is the
    scheme's unless given; quotes around it are dropped.  An address for listening (0.0.0.0) becomes one to connect to.
    Source: github.com/ollama/ollama envconfig/config.go, read 2026-11.
    """
    value = text.strip().strip("\"'").strip()
    scheme, separator, rest = value.partition("://")
    if separator:
        default_port = _DEFAULT_PORTS.get(scheme.lower(), 0)
    else:
        scheme, rest = "http", value
    if not default_port or not rest.isascii() or not rest.isprintable() or not set(" ?#@\\").isdisjoint(rest):
        return None
    place, slash, path = rest.partition("/")
    host, port = _host_and_port(place)
    if host is None or not (port == "" or (port.isdecimal() and 0 < int(port) <= 65_535)):
        return None
    prefix = f"{slash}{path}".rstrip("/").removesuffix("/v1")
    return f"{scheme.lower()}://{host}:{port or default_port}{prefix}/v1"


async def list_models(client: httpx.AsyncClient, found: Found, timeout_s: float) -> Listing:
    """Ask it for its models, for ``timeout_s`` seconds in all.  Raises nothing; no text has the key in it.

    client: made with ``trust_env=False``, so that no proxy variable sends the probe of a local port elsewhere.
    At most MODELS names of at most MODEL_NAME_CHARS are read, from at most BODY_BYTES.  Redirects are not followed:
    they would take the key along.
    """
    if not found.models_path:
        return Listing(found=found)
    key = found.api_key
    if key is not None and not (key.isascii() and key.isprintable()):
        return Listing(found=found, problem="has a key that no HTTP header can carry")
    protocol = _LISTED_AS.get(found.vendor, found.protocol)
    query = _QUERY.get(protocol)
    url = f"{found.base_url.rstrip('/')}/{found.models_path}" + (f"?{query}" if query else "")
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream("GET", url, headers=_headers(found, protocol), follow_redirects=False, timeout=timeout_s) as reply,
        ):
            problem = _refusal(reply, has_key=key is not None)
            names = (
                () if problem else _names(await _body(reply), _NAME_PREFIX.get(found.vendor) or _NAME_PREFIX.get(protocol, ""))
            )
    except (TimeoutError, httpx.TimeoutException):
        return Listing(found=found, problem="timed out")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return Listing(found=found, problem="has no valid URL")
    except (httpx.ConnectError, httpx.ReadError, httpx.WriteError):
        return Listing(found=found, problem="is not reachable")
    except (httpx.HTTPError, ValueError):
        return Listing(found=found, problem="answered nonsense")
    traits = await look(client, found, names, timeout_s) if names else {}
    return Listing(found=found, models=names, problem=problem, traits=traits)


LOOKS = 64
"""How many models of a server are asked about, one by one."""
LOOKS_AT_ONCE = 4
NATIVE = frozenset({"ollama", "lmstudio"})
"""Those that say more of their models by APIs of their own."""


async def look(client: httpx.AsyncClient, found: Found, names: Sequence[str], timeout_s: float) -> dict[str, Traits]:
    """What a server says of its models by its own API, for ``timeout_s`` seconds in all; empty: nothing.  Raises nothing."""
    if found.vendor not in NATIVE:
        return {}
    known: dict[str, Traits] = {}
    root = found.base_url.rstrip("/").removesuffix("/v1")

    async def ask(place: str, said: bytes | None = None) -> bytes:
        """Raises: ValueError, httpx.HTTPError."""
        headers = {**_headers(found, "openai"), "Content-Type": "application/json"}
        method = "GET" if said is None else "POST"
        asked = client.stream(method, f"{root}/{place}", content=said, headers=headers, timeout=timeout_s)
        async with asked as reply:
            if reply.status_code != 200:
                raise ValueError("no such place")
            return await _body(reply)

    # What has come by then counts.
    with suppress(TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError):
        async with asyncio.timeout(timeout_s):
            if found.vendor == "ollama":
                await _ask_ollama(ask, names[:LOOKS], known)
            else:
                await _ask_lmstudio(ask, known)
    return known


Ask = Callable[..., Awaitable[bytes]]


async def _ask_ollama(ask: Ask, names: Sequence[str], known: dict[str, Traits]) -> None:
    try:
        loaded = ollama.running(await ask(ollama.RUNNING))
    except ValueError:
        loaded = {}
    gate = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def show(name: str) -> None:
        # One that was removed meanwhile is no reason not to ask about the others.
        with suppress(ValueError):
            async with gate:
                body = await ask(ollama.SHOW, msgspec.json.encode({"model": name}))
            known[name] = ollama.traits(body, loaded.get(name))

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(show(name))


async def _ask_lmstudio(ask: Ask, known: dict[str, Traits]) -> None:
    for place in lmstudio.PLACES:
        with suppress(ValueError):
            known.update(lmstudio.traits(place, await ask(place)))
            return


async def discover(
    environ: Mapping[str, str],
    client: httpx.AsyncClient,
    *,
    probe_timeout_s: float,
    own_urls: frozenset[str] = frozenset(),
    local_urls: Mapping[str, str] = LOCAL_URLS,
) -> tuple[Listing, ...]:
    """Every provider of the environment with its models, and the local servers that answer; all asked at once.

    own_urls: where this gateway listens.  People export OPENAI_BASE_URL for their clients: where it names the gateway,
    the vendor's own address is used instead, and a key of the gateway's is sent nowhere (the listing has neither key
    nor models).   local_urls: by vendor, where a server is looked for that nobody named; it is left out unless it
    answers.
    """
    own = frozenset(_address(url) for url in own_urls)
    named = found_in_environment(environ)
    absent = {name: url for name, url in local_urls.items() if name not in {found.vendor for found in named}}
    probes = [
        Found(vendor=name, base_url=url, api_key=None, origin=urlsplit(url).netloc)
        for name, url in absent.items()
        if _address(url) not in own
    ]
    settled = [_settle(found, environ, own) for found in named]
    async with asyncio.TaskGroup() as group:
        asked = [
            None if listing.problem else group.create_task(list_models(client, listing.found, probe_timeout_s))
            for listing in settled
        ]
        probed = [group.create_task(list_models(client, probe, probe_timeout_s)) for probe in probes]
    answered = (
        listing if task is None else msgspec.structs.replace(task.result(), note=listing.note)
        for listing, task in zip(settled, asked, strict=True)
    )
    local = (task.result() for task in probed)
    return (*answered, *(listing for listing in local if not listing.problem))


# --- the environment ---


def _found(vendor: Vendor, environ: Mapping[str, str]) -> Found | None:
    if not vendor.base_url:
        # The gateway's own model; LOCAL_BASE_URL is other programs' word.
        return None
    url_name = f"{vendor.name.upper().replace('-', '_')}_BASE_URL"
    url = environ.get(url_name, "").strip().rstrip("/")
    if url and not url.endswith("/v1"):
        url += _SDK_PATHS.get(vendor.name, "")
    if vendor.protocol == "gemini":
        # What named its layer for OpenAI's clients names its own API, too.
        url = url.removesuffix("/openai")
    home = vendor.base_url
    if vendor.protocol in clouds.PROTOCOLS:
        cloud = clouds.found(vendor, environ)
        return None if cloud is None else _in_cloud(vendor, cloud)
    for name in vendor.key_names:
        if key := environ.get(name, "").strip():
            return Found(
                vendor=vendor.name,
                base_url=url or home,
                api_key=key,
                origin=name,
                protocol=vendor.protocol,
                models_path=vendor.models_path,
            )
    if vendor.needs_key:
        return None
    if url:
        return Found(vendor=vendor.name, base_url=url, api_key=None, origin=url_name)
    host_name = _HOST_NAMES.get(vendor.name)
    if host_name and environ.get(host_name, "").strip():
        named = host_url(environ[host_name], urlsplit(vendor.base_url).port or 0)
        return Found(vendor=vendor.name, base_url=named or "", api_key=None, origin=host_name)
    return None


def _in_cloud(vendor: Vendor, cloud: clouds.Cloud) -> Found:
    return Found(
        vendor=vendor.name,
        base_url=cloud.base_url,
        api_key=cloud.api_key,
        origin=cloud.origin,
        protocol=vendor.protocol,
        models_path=vendor.models_path,
        api_version=cloud.api_version,
        identity=cloud.identity,
    )


def _settle(found: Found, environ: Mapping[str, str], own: frozenset[tuple[str, int]]) -> Listing:
    """What of it may be asked: nothing if ``problem`` is set."""
    if found.api_key and (found.api_key.startswith(OWN_KEY_PREFIX) or found.api_key == environ.get(OWN_KEY_NAME)):
        keyless = msgspec.structs.replace(found, api_key=None)
        return Listing(found=keyless, problem=f"was not asked: {found.origin} holds a key of this gateway")
    if not found.base_url or _address(found.base_url) not in own:
        return Listing(found=found)
    if not VENDORS[found.vendor].needs_key:
        return Listing(found=found, problem=f"was not asked: {found.origin} points to this gateway itself")
    home = msgspec.structs.replace(found, base_url=VENDORS[found.vendor].base_url)
    return Listing(found=home, note="its base URL in the environment is this gateway's own and was ignored")


def _host_and_port(place: str) -> tuple[str | None, str]:
    """A host to connect to, IPv6 in brackets, and the text of a port, which may be empty; ``None`` if it is no host."""
    bare = place.strip("[]")
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(bare)
        port = ""
    except ValueError:
        host, _, port = place.rpartition(":") if ":" in place else (place, "", "")
        bare = host.strip("[]")
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            address = None
    if address is None:
        return (None, port) if ":" in bare else (bare or "127.0.0.1", port)
    if address.is_unspecified:
        return ("127.0.0.1" if address.version == 4 else "[::1]"), port
    return (str(address) if address.version == 4 else f"[{address}]"), port


# --- URLs ---


def _address(url: str) -> tuple[str, int]:
    """Host and port, with all names of this machine made one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return url, 0
    if host == _LOOPBACK or host.endswith(f".{_LOOPBACK}"):
        return _LOOPBACK, port
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host, port
    return (_LOOPBACK if address.is_loopback or address.is_unspecified else str(address)), port


def _without_userinfo(url: str) -> str:
    try:
        parts: SplitResult = urlsplit(url)
    except ValueError:
        return "***"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


# --- one provider's answer ---


def _headers(found: Found, protocol: Protocol) -> dict[str, str]:
    # Not compressed: what is bounded is then what was sent.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if protocol == "anthropic":
        headers["anthropic-version"] = _ANTHROPIC_VERSION
        if found.api_key is not None:
            headers["x-api-key"] = found.api_key
    elif protocol == "gemini":
        if found.api_key is not None:
            headers["x-goog-api-key"] = found.api_key
    elif found.api_key is not None:
        headers["Authorization"] = f"Bearer {found.api_key}"
    return headers


def _refusal(reply: httpx.Response, *, has_key: bool) -> str:
    """Why the reply's status says that there is no list; empty if it does not."""
    status = reply.status_code
    if status in {401, 403}:
        return f"refused the key ({status})" if has_key else f"asks for a key ({status})"
    if status in {404, 405, 501}:
        return f"has no list of models ({status})"
    if reply.has_redirect_location:
        return f"answered with a redirect ({status})"
    return "" if status == 200 else f"answered with an error ({status})"


async def _body(reply: httpx.Response) -> bytes:
    """Raises: ValueError if it is too long or compressed."""
    if reply.headers.get("content-encoding", "identity").lower() != "identity":
        raise ValueError("compressed, though nobody asked for it")
    body = bytearray()
    async for chunk in reply.aiter_raw():
        body += chunk
        if len(body) > BODY_BYTES:
            raise ValueError("too long")
    return bytes(body)


def _names(body: bytes, prefix: str) -> tuple[str, ...]:
    """The names in ``{"data": [{"id": …}]}``, ``{"models": [{"name": …}]}`` or a bare list, each once.

    Raises: ValueError if it is none of them.
    """
    try:
        page = msgspec.json.decode(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    rows = page.get("data", page.get("models")) if isinstance(page, dict) else page
    if not isinstance(rows, list):
        raise ValueError("no list of models")  # noqa: TRY004  # a wrong value came over the wire
    ids = (row.get("id", row.get("name")) if isinstance(row, dict) else row for row in rows)
    names = (name.removeprefix(prefix) for name in ids if isinstance(name, str))
    usable = dict.fromkeys(name for name in names if _is_name(name))
    return tuple(usable)[:MODELS]


def _is_name(name: str) -> bool:
    # Names are printed to terminals and written into headers.
    return bool(name.strip()) and len(name) <= MODEL_NAME_CHARS and name.isprintable()
