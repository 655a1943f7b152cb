import csv
import json
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from ledger.cli import (
    agent_markdown,
    agent_table,
    differences_json,
    differences_text,
    focus_csv,
    prices_json,
    prices_text,
    usage_json,
    usage_table,
    usd,
)
from ledger.journal.agent_reports import AgentRow
from ledger.journal.reports import FeeRow, HourRow
from ledger.prices.compare import Difference, Known
from ledger.records import ContextTier, ImageRate, Price, Rates, ServiceTier, Subscription, UsageRow


def row(group: str, **changes: object) -> UsageRow:
    fields = dict.fromkeys(UsageRow.__struct_fields__[2:], 0)
    return UsageRow(group=group, **{"label": "", **fields, **changes})


def test_the_table_is_aligned_and_ends_with_the_sum() -> None:
    rows = [
        row("2026-11-21", requests=12, input_tokens=1000, output_tokens=50, cost_nusd=1_234_567, nusd_per_mtok=1_175_778_095),
        row("2026-11-22", requests=3, failed=1, input_tokens=7, cost_nusd=None, unpriced=3, nusd_per_mtok=None),
    ]

    assert usage_table(rows).splitlines() == [
        "            requests  failed  input  cached  output  reasoning          cost  per Mtok  unpriced  estimated  held",
        "2026-11-21        12       0   1000       0      50          0  $0.001234567   $1.1758         0          0     0",
        "2026-11-22         3       1      7       0       0          0       unknown                   3          0     0",
        "total             15       1   1007       0      50          0  $0.001234567    $1.168         3          0     0",
    ]


def test_a_single_row_needs_no_sum() -> None:
    assert len(usage_table([row("gpt-4o")]).splitlines()) == 2


def test_what_subscriptions_cost_and_the_cache_saved_is_shown_where_there_is_any() -> None:
    rows = [row("gpt-4o", subscription_nusd=2_500_000_000), row("llama", saved_nusd=10_000_000)]

    first, *lines = usage_table(rows).splitlines()

    assert first.split()[-2:] == ["subscription", "saved"]
    assert [line.split()[-2:] for line in lines] == [["$2.50", "$0.00"], ["$0.00", "$0.01"], ["$2.50", "$0.01"]]


def test_a_fee_is_a_purchase_and_its_shares_are_in_the_effective_cost_of_use() -> None:
    plan = Subscription(name="plan", provider="openai", month_nusd=20_000_000_000)
    used = HourRow("alice", 20_000_000_000, 480_000, "key_1", "ann", "", "openai", "gpt-4o", 2, 10, 5, 1_000_000_000)

    use, fee, idle = csv.DictReader(
        StringIO(focus_csv([used], [FeeRow(plan, (479_976, 480_720), 20_000_000_000, it) for it in (True, False)]))
    )

    assert [it["ChargeCategory"] for it in (use, fee, idle)] == ["Usage", "Purchase", "Purchase"]
    assert [it["BilledCost"] for it in (use, fee, idle)] == ["1.000000000", "20.000000000", "20.000000000"]
    assert [it["EffectiveCost"] for it in (use, fee, idle)] == ["21.000000000", "0.000000000", "20.000000000"]
    assert json.loads(use["Tags"]) == {"tollway_requests": "2", "tollway_user": "ann"}
    assert fee["ChargePeriodStart"] < use["ChargePeriodStart"] < fee["ChargePeriodEnd"]


def test_a_key_is_shown_by_name_and_id() -> None:
    assert usage_table([row("key_1", label="alice")]).splitlines()[1].startswith("alice (key_1)  ")


def test_no_rows_are_a_sentence() -> None:
    assert usage_table([]) == "no requests yet\n"


def test_json_has_every_field_and_money_as_integers() -> None:
    rows = [row("gpt-4o", cost_nusd=1_234_567), row("llama", cost_nusd=None)]

    decoded = json.loads(usage_json(rows))

    assert [list(each) for each in decoded] == [list(UsageRow.__struct_fields__)] * 2
    assert [each["cost_nusd"] for each in decoded] == [1_234_567, None]


def test_dollars_have_two_digits_at_least_and_every_digit_there_is() -> None:
    costs_nusd = (0, 1, 1_234_567, 500_000_000, 12_340_000_000, 1_000_000_000_000, None)

    shown = [usd(cost_nusd) for cost_nusd in costs_nusd]

    assert shown == ["$0.00", "$0.000000001", "$0.001234567", "$0.50", "$12.34", "$1,000.00", "unknown"]


