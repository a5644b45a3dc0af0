"""What an exchange must cost, worked out apart from the product.

Prices are nano-dollars per million tokens. The sum over the kinds of tokens is rounded up once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

NANOS_PER_DOLLAR = 1_000_000_000


@dataclass(frozen=True)
class Price:
    input: int
    output: int
    cache_read: int

    def cost(self, *, uncached: int, output: int, cached: int = 0) -> int:
        """Nano-dollars for these tokens."""
        millionths = uncached * self.input + output * self.output + cached * self.cache_read
        return -(-millionths // 1_000_000)


def nanos(dollars: Decimal | int) -> int:
    """Dollars of an API answer in nano-dollars; anything finer is an error of the answer."""
    amount = Decimal(dollars) * NANOS_PER_DOLLAR
    assert amount == amount.to_integral_value(), f"{dollars} is finer than a nano-dollar"
    return int(amount)
