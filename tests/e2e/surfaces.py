"""Every API that Reeve knows, and everywhere that callers find it: what to send there, and what it
is charged by. Written down anew here, so that it can be compared with the product's own table.

A `Surface` is a method and a path with `{model}` for the model's name, or with `…` for anything
below. Of an API that is served there is at least one `Call`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from llm import Caller, denial
from stack import Stack

ASKED = "What does a gateway dream of?"
# What is uploaded, and its tokens by the demo provider's rule: four bytes each.
RECORDING = b"forty bytes of a recording of something."
PICTURE = b"forty bytes that are said to be a pic..."
UPLOADED_TOKENS = 10


class Charged(enum.Enum):
    """What a call is charged by."""

    REPORTED = "what the provider reports, exactly"
    ESTIMATED = "what passed by, because the answer has no usage in it; never less than was served"
    RESERVED = "what was reserved, because nothing can be told from the answer"
    FREE = "nothing, as at the vendor"


@dataclass(frozen=True)
class Call:
    """One way to call an API."""

    body: Mapping[str, Any] = field(default_factory=dict)
    """JSON, without the model; the fields of a form if there are `files`."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    query: str = ""
    model: str | None = None
    """Instead of the API's own."""
    streamed: bool = False
    charged: Charged = Charged.REPORTED
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Tokens of the input that have a price of their own."""


@dataclass(frozen=True)
class Api:
    operation: str
    model: str
    calls: tuple[Call, ...]


def both(body: Mapping[str, Any], **more: Any) -> tuple[Call, Call]:
    """Whole, and as a stream that the body asks for."""
    return Call(body, **more), Call({**body, "stream": True}, streamed=True, **more)


SAID = {"messages": [{"role": "user", "content": ASKED}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}
CONVERSATION = {"messages": [{"role": "user", "content": [{"text": ASKED}]}]}
RANKING = {"query": ASKED, "documents": ["Of bridges.", "Of nothing at all."]}
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
TITAN = "amazon.titan-text-express-v1"
# Vendors bill these by other things than tokens; here an administrator gives them a price.
RANKER, RANKER_OF_COHERE = "ranker-by-tokens", "rerank-by-tokens"

CHAT = Api("chat", "gpt-4o", both(SAID))
COMPLETIONS = Api("text_completion", "gpt-3.5-turbo-instruct", both({"prompt": ASKED}))
RESPONSES = Api("chat", "gpt-4o", both({"input": ASKED}))
EMBEDDINGS = Api("embeddings", "text-embedding-3-small", (Call({"input": [ASKED, "one more"]}),))
IMAGE_GENERATIONS = Api("generate_image", "gpt-image-1", both({"prompt": ASKED}))
IMAGE_EDITS = Api(
    "generate_image",
    "gpt-image-1",
    (
        Call({"prompt": ASKED}, {"image": PICTURE}, kinds={"image_input": UPLOADED_TOKENS}),
        Call(
            {"prompt": ASKED, "stream": "true"},
            {"image": PICTURE},
            kinds={"image_input": UPLOADED_TOKENS},
            streamed=True,
        ),
    ),
)
IMAGE_VARIATIONS = Api(
    "generate_image",
    "gpt-image-1",
    (Call({}, {"image": PICTURE}, kinds={"image_input": UPLOADED_TOKENS}),),
)
SPEECH = Api(
    "speech",
    "gpt-4o-mini-tts",
    (
        Call({"input": ASKED, "voice": "alloy"}, charged=Charged.RESERVED),
        Call({"input": ASKED, "voice": "alloy", "stream_format": "sse"}, streamed=True),
    ),
)
TRANSCRIPTIONS = Api(
    "transcribe",
    "gpt-4o-transcribe",
    (
        Call({"prompt": ASKED}, {"file": RECORDING}, kinds={"audio_input": UPLOADED_TOKENS}),
        Call(
            {"prompt": ASKED, "stream": "true"},
            {"file": RECORDING},
            kinds={"audio_input": UPLOADED_TOKENS},
            streamed=True,
        ),
        Call({"response_format": "text"}, {"file": RECORDING}, charged=Charged.ESTIMATED),
    ),
)
TRANSLATIONS = Api(
    "transcribe",
    "gpt-4o-transcribe",
    (Call({"prompt": ASKED}, {"file": RECORDING}, kinds={"audio_input": UPLOADED_TOKENS}),),
)
MODERATIONS = Api(
    "moderate", "omni-moderation-latest", (Call({"input": ASKED}, charged=Charged.FREE),)
)
RERANK = Api("rerank", RANKER, (Call(RANKING),))

MESSAGES = Api("chat", "claude-sonnet-5", both({**SAID, "max_tokens": 1024}))
COUNT_MESSAGE_TOKENS = Api("count_tokens", "claude-sonnet-5", (Call(SAID, charged=Charged.FREE),))

GENERATE = Api("generate_content", "gemini-2.5-flash", (Call(CONTENTS),))
STREAM_GENERATE = Api(
    "generate_content",
    "gemini-2.5-flash",
    (
        Call(CONTENTS, query="alt=sse", streamed=True),
        Call(CONTENTS, streamed=True),  # an array that grows
    ),
)
COUNT_TOKENS = Api("count_tokens", "gemini-2.5-flash", (Call(CONTENTS, charged=Charged.FREE),))
CONTENT = {"content": {"parts": [{"text": ASKED}]}}
EMBED_CONTENT = Api(
    "embeddings", "gemini-embedding-001", (Call(CONTENT, charged=Charged.ESTIMATED),)
)
BATCH_EMBED_CONTENTS = Api(
    "embeddings",
    "gemini-embedding-001",
    (Call({"requests": [CONTENT, CONTENT]}, charged=Charged.ESTIMATED),),
)

CONVERSE = Api("chat", CLAUDE, (Call(CONVERSATION),))
CONVERSE_STREAM = Api("chat", CLAUDE, (Call(CONVERSATION, streamed=True),))
CLAUDES = {**SAID, "max_tokens": 1024, "anthropic_version": "bedrock-2023-05-31"}
INVOKE = Api(
    "text_completion",
    CLAUDE,
    (
        Call(CLAUDES),
        Call({"inputText": ASKED}, model=TITAN),
        Call({"inputText": ASKED}, model="amazon.titan-embed-text-v2:0"),
    ),
)
INVOKE_STREAM = Api(
    "text_completion",
    CLAUDE,
    (Call(CLAUDES, streamed=True), Call({"inputText": ASKED}, model=TITAN, streamed=True)),
)

COHERE_CHAT = Api("chat", "command-a-03-2025", both(SAID))
TEXTS = {"texts": [ASKED, "one more"], "input_type": "search_document"}
COHERE_EMBED = Api("embeddings", "embed-v4.0", (Call(TEXTS),))
COHERE_RERANK = Api("rerank", RANKER_OF_COHERE, (Call(RANKING, charged=Charged.ESTIMATED),))

# `None`: Reeve answers itself. A string: refused, and what the refusal says is not served.
LIST = None
Rows = dict[tuple[str, str], Api | str | None]
FILES, BATCHES, REALTIME, STORED = "files", "batches", "realtime sessions", "objects"


def refused(what: str, *paths: str) -> Rows:
    return {("*", path): what for path in paths}


MODELS: Rows = {("GET", "/models"): LIST, ("GET", "/models/{model}"): LIST}
OPENAI: Rows = {
    ("POST", "/chat/completions"): CHAT,
    ("POST", "/completions"): COMPLETIONS,
    ("POST", "/responses"): RESPONSES,
    ("POST", "/embeddings"): EMBEDDINGS,
    ("POST", "/images/generations"): IMAGE_GENERATIONS,
    ("POST", "/images/edits"): IMAGE_EDITS,
    ("POST", "/images/variations"): IMAGE_VARIATIONS,
    ("POST", "/audio/speech"): SPEECH,
    ("POST", "/audio/transcriptions"): TRANSCRIPTIONS,
    ("POST", "/audio/translations"): TRANSLATIONS,
    ("POST", "/moderations"): MODERATIONS,
    ("POST", "/rerank"): RERANK,
    **MODELS,
    **refused(FILES, "/files/…", "/uploads/…"),
    **refused(BATCHES, "/batches/…"),
    **refused(REALTIME, "/realtime/…"),
    **refused(
        STORED,
        *("/responses/…", "/chat/completions/…", "/conversations/…", "/assistants/…"),
        *("/threads/…", "/vector_stores/…", "/containers/…", "/fine_tuning/…", "/evals/…"),
        "/videos/…",
    ),
}
AZURE: Rows = {
    ("POST", f"/deployments/{{model}}{path}"): OPENAI["POST", path]
    for path in (
        *("/chat/completions", "/completions", "/embeddings", "/images/generations"),
        *("/images/edits", "/audio/speech", "/audio/transcriptions", "/audio/translations"),
    )
}
ANTHROPIC: Rows = {
    ("POST", "/messages"): MESSAGES,
    ("POST", "/messages/count_tokens"): COUNT_MESSAGE_TOKENS,
    **refused(BATCHES, "/messages/batches/…"),
}
ANTHROPIC_AS_OPENAI: Rows = {
    ("POST", "/chat/completions"): Api("chat", "claude-sonnet-5", both(SAID)),
}
ANTHROPIC_ALONE: Rows = {**MODELS, **refused(FILES, "/files/…")}
GEMINI: Rows = {
    ("POST", "/models/{model}:generateContent"): GENERATE,
    ("POST", "/models/{model}:streamGenerateContent"): STREAM_GENERATE,
    ("POST", "/models/{model}:countTokens"): COUNT_TOKENS,
    ("POST", "/models/{model}:embedContent"): EMBED_CONTENT,
    ("POST", "/models/{model}:batchEmbedContents"): BATCH_EMBED_CONTENTS,
    ("POST", "/models/{model}:batchGenerateContent"): BATCHES,
    ("POST", "/models/{model}:asyncBatchEmbedContent"): BATCHES,
}
GEMINI_ALONE: Rows = {
    **MODELS,
    **refused(BATCHES, "/batches/…"),
    **refused(FILES, "/files/…"),
    **refused(STORED, "/cachedContents/…", "/fileSearchStores/…", "/tunedModels/…"),
}
GEMINI_ELSEWHERE: Rows = {
    **refused(FILES, "/upload/…", "/download/…"),
    **refused(REALTIME, "/ws/…"),
}
GEMINI_AS_OPENAI: Rows = {
    ("POST", "/chat/completions"): Api("chat", "gemini-2.5-flash", both(SAID)),
    ("POST", "/embeddings"): Api("embeddings", "gemini-embedding-001", EMBEDDINGS.calls),
    ("POST", "/images/generations"): Api(
        "generate_image", "gemini-2.5-flash-image", IMAGE_GENERATIONS.calls
    ),
    **MODELS,
}
BEDROCK: Rows = {
    ("POST", "/model/{model}/converse"): CONVERSE,
    ("POST", "/model/{model}/converse-stream"): CONVERSE_STREAM,
    ("POST", "/model/{model}/invoke"): INVOKE,
    ("POST", "/model/{model}/invoke-with-response-stream"): INVOKE_STREAM,
    ("POST", "/model/{model}/invoke-with-bidirectional-stream"): REALTIME,
    **refused(BATCHES, "/async-invoke/…"),
}
COHERE: Rows = {
    ("POST", "/v2/chat"): COHERE_CHAT,
    ("POST", "/v2/embed"): COHERE_EMBED,
    ("POST", "/v2/rerank"): COHERE_RERANK,
}
COHERE_ALONE: Rows = {
    ("POST", "/embed"): COHERE_EMBED,
    ("POST", "/rerank"): COHERE_RERANK,
    **MODELS,
    **refused(BATCHES, "/embed-jobs/…"),
    **refused(FILES, "/datasets/…"),
    **refused(STORED, "/connectors/…", "/finetuning/…"),
}

COHERE_AS_OPENAI: Rows = {
    ("POST", "/chat/completions"): Api("chat", COHERE_CHAT.model, both(SAID)),
}


@dataclass(frozen=True)
class Mount:
    """A base URL that SDKs are pointed at."""

    base: str
    dialect: str
    provider: str
    """Where the calls here go."""
    is_named: bool
    """The path itself says which provider."""
    rows: Rows

    def __str__(self) -> str:
        return f"{self.base or '/'}:{self.dialect}"

    def surfaces(self) -> Iterator[Surface]:
        for (method, path), api in self.rows.items():
            yield Surface(self, method, self.base + path, api)


def every_family(prefix: str) -> tuple[Mount, ...]:
    """Where SDKs are pointed at that speak whatever their user asks for."""
    return (
        Mount(f"{prefix}/v1", "openai", "openai", False, OPENAI),
        Mount(f"{prefix}/v1", "anthropic", "anthropic", False, ANTHROPIC),
        Mount(f"{prefix}/v1", "gemini", "gemini", False, GEMINI),
        Mount(f"{prefix}/v1beta", "gemini", "gemini", False, {**GEMINI, **GEMINI_ALONE}),
        Mount(f"{prefix}/v1beta/openai", "openai", "gemini", True, GEMINI_AS_OPENAI),
        Mount(prefix, "bedrock", "bedrock", False, BEDROCK),
        Mount(prefix, "cohere", "cohere", False, COHERE),
    )


MOUNTS = (
    *every_family(""),
    Mount("", "gemini", "gemini", False, GEMINI_ELSEWHERE),
    Mount("/openai/v1", "openai", "openai", True, OPENAI),
    Mount("/openai", "openai", "openai", True, OPENAI),
    Mount("/openai", "openai", "azure", True, AZURE),
    Mount("/openai/openai", "openai", "azure", True, AZURE),
    Mount("/anthropic/v1", "anthropic", "anthropic", True, {**ANTHROPIC, **ANTHROPIC_ALONE}),
    Mount("/anthropic/v1", "openai", "anthropic", True, ANTHROPIC_AS_OPENAI),
    Mount("/genai/v1beta", "gemini", "gemini", True, {**GEMINI, **GEMINI_ALONE}),
    Mount("/genai/v1", "gemini", "gemini", True, {**GEMINI, **GEMINI_ALONE}),
    Mount("/genai/v1beta/openai", "openai", "gemini", True, GEMINI_AS_OPENAI),
    Mount("/genai", "gemini", "gemini", True, GEMINI_ELSEWHERE),
    Mount("/bedrock", "bedrock", "bedrock", True, BEDROCK),
    Mount("/cohere", "cohere", "cohere", True, COHERE),
    Mount("/cohere/v1", "cohere", "cohere", True, COHERE_ALONE),
    Mount("/cohere/compatibility/v1", "openai", "cohere", True, COHERE_AS_OPENAI),
    *every_family("/langchain"),
    Mount("/langchain", "openai", "openai", False, OPENAI),
    *every_family("/litellm"),
    Mount("/litellm", "openai", "openai", False, OPENAI),
)


@dataclass(frozen=True)
class Surface:
    mount: Mount
    method: str
    template: str
    api: Api | str | None

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def is_served(self) -> bool:
        return isinstance(self.api, Api)

    @property
    def is_refused(self) -> bool:
        return isinstance(self.api, str)

    @property
    def is_list(self) -> bool:
        return self.api is LIST

    @property
    def streams(self) -> bool:
        return isinstance(self.api, Api) and any(call.streamed for call in self.api.calls)

    def calls(self) -> tuple[Call, ...]:
        assert isinstance(self.api, Api), self
        return self.api.calls

    def model(self, call: Call) -> str:
        """By its provider's name for it."""
        assert isinstance(self.api, Api), self
        return call.model or self.api.model

    def send(self, caller: Caller, call: Call, headers: Mapping[str, str] = {}) -> httpx.Response:
        return caller.request("POST", self.path(call), headers=headers, **self.content(call))

    def opened(
        self, caller: Caller, call: Call, headers: Mapping[str, str] = {}
    ) -> AbstractContextManager[httpx.Response]:
        """The same, with the answer's body still to be read."""
        path = self.path(call)
        return caller.opened("POST", path, headers=headers, **self.content(call))

    def path(self, call: Call) -> str:
        path = self.template.replace("{model}", quote(self.model(call), safe=""))
        return f"{path}?{call.query}" if call.query else path

    def content(self, call: Call) -> dict[str, Any]:
        """What is sent, as httpx takes it."""
        body = dict(call.body)
        if "{model}" not in self.template:
            # Where nothing else says which provider is meant, its name stands before the model's.
            prefix = "" if self.mount.is_named else f"{self.mount.provider}/"
            body["model"] = prefix + self.model(call)
        if call.files:
            files = {name: (f"{name}.bin", content) for name, content in call.files.items()}
            return {"data": body, "files": files}
        return {"json": body}


SURFACES = [surface for mount in MOUNTS for surface in mount.surfaces()]


def surface(method: str, template: str) -> Surface:
    """The one at this place."""
    (found,) = [s for s in SURFACES if (s.method, s.template) == (method, template)]
    return found


def reservation(stack: Stack, surface: Surface, call: Call, headers: Mapping[str, str] = {}) -> int:
    """What a call reserves, in nano-dollars: a budget without room for it says so."""
    poor = stack.key(
        allow_all_providers=True, budget={"max_limit": 0.000000001, "reset_duration": "1M"}
    )
    refused = surface.send(stack.caller(poor.value), call, headers)
    assert denial(refused, surface.mount.dialect) == (402, "budget_exceeded")
    return refused.json()["requested"]
