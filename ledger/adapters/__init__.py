"""What stands behind the ports.

``sqlite``          the journal and the keys in one file
``sqlite_facts``    facts about models in the same file, and the current snapshot
``aliases``         the reviewed names of models
``litellm_prices``  the price list that litellm carries
``genai_prices``    genai-prices' list, with its dates, as it is compiled in ``ledger/data``

Sources of facts, each a pure ``parse(payload, *, fetched_at_us) -> Parsed`` (the two lists above: ``facts``):
``artificial_analysis``, ``openrouter``, ``models_dev``, ``lmarena``  what others publish
``helios``, ``lm_eval``, ``inspect_logs``                              what harnesses measured
``overrides``                                                          what the operator says
"""
