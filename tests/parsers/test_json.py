"""Whatever body we accept, no other parser reads another model, bound or flag from it than we do
(R-25, R-26 of docs/red-team.md)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import json_bodies
import json_readers
import pytest
from json_readers import Members
from judge import Question, Verdict, ask

UPSTREAM_MODEL = "upstream-model"
"""What `judge_bodies` changes the model to."""

BATCH = 20_000
BATCHES = int(os.environ.get("REEVE_PARSER_BATCHES", "6"))
"""More than 100,000 bodies; a longer run is asked for by number."""

FORBIDDEN = (
    "models",
    "api_base",
    "base_url",
    "api_key",
    "custom_llm_provider",
    "provider",
    "route",
    "fallbacks",
    "extra_body",
)
FLAT = ("chat_completions", "completions", "responses", "messages", "cohere_chat", "embeddings")
IN_PATH = {
    "stream_generate_content": ("gemini", "gemini-2.5-pro"),
    "converse": ("converse", "amazon.nova-lite-v1:0"),
    "invoke_model": ("invoke", "anthropic.claude-v2:1"),
}
APIS = (
    *((api, "") for api in FLAT),
    *((api, model) for api, (_, model) in IN_PATH.items()),
)


def readers(dialect: str) -> dict[str, Callable[[bytes], Members | None]]:
    names = json_bodies.NAMES[dialect]
    return {
        "Python": json_readers.python,
        "first wins": json_readers.first_wins,
        "Go": json_readers.go(names),
        "letters only": json_readers.letters_only(names),
    }


READERS = {dialect: readers(dialect) for dialect in json_bodies.NAMES}


@pytest.mark.parametrize("name", json_bodies.attacks())
def test_an_attack_written_by_hand_is_refused_or_read_alike_by_all(name):
    body, may_be_accepted = json_bodies.attacks()[name]
    question = Question("chat_completions", "", body)
    [verdict] = ask([question])

    assert verdict.accepted == may_be_accepted, verdict.error
    compare([question], [verdict])


@pytest.mark.parametrize("seed", range(BATCHES))
def test_no_parser_reads_another_request_from_a_body_that_is_accepted(seed):
    bodies = itertools.islice(json_bodies.generated(seed), BATCH)
    questions = [
        Question(*api, body) for body, api in zip(bodies, itertools.cycle(APIS), strict=False)
    ]
    verdicts = ask(questions)

    compare(questions, verdicts)

    # A test of bodies that are all refused would show nothing, and so would one of good ones.
    accepted = sum(verdict.accepted for verdict in verdicts)
    assert 0.15 * BATCH < accepted < 0.85 * BATCH
    reasons = {verdict.error for verdict in verdicts if not verdict.accepted}
    assert len(reasons) > 50


def compare(questions: list[Question], verdicts: list[Verdict]) -> None:
    accepted = [
        (question, verdict)
        for question, verdict in zip(questions, verdicts, strict=True)
        if verdict.accepted
    ]
    bodies = [question.body for question, _ in accepted]
    forwarded = [verdict.forwarded for _, verdict in accepted]
    by_node = json_readers.node(bodies + forwarded)
    pairs = zip(accepted, by_node[: len(accepted)], by_node[len(accepted) :], strict=True)
    for (question, verdict), node, node_of_forwarded in pairs:
        facts = dict(verdict.facts)
        dialect, _ = IN_PATH.get(question.api, ("flat", ""))
        theirs = {name: read(question.body) for name, read in READERS[dialect].items()}
        theirs |= {"Node": node, "serde_json": facts.pop("serde_json")}
        for reader, members in theirs.items():
            check(question, reader, members, facts)
        # Content too: whoever inspects it must see what the provider sees.
        assert as_floats(node) == as_floats(theirs["Python"]), question.body[:2000]

        # What is forwarded is a body as well, with the model that was chosen.
        if question.api in FLAT:
            facts["model"] = UPSTREAM_MODEL
        if question.api in ("chat_completions", "completions") and facts["stream"]:
            facts["include_usage"] = True
        theirs = {name: read(verdict.forwarded) for name, read in READERS[dialect].items()}
        theirs["Node"] = node_of_forwarded
        for reader, members in theirs.items():
            check(question, f"{reader}, forwarded", members, facts)


def check(question: Question, reader: str, members: Members | None, ours: dict) -> None:
    """What we accept every reader accepts, and reads as we do."""
    shown = (reader, question.api, question.body[:2000])
    assert members is not None, shown
    assert not set(FORBIDDEN) & set(members), shown
    theirs = read_flat(question, members) if question.api in FLAT else read_path(question, members)
    assert theirs == {name: ours[name] for name in theirs}, (*shown, theirs, ours)


def read_flat(question: Question, members: Members) -> dict:
    api = question.api
    assert members.get("previous_response_id") is None
    assert members.get("conversation") is None
    tools = members.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        assert not (isinstance(tool, dict) and "model" in tool)
    options = members.get("stream_options") or {}
    answers = [count(members, name) or 1 for name in ("n", "best_of")]
    prompts = members.get("prompt")
    is_many = api == "completions" and isinstance(prompts, list)
    many = sum(isinstance(prompt, (str, list)) for prompt in prompts) if is_many else 1
    return {
        "model": members["model"],
        "stream": members.get("stream") is True,
        "include_usage": options.get("include_usage"),
        "max_output_tokens": flat_bound(api, members) or None,
        "choices": max(answers) * max(many, 1),
    }


def flat_bound(api: str, members: Members) -> int | None:
    if api == "chat_completions":
        new = count(members, "max_completion_tokens")
        return count(members, "max_tokens") if new is None else new
    if api == "responses":
        assert members.get("background") is not True
        return count(members, "max_output_tokens")
    has_bound = api in ("completions", "messages", "cohere_chat")
    return count(members, "max_tokens") if has_bound else None


def read_path(question: Question, members: Members) -> dict:
    """APIs with the model in the path: a body may repeat it."""
    model = question.behind
    repeated = ("model", "modelId") if question.api == "converse" else ("model",)
    for name in repeated:
        if name in members:
            assert str(members[name]).removeprefix("models/") == model
    if question.api == "stream_generate_content":
        assert members.get("cachedContent") is None
        config = members.get("generationConfig") or {}
        # Protobuf's JSON has two spellings.
        bound = count(config, "maxOutputTokens") or count(config, "max_output_tokens")
        choices = count(config, "candidateCount") or 1
    elif question.api == "converse":
        bound = count(members.get("inferenceConfig") or {}, "maxTokens")
        choices = 1
    else:
        bound = count(members, "max_tokens")
        choices = count(members, "n") or 1
    return {"model": model, "max_output_tokens": bound or None, "choices": choices}


def count(members: Members, name: str) -> int | None:
    value = members.get(name)
    assert value is None or type(value) is int, name
    return value


def as_floats(value: object) -> object:
    """As JavaScript has numbers."""
    if isinstance(value, dict):
        return {name: as_floats(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [as_floats(inside) for inside in value]
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_number else value