@given(st.integers(0, 10**18))
def test_no_digit_of_a_cost_is_lost(cost_nusd: int) -> None:
    whole, _, nano = usd(cost_nusd).removeprefix("$").replace(",", "").partition(".")

    assert int(whole) * 10**9 + int(nano.ljust(9, "0")) == cost_nusd


TIERED = Rates(input_nusd_per_mtok=2_500_000_000, output_nusd_per_mtok=0)
KNOWN = Known(
    provider="acme",
    model="m",
    counts=True,
    price=Price(
        source="list 1: m",
        input_nusd_per_mtok=1_250_000_000,
        output_nusd_per_mtok=10_000_000_000,
        cache_read_nusd_per_mtok=125_000_000,
        search_nusd=10_000_000,
        context_tiers=(ContextTier(above_tokens=200_000, rates=TIERED),),
        service_tiers=(ServiceTier(name="batch", rates=TIERED, context_tiers=(ContextTier(above_tokens=9, rates=TIERED),)),),
        effective_from_us=86_400_000_000,
        effective_to_us=2 * 86_400_000_000,
        daily_from_s=5400,
        daily_to_s=86_340,
    ),
)
DIFFERENCE = Difference(
    provider="acme", model="m", field="cache_read_nusd_per_mtok", amounts_nusd={"a 1": 1_500_000, "b 2": None, "c": 0}
)


def test_a_price_by_the_piece_says_what_a_piece_is() -> None:
    price = Price(
        source="a list: painter",
        input_nusd_per_mtok=0,
        output_nusd_per_mtok=0,
        image_nusd=40_000_000,
        audio_nusd_per_hour=360_000_000,
        images=(ImageRate(size="1024x1536", quality="hd", image_nusd=80_000_000), ImageRate(image_nusd=1)),
    )

    text = prices_text([Known(provider="acme", model="painter", counts=True, price=price)])

    assert text.splitlines() == [
        "* acme/painter  a list: painter",
        "      a picture $0.04, an hour heard $0.36",
        "      a picture of 1024x1536 hd $0.08",
        "      a picture of any kind $0.000000001",
    ]


def test_a_price_row_is_shown_with_its_source_times_and_tiers() -> None:
    assert prices_text([KNOWN]).splitlines() == [
        "* acme/m  list 1: m, from 1970-01-02, until 1970-01-03, daily 01:30 to 23:59 UTC",
        "      input $1.25, output $10.00, cache read $0.125, search $0.01",
        "      above 200,000 input tokens: input $2.50, output $0.00",
        "      batch: input $2.50, output $0.00",
        "      batch, above 9 input tokens: input $2.50, output $0.00",
    ]


def test_a_price_row_as_json_is_integers() -> None:
    (shown,) = json.loads(prices_json([KNOWN]))

    assert shown["counts"] is True
    assert shown["price"]["input_nusd_per_mtok"] == 1_250_000_000
    assert shown["price"]["context_tiers"][0]["above_tokens"] == 200_000


def test_a_difference_is_a_line_with_what_each_list_says() -> None:
    assert differences_text([DIFFERENCE]) == "acme/m  cache read  a 1: $0.0015  b 2: -  c: $0.00\n"
    assert json.loads(differences_json([DIFFERENCE]))[0]["amounts_nusd"] == {"a 1": 1_500_000, "b 2": None, "c": 0}


def test_nothing_known_and_no_differences_are_sentences() -> None:
    assert (prices_text([]), differences_text([])) == ("no price is known\n", "no differences\n")


AGENTS = AgentRow(
    period="2026-11",
    source="agents",
    group="a|b\n\x1b[31mc",
    calls=2,
    input_tokens=10,
    cached_tokens=1,
    output_tokens=5,
    reasoning_tokens=2,
    cost_nusd=None,
    unpriced=2,
    reported_nusd=70_000_000,
    subscription_nusd=3 * 10**9,
)


def test_names_from_logs_break_neither_a_table_nor_a_terminal() -> None:
    table, markdown = agent_table([AGENTS]), agent_markdown([AGENTS])

    assert (table.count("\n"), "\x1b" in table) == (2, False)
    assert markdown.splitlines()[2].startswith(
        "| 2026-11 | agents | a\\|b??[31mc | 2 | 10 | 1 | 5 | 2 | unknown | 2 | $0.07 | $3.00 |"
    )


def test_a_month_in_which_nothing_was_used_says_so() -> None:
    assert agent_table([]) == "nothing used\n"
