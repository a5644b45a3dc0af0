"""What an exchange must cost, worked out apart from the product.

Prices are nano-dollars per million tokens. The sum over the kinds of tokens is rounded up once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

NANOS_PER_DOLLAR = 1_000_000_000


@dataclass(frozen=True)
class Price:
    """What each kind of token costs; every token is of one kind."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int
    image_input: int
    image_output: int

    def cost(self, *, uncached: int = 0, output: int = 0, cached: int = 0, **others: int) -> int:
        """Nano-dollars for these tokens; `others` are of the kinds above."""
        millionths = uncached * self.input + output * self.output + cached * self.cache_read
        millionths += sum(tokens * getattr(self, kind) for kind, tokens in others.items())
        return -(-millionths // 1_000_000)

    def most(self, *, input: int, output: int) -> int:
        """The most that so many tokens can cost, whatever their kinds."""
        dearest_input = max(
            self.input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.audio_input,
            self.image_input,
        )
        dearest_output = max(self.output, self.reasoning, self.audio_output, self.image_output)
        return -(-(input * dearest_input + output * dearest_output) // 1_000_000)


def nanos(dollars: Decimal | int) -> int:
    """Dollars of an API answer in nano-dollars; anything finer is an error of the answer."""
    amount = Decimal(dollars) * NANOS_PER_DOLLAR
    assert amount == amount.to_integral_value(), f"{dollars} is finer than a nano-dollar"
    return int(amount)
