"""A thin client of the admin API. Numbers with decimals come back as `Decimal`, digit by digit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from money import Price, nanos
from waiting import PATIENCE, eventually

Json = dict[str, Any]


def parse(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@dataclass(frozen=True)
class Usage:
    """One line of the ledger."""

    provider: str
    model: str
    operation: str
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost: int
    """Nano-dollars."""
    estimated: bool
    streamed: bool
    status: int | None
    outcome: str
    record: Json

    @classmethod
    def of(cls, record: Json) -> Usage:
        return cls(
            provider=record["provider"],
            model=record["model"],
            operation=record["operation"],
            input_tokens=record["usage"]["input_tokens"] or 0,
            cache_read_tokens=record["usage"]["cache_read_tokens"] or 0,
            output_tokens=record["usage"]["output_tokens"] or 0,
            cost=nanos(record["cost"]),
            estimated=record["estimated"],
            streamed=record["streamed"],
            status=record["status"],
            outcome=record["outcome"],
            record=record,
        )


class Refused(AssertionError):
    """The API answered with an error where the test counted on success."""


class Admin:
    def __init__(self, base_url: str, token: str | None = None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(
            base_url=base_url,
            headers=headers,
            # A server that has just restarted knows nothing of the connections before.
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=10,
            trust_env=False,
        )

    def close(self) -> None:
        self.http.close()

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Any answer, good or bad."""
        if body is not None:
            options["json"] = body
        return self.http.request(method, path, **options)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The body of a good answer."""
        response = self.request(method, path, body)
        if not response.is_success:
            raise Refused(
                f"{method} {path} {json.dumps(body)}: {response.status_code} {response.text}"
            )
        return parse(response.text) if response.content else None

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.call("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)

    # ---- resources

    def enable_governance(self, enabled: bool = True) -> None:
        self.put("/api/config", {"client_config": {"enable_governance": enabled}})

    def create_key(self, **fields: Any) -> Json:
        return self.post("/api/governance/virtual-keys", fields)["virtual_key"]

    def key(self, key_id: str) -> Json:
        return self.get(f"/api/governance/virtual-keys/{key_id}")["virtual_key"]

    def update_key(self, key_id: str, **fields: Any) -> Json:
        return self.put(f"/api/governance/virtual-keys/{key_id}", fields)["virtual_key"]

    def delete_key(self, key_id: str) -> None:
        self.delete(f"/api/governance/virtual-keys/{key_id}")

    def create_team(self, **fields: Any) -> Json:
        return self.post("/api/governance/teams", fields)["team"]

    def team(self, team_id: str) -> Json:
        return self.get(f"/api/governance/teams/{team_id}")["team"]

    def create_customer(self, **fields: Any) -> Json:
        return self.post("/api/governance/customers", fields)["customer"]

    def customer(self, customer_id: str) -> Json:
        return self.get(f"/api/governance/customers/{customer_id}")["customer"]

    def create_provider(self, name: str, url: str, key: str = "sk-of-it") -> None:
        """A provider in OpenAI's format at `url`. Its models are those of OpenAI's catalogue."""
        self.post(
            "/api/providers",
            {
                "name": name,
                "custom_provider_config": {"base_provider_type": "openai"},
                "network_config": {"base_url": f"{url}/v1"},
                "keys": [{"name": "main", "value": key}],
            },
        )

    def create_preset(self, name: str, base_url: str, key: str = "sk-of-it") -> None:
        """A provider that Reeve knows by its name, somewhere else than usual."""
        self.post(
            "/api/providers",
            {
                "name": name,
                "network_config": {"base_url": base_url},
                "keys": [{"name": "main", "value": key}],
            },
        )

    def rotate_provider_key(self, name: str, key: str) -> None:
        (only,) = self.get(f"/api/providers/{name}/keys")["keys"]
        self.put(f"/api/providers/{name}/keys/{only['id']}", {"value": key})

    def price(self, provider: str, model: str) -> Price:
        """What the catalogue says the model costs. A kind without a price costs what its wider
        kind does."""
        listed = self.get(f"/api/models/{provider}/{model}")["model"]

        def nanos_per_million(kind: str, otherwise: int) -> int:
            dollars = listed[f"{kind}_cost_per_million_tokens"]
            return otherwise if dollars is None else nanos(dollars)

        input_price = nanos_per_million("input", 0)
        assert input_price, f"{provider}/{model} has no price"
        # Embeddings have no output to pay for.
        output_price = nanos_per_million("output", 0)
        cache_write = nanos_per_million("cache_write", input_price)
        return Price(
            input=input_price,
            output=output_price,
            cache_read=nanos_per_million("cache_read", input_price),
            cache_write_5m=cache_write,
            cache_write_1h=nanos_per_million("cache_write_1h", cache_write),
            reasoning=nanos_per_million("reasoning", output_price),
            audio_input=nanos_per_million("audio_input", input_price),
            audio_output=nanos_per_million("audio_output", output_price),
            image_input=nanos_per_million("image_input", input_price),
            image_output=nanos_per_million("image_output", output_price),
        )

    def set_price(self, provider: str, model: str, *, input: float, output: float) -> None:
        """Adds a model that costs so many dollars per million tokens."""
        fields = {"provider": provider, "model": model}
        prices = {"input": input, "output": output}
        prices = {f"{kind}_cost_per_million_tokens": price for kind, price in prices.items()}
        self.post("/api/models", fields | prices)

    def records_of(self, key_id: str) -> list[Usage]:
        """The records of a key as they are now, oldest first; up to 1,000."""
        path = f"/api/governance/usage/records?virtual_key_id={key_id}&limit=1000"
        # The API gives the newest first.
        return [Usage.of(record) for record in reversed(self.get(path)["records"])]

    def usage(self, key_id: str, count: int, within: float = PATIENCE) -> list[Usage]:
        """The records of a key, oldest first, once there are `count` of them; more is an error."""

        def arrived() -> list[list[Usage]]:
            records = self.records_of(key_id)
            assert len(records) >= count, f"{len(records)} of {count} records"
            return [records]

        (records,) = eventually(arrived, within, f"{count} usage records of key {key_id}")
        assert len(records) == count, f"{len(records)} records instead of {count}: {records}"
        return records

    def one_usage(self, key_id: str, within: float = PATIENCE) -> Usage:
        """The only record of a key."""
        return self.usage(key_id, 1, within)[0]
