"""The configuration: every setting, where it comes from, and what is wrong with it.

``settings``  the whole: which sections there are
``server``, ``providers``, ``limits``, ``owners``, ``traffic``, ``cache``, ``routing``, ``ledger``
              the sections and their fields: type, default, unit, meaning; a new setting begins and mostly ends here
``section``   what every section is made of
``checks``    what must hold between settings
``load``      file + environment -> ``Config`` or ``ConfigError``
``sources``   the file and the environment as pydantic-settings sources; secrets are resolved here
``document``  YAML without its traps, with positions
``problems``  sentences, places, suggestions
``secrets``   ``env:``, ``file:``, how hard a key is to guess
``shape``     what may stand where, read off the annotations
``describe``  a configuration for people
"""

from proxy.config.checks import key_faults
from proxy.config.describe import describe
from proxy.config.ledger import (
    ContextTierConfig,
    LedgerConfig,
    PriceConfig,
    RatesConfig,
    RefreshSourceConfig,
    ServiceTierConfig,
    SubscriptionConfig,
)
from proxy.config.limits import LimitConfig, LimitsConfig
from proxy.config.load import home, load
from proxy.config.owners import BudgetConfig, DrainsConfig, KeyConfig, ReservationsConfig, TeamConfig, UserConfig
from proxy.config.problems import ConfigError, Problem
from proxy.config.providers import AccountConfig, ModelConfig, ProviderConfig, TargetConfig
from proxy.config.routing import PolicyConfig
from proxy.config.secrets import EXAMPLE_KEY, fingerprint, key_bits
from proxy.config.server import LogsConfig, ServerConfig, TelemetryConfig
from proxy.config.settings import Config
from proxy.config.traffic import CircuitBreakerConfig, HedgingConfig, LoadBalancerConfig, RetriesConfig

__all__ = [
    "EXAMPLE_KEY",
    "AccountConfig",
    "BudgetConfig",
    "CircuitBreakerConfig",
    "Config",
    "ConfigError",
    "ContextTierConfig",
    "DrainsConfig",
    "HedgingConfig",
    "KeyConfig",
    "LedgerConfig",
    "LimitConfig",
    "LimitsConfig",
    "LoadBalancerConfig",
    "LogsConfig",
    "ModelConfig",
    "PolicyConfig",
    "PriceConfig",
    "Problem",
    "ProviderConfig",
    "RatesConfig",
    "RefreshSourceConfig",
    "ReservationsConfig",
    "RetriesConfig",
    "ServerConfig",
    "ServiceTierConfig",
    "SubscriptionConfig",
    "TargetConfig",
    "TeamConfig",
    "TelemetryConfig",
    "UserConfig",
    "describe",
    "fingerprint",
    "home",
    "key_bits",
    "key_faults",
    "load",
]
