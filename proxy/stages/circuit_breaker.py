"""Who is not worth asking just now?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from proxy.attempts.breaker import Circuit, Rules, State
from proxy.attempts.cooldown import Cooldown, CooldownRules
from proxy.call import Attempt, Call, Deployment, Gate, Reply
from proxy.errors import NoHealthyUpstream, ProxyError, UpstreamAuth, UpstreamRateLimited
from proxy.stage import Service

PATIENTS_MAX = 4096
"""Names of models may come from callers: however many fail, no more than so many are remembered."""

Key = tuple[str, str, str]
"""Provider, account, model; an account itself has no model."""

log = structlog.get_logger("tollway.circuit_breaker")


class Breaking(msgspec.Struct, frozen=True, kw_only=True):
    """never_last: a deployment that is a model's last one is only kept back if it is dead, and for a moment.

    circuit: of deployments.  account: of accounts whose key or credit was refused.  cooldown: of rate limits.
    """

    enabled: bool = True
    never_last: bool = True
    circuit: Rules = Rules()
    account: Rules = Rules(failures_max=1, requests_min=2**31, open_s=60.0, open_max_s=1800.0, last_open_s=1800.0)
    cooldown: CooldownRules = CooldownRules()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What is held against a deployment, or, without a model, against a whole account.

    state: ``open``, ``half_open`` or ``closed``, or ``cooldown``.  ready_in_s: when it is asked again.  reason: the last
    error's code.
    """

    provider: str
    account: str
    model: str
    state: str
    ready_in_s: float
    reason: str


class _Patient:
    """Somebody who has failed lately."""

    __slots__ = ("circuit", "cooldown", "reason")

    def __init__(self, rules: Rules, cooldown: CooldownRules) -> None:
        self.circuit = Circuit(rules)
        self.cooldown = Cooldown(cooldown)
        self.reason = ""


