"""How much of a budget a request reserves, and what becomes of it when too little is left.

The bounds that these tests show are those of docs/limits.md, "Reservations".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest

from llm import denial
from money import Price
from stack import KeyInForce, Stack

MODEL = "gpt-4o"
BOUND = 16_000
REAL = 500
PARALLEL = 20


def configure(stack: Stack, **fields: str) -> None:
    stack.admin.put("/api/config", {"client_config": fields})


def dollars(nanos: int) -> float:
    return float(f"{nanos // 10**9}.{nanos % 10**9:09d}")


def budgeted(stack: Stack, nanos: int) -> KeyInForce:
    return stack.key(budget={"max_limit": dollars(nanos), "reset_duration": "1M"})


def truth(stack: Stack, price: Price, model: str = MODEL) -> int:
    served = stack.demo.served(model)
    return price.cost(uncached=served["input_tokens"], output=served["output_tokens"])


def ask(stack: Stack, key: KeyInForce, bound: int = BOUND, real: int = REAL) -> httpx.Response:
    return stack.caller(key.value).chat(
        MODEL, max_tokens=bound, x_demo_output_tokens=str(real), x_demo_delay_ms="20"
    )


def until_refused(call: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Always so many in flight, until one is refused; gives all answers, in the order they came."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        running = {pool.submit(call) for _ in range(PARALLEL)}
        while running:
            done = next(as_completed(running))
            running.remove(done)
            answers.append(done.result())
            if all(answer.status_code == 200 for answer in answers):
                running.add(pool.submit(call))
    return answers


@pytest.fixture
def large(new_stack) -> Stack:
    """A stack with a model that can write 64,000 tokens."""
    stack = new_stack()
    model = {"provider": "openai", "model": "long-writer", "max_output_tokens": 64_000}
    prices = {"input_cost_per_million_tokens": 3, "output_cost_per_million_tokens": 15}
    stack.admin.post("/api/models", model | prices)
    return stack


def ask_large(stack: Stack, key: KeyInForce) -> httpx.Response:
    return stack.caller(key.value).chat(
        "long-writer", max_tokens=64_000, x_demo_output_tokens=str(REAL), x_demo_delay_ms="20"
    )


def test_balanced_refuses_nobody_before_95_percent_of_the_budget_are_spent(large: Stack) -> None:
    """max_tokens 64000, 20 in parallel, answers of 500 tokens."""
    configure(large, reservation="balanced")
    price = large.admin.price("openai", "long-writer")
    one = price.cost(uncached=2, output=REAL)
    limit = 1_000 * one
    key = budgeted(large, limit)
    answers = until_refused(lambda: ask_large(large, key))
    # The last of a limit may be taken by another at the same moment, which is a 503.
    assert {answer.status_code for answer in answers} <= {200, 402, 503}
    before = next(index for index, answer in enumerate(answers) if answer.status_code != 200)
    print(f"first refusal after {before} answers of 1000 that the budget is enough for")
    assert before * one >= limit * 95 // 100
    # None was longer than what was reserved for it, so nothing is overspent.
    assert truth(large, price, "long-writer") <= limit
    served = large.demo.served("long-writer")["requests"]
    assert sum(record.cost for record in large.admin.usage(key.id, served, 15)) == truth(
        large, price, "long-writer"
    )


def test_strict_refuses_the_same_long_before(large: Stack) -> None:
    """So that the test above shows something."""
    price = large.admin.price("openai", "long-writer")
    one = price.cost(uncached=2, output=REAL)
    key = budgeted(large, 1_000 * one)
    answers = until_refused(lambda: ask_large(large, key))
    before = next(index for index, answer in enumerate(answers) if answer.status_code != 200)
    assert before * one < 1_000 * one * 95 // 100


def test_balanced_overspends_by_no_more_than_its_bound(new_stack) -> None:
    """Answers that are suddenly as long as they may be: each is charged whole, and the budget is
    overspent by what those in flight use beyond their reservations, and no more."""
    stack = new_stack()
    configure(stack, reservation="balanced")
    price = stack.admin.price("openai", MODEL)
    one = price.cost(uncached=2, output=REAL)
    limit = 60 * one
    key = budgeted(stack, limit)
    for _ in range(20):  # both workers learn
        assert ask(stack, key).status_code == 200
    learned = truth(stack, price)
    until_refused(lambda: ask(stack, key, real=BOUND))
    spent = truth(stack, price)
    assert spent > limit > learned
    beyond = price.cost(output=BOUND) - price.cost(output=REAL + REAL // 4)
    assert spent - limit <= PARALLEL * beyond
    served = stack.demo.served(MODEL)["requests"]
    assert sum(record.cost for record in stack.admin.usage(key.id, served, 15)) == spent
    # What is overspent is spent: nothing more passes.
    assert denial(ask(stack, key)) == (402, "budget_exceeded")


def test_a_request_is_clamped_to_what_is_left(new_stack) -> None:
    stack = new_stack()
    price = stack.admin.price("openai", MODEL)
    limit = price.cost(uncached=400, output=2_000)
    key = budgeted(stack, limit)
    assert denial(ask(stack, key, real=BOUND)) == (402, "budget_exceeded")
    configure(stack, when_short="clamp")
    answer = ask(stack, key, real=BOUND)
    assert answer.status_code == 200
    clamped = int(answer.headers["x-reeve-clamped-max-tokens"])
    assert 2_000 <= clamped < 2_100
    sent = json.loads(stack.demo.last()["body"])
    assert sent["max_tokens"] == clamped
    spent = truth(stack, price)
    assert limit - price.cost(uncached=400, output=100) < spent <= limit
    stack.admin.usage(key.id, 1)
    # What is left is enough for no more than a few words.
    assert denial(ask(stack, key, real=BOUND)) == (402, "budget_exceeded")
    assert stack.demo.requests() == 1


def test_a_request_that_fits_or_sets_no_bound_is_not_touched(new_stack) -> None:
    stack = new_stack()
    configure(stack, when_short="clamp")
    price = stack.admin.price("openai", MODEL)
    key = budgeted(stack, price.cost(uncached=400, output=2_000))
    answer = ask(stack, key, bound=300, real=10)
    assert answer.status_code == 200 and "x-reeve-clamped-max-tokens" not in answer.headers
    assert denial(stack.caller(key.value).chat(MODEL)) == (402, "budget_exceeded")
