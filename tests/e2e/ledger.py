"""The ledger against what the demo provider says it served."""

from __future__ import annotations

from stack import KeyInForce, Stack
from waiting import stays


def records(stack: Stack, key: KeyInForce) -> int:
    path = f"/api/governance/usage/records?virtual_key_id={key.id}&limit=1"
    return stack.admin.get(path)["total_count"]


def assert_is_the_truth(stack: Stack, key: KeyInForce, model: str) -> None:
    """Each request that was served has one record, and the tokens are those that were served."""
    served = stack.demo.served(model)
    usage = stack.admin.usage(key.id, served["requests"])
    assert sum(record.input_tokens for record in usage) == served["input_tokens"]
    assert sum(record.output_tokens for record in usage) == served["output_tokens"]
    assert not [record for record in usage if record.estimated]
    # What is sent again must not count again.
    stays(lambda: records(stack, key) == served["requests"], 1.5, "the number of records")


def truth(stack: Stack, model: str = "gpt-4o", provider: str = "openai") -> int:
    """What the demo provider served of a model, in nano-dollars."""
    served = stack.demo.served(model)
    price = stack.admin.price(provider, model)
    return price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