class CircuitBreaker(Gate):
    """Keep back deployments that keep failing, that asked to be left alone, or whose account was refused.

    A fault of the request, the client or the gateway is held against nobody.  Whoever has not failed lately is not even
    remembered, so that nothing is looked up as long as all is well.
    others: who else keeps deployments back, and so may make another one the last.
    Reads: deployments.   Writes: deployments, last_resort.   Raises: nothing; fallback asks for the refusal.
    Config: circuit_breaker.
    """

    def __init__(
        self,
        breaking: Breaking,
        *,
        others: Sequence[Gate] = (),
        clock_s: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._breaking = breaking
        self._others = others
        self._clock_s = clock_s
        self._chance = chance
        self._patients: dict[Key, _Patient] = {}

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        if not self._patients:
            return await next(call)
        ready = tuple(it for it in call.deployments if it.serves(call.endpoint) and self._is_ready(call, it))
        if ready:
            return await next(call if len(ready) == len(call.deployments) else replace(call, deployments=ready))
        return await next(replace(call, last_resort=self._breaking.never_last))

    def _is_ready(self, call: Call, deployment: Deployment) -> bool:
        return self.ready_in_s(call, deployment) == 0 and all(it.ready_in_s(call, deployment) == 0 for it in self._others)

    # --- before and after a try ------------------------------------------------------------------------------------------

    def ready_in_s(self, call: Call, deployment: Deployment, /) -> float:
        """Seconds until it may be tried; 0: now."""
        if not self._patients:
            return 0.0
        now_s = self._clock_s()
        provider, account, _ = key = deployment.key
        wait_s = 0.0
        if (owner := self._patients.get((provider, account, ""))) is not None:
            wait_s = owner.circuit.ready_in_s(now_s)
        if (patient := self._patients.get(key)) is not None:
            wait_s = max(wait_s, patient.cooldown.ready_in_s(now_s), self._closed_in_s(call, patient.circuit, now_s))
        return wait_s

    def _closed_in_s(self, call: Call, circuit: Circuit, now_s: float) -> float:
        if not call.last_resort or circuit.state is State.CLOSED:
            return circuit.ready_in_s(now_s)
        # Something that answers now and then is better than nothing; what never does is asked once in a while.
        return circuit.ready_in_s(now_s, last=True) if circuit.is_dead else 0.0

    def enter(self, call: Call, number: int, deployment: Deployment, /) -> bool:
        """Whether this try may begin; one at a time where it is to find out whether all is well again."""
        if not self._patients:
            return True
        if self.ready_in_s(call, deployment) > 0:
            return False
        now_s = self._clock_s()
        provider, account, _ = key = deployment.key
        token = _token(call, number)
        owner = self._patients.get((provider, account, ""))
        if owner is not None and not owner.circuit.enter(token, now_s):
            return False
        patient = self._patients.get(key)
        if patient is not None:
            patient.circuit.enter(token, now_s, last=call.last_resort)
        return True

    def begun(self, call: Call, number: int, deployment: Deployment, ttfb_us: int, /) -> None:  # noqa: ARG002  # a Gate's
        """A probe's answer has begun.  That is good enough: a stream may go on for minutes."""
        if self._patients:
            token = _token(call, number)
            for patient in self._treated(deployment):
                if patient.circuit.is_probe(token):
                    patient.circuit.succeed(token, self._clock_s())
                    log.info("circuit_closed", **_named(deployment))

    def leave(self, call: Call, number: int, deployment: Deployment, /) -> None:
        """The try is over."""
        if self._patients:
            token = _token(call, number)
            for patient in self._treated(deployment):
                patient.circuit.leave(token)

    def is_probe(self, call: Call, number: int, deployment: Deployment, /) -> bool:
        """Whether this try is to find out if all is well again."""
        if not self._patients:
            return False
        token = _token(call, number)
        return any(patient.circuit.is_probe(token) for patient in self._treated(deployment))

    def refusal(self, call: Call, deployments: Sequence[Deployment], /) -> ProxyError | None:
        """Why none of them may be tried; ``None`` if one may.

        A rate limit passes by itself, so it speaks for all; what is out of order comes before a refused key.
        """
        limited, broken, parked = [], [], []
        now_s = self._clock_s()
        for deployment in deployments:
            wait_s = self.ready_in_s(call, deployment)
            if wait_s == 0:
                return None
            provider, account, _ = key = deployment.key
            owner, patient = self._patients.get((provider, account, "")), self._patients.get(key)
            if owner is not None and owner.circuit.ready_in_s(now_s) > 0:
                parked.append(wait_s)
            elif patient is not None and patient.cooldown.ready_in_s(now_s) > 0:
                limited.append(wait_s)
            else:
                broken.append(wait_s)
        if limited:
            return UpstreamRateLimited("Every deployment of this model is rate limited.", retry_after_s=min(limited + broken))
        if broken:
            return NoHealthyUpstream("Every deployment of this model keeps failing.", retry_after_s=min(broken))
        return UpstreamAuth("The provider refused the gateway's key or credit.") if parked else None

    # --- learning ----------------------------------------------------------------------------------------------------------

    def observe(self, call: Call, attempt: Attempt) -> None:
        """Learn from a try that has ended."""
        if not self._breaking.enabled:
            return
        if attempt.fault in ("upstream", "timeout"):
            self._fail(call, attempt, attempt.deployment.key)
        elif attempt.fault == "account":
            provider, account, _ = attempt.deployment.key
            self._fail(call, attempt, (provider, account, ""))
        elif attempt.fault == "rate_limit":
            self._limit(attempt)
        elif self._patients and attempt.outcome == "ok":
            self._succeed(call, attempt)

    def _fail(self, call: Call, attempt: Attempt, key: Key) -> None:
        patient = self._patient(key)
        circuit = patient.circuit
        before = circuit.state
        now_s = self._clock_s()
        patient.reason = attempt.outcome
        circuit.fail(_token(call, attempt.number), now_s, chance=self._chance())
        if circuit.state is State.OPEN and before is not State.OPEN:
            event = "circuit_opened" if key[2] else "account_parked"
            log.warning(event, **_named(attempt.deployment), reason=attempt.outcome, open_s=round(circuit.ready_in_s(now_s), 3))

    def _limit(self, attempt: Attempt) -> None:
        patient = self._patient(attempt.deployment.key)
        now_s = self._clock_s()
        before_s = patient.cooldown.until_s
        patient.reason = attempt.outcome
        patient.cooldown.limit(now_s, asked_s=attempt.retry_after_s, chance=self._chance())
        if before_s <= now_s < patient.cooldown.until_s:
            wait_s = round(patient.cooldown.ready_in_s(now_s), 3)
            log.warning("cooldown", **_named(attempt.deployment), wait_s=wait_s, asked_s=attempt.retry_after_s)

    def _succeed(self, call: Call, attempt: Attempt) -> None:
        now_s = self._clock_s()
        token = _token(call, attempt.number)
        provider, account, _ = key = attempt.deployment.key
        for name in (key, (provider, account, "")):
            patient = self._patients.get(name)
            if patient is None:
                continue
            was_probe = patient.circuit.is_probe(token)
            patient.circuit.succeed(token, now_s)
            patient.cooldown.succeed(now_s)
            if was_probe:
                log.info("circuit_closed", **_named(attempt.deployment))
            if patient.circuit.is_idle(now_s) and patient.cooldown.is_idle(now_s):
                del self._patients[name]

    def _patient(self, key: Key) -> _Patient:
        patient = self._patients.get(key)
        if patient is None:
            if len(self._patients) >= PATIENTS_MAX:
                del self._patients[next(iter(self._patients))]
            rules = self._breaking.circuit if key[2] else self._breaking.account
            patient = self._patients[key] = _Patient(rules, self._breaking.cooldown)
        return patient

    def _treated(self, deployment: Deployment) -> list[_Patient]:
        provider, account, _ = key = deployment.key
        found = (self._patients.get(key), self._patients.get((provider, account, "")))
        return [patient for patient in found if patient is not None]

    # --- for operators -----------------------------------------------------------------------------------------------------

    def health(self) -> list[Health]:
        """Everybody of whom something is remembered."""
        now_s = self._clock_s()
        return [
            Health(
                provider=key[0],
                account=key[1],
                model=key[2],
                state="cooldown" if patient.cooldown.ready_in_s(now_s) > 0 else patient.circuit.state.value,
                ready_in_s=max(patient.cooldown.ready_in_s(now_s), patient.circuit.ready_in_s(now_s)),
                reason=patient.reason,
            )
            for key, patient in self._patients.items()
        ]

    def reset(self, chosen: Callable[[Key], bool]) -> int:
        """Forget what is held against those that are chosen; how many they were."""
        keys = [key for key in self._patients if chosen(key)]
        for key in keys:
            # A try that is under way finds nobody there, and changes nothing.
            del self._patients[key]
        return len(keys)


def _token(call: Call, number: int) -> str:
    return f"{call.id}#{number}"


def _named(deployment: Deployment) -> dict[str, str]:
    provider, account, model = deployment.key
    return {"provider": provider, "account": account, "model": model}
