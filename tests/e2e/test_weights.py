"""Which provider a request is sent to first: by weight, and the same one for all of a session."""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from providers import MODEL, Providers, answered_by


def test_requests_split_by_weight_and_the_ledger_agrees(providers: Providers) -> None:
    """Two thousand over the real Envoy; the ledger is each provider's own count. By chance one of the shares is
    beyond five sigma once in 500,000 runs."""
    shares = {"openai": 0.5, "second": 0.3, "third": 0.2}
    key = providers.stack.key(
        provider_configs=[
            {"provider": name, "weight": share, "allowed_models": ["*"]}
            for name, share in shares.items()
        ]
        + [{"provider": "outside", "weight": None, "allowed_models": ["*"]}]
    )
    caller = providers.stack.caller(key.value)
    count = 2_000
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: caller.chat(MODEL, "Hi", max_tokens=9), range(count)))
    drawn = Counter(answered_by(answer)[0] for answer in answers)
    assert providers.requests() == dict(drawn)
    for name, share in shares.items():
        sigma = math.sqrt(count * share * (1 - share))
        assert abs(drawn[name] - count * share) <= 5 * sigma, drawn
    assert not providers.outside.take()


def test_a_session_stays_with_its_provider_while_that_answers(providers: Providers) -> None:
    names = ("openai", "second", "third")
    key = providers.stack.key(
        provider_configs=[
            {"provider": name, "weight": 1, "allowed_models": ["*"]} for name in names
        ]
    )
    caller = providers.stack.caller(key.value)
    sessions = [f"session-{number}" for number in range(40)]
    homes = {}
    for session in sessions:
        seen = {answered_by(caller.chat(MODEL, x_bf_session_id=session))[0] for _ in range(4)}
        (homes[session],) = seen
    # One of three is left out by chance once in 3,000,000 runs.
    assert set(homes.values()) == set(names), "they are spread"
    session, home = next(iter(homes.items()))
    fault = providers.fault(home, "503")
    away = caller.chat(MODEL, x_bf_session_id=session, x_demo_fault=fault)
    assert answered_by(away)[0] != home
    assert answered_by(caller.chat(MODEL, x_bf_session_id=session))[0] == home
