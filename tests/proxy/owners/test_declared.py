"""A declaration becomes what the directory holds."""

from __future__ import annotations

from pydantic import SecretStr

from ledger.records import Key, Owned, Team, User
from proxy.config import Config, KeyConfig, TeamConfig, UserConfig
from proxy.owners.declared import declared


def test_everything_that_is_declared_arrives() -> None:
    config = Config(
        keys={
            "ops": KeyConfig(
                key=SecretStr("tw-secret"),
                admin=True,
                models=("a/*",),
                endpoints=("embeddings",),
                user="alice",
                team="search",
                requests_per_minute=1,
                tokens_per_minute=2,
                concurrent=3,
                priority="high",
                disconnect="drain",
                durability="power",
                metadata={"for": "ops"},
            ),
            "plain": KeyConfig(key=SecretStr("tw-other")),
        },
        users={"alice": UserConfig(team="search", concurrent=4)},
        teams={"search": TeamConfig(models=("b/*",))},
    )

    found = declared(config, lambda secret: secret.encode()[::-1])

    ops = Key(
        id="ops",
        name="ops",
        digest=b"terces-wt",
        last4="",
        admin=True,
        models=("a/*",),
        created_us=0,
        user="alice",
        team="search",
        endpoints=("embeddings",),
        requests_per_minute=1,
        tokens_per_minute=2,
        concurrent=3,
        priority="high",
        disconnect="drain",
        durability="power",
        metadata='{"for":"ops"}',
    )
    plain = Key(id="plain", name="plain", digest=b"rehto-wt", last4="", admin=False, models=(), created_us=0)
    assert found == Owned(
        keys=(ops, plain),
        users=(User(name="alice", team="search", concurrent=4, created_us=0),),
        teams=(Team(name="search", models=("b/*",), created_us=0),),
    )
