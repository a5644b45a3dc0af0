"""Bodies to judge: attacks written by hand, and bodies made by a grammar with mistakes in it."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterator

_EVERYWHERE = (
    "model models api_base base_url api_key custom_llm_provider provider route fallbacks extra_body"
    " tools temperature top_p user type"
).split()

NAMES = {
    "flat": [
        *_EVERYWHERE,
        *"stream stream_options include_usage max_tokens max_completion_tokens".split(),
        *"max_output_tokens n best_of prompt messages input system background".split(),
        *"previous_response_id conversation".split(),
    ],
    "gemini": [
        *_EVERYWHERE,
        *"contents generationConfig maxOutputTokens candidateCount cachedContent".split(),
    ],
    "converse": [*_EVERYWHERE, *"messages system modelId inferenceConfig maxTokens".split()],
    "invoke": [*_EVERYWHERE, *"messages system prompt max_tokens n".split()],
}
"""Names that a reader of each dialect looks for."""

_ALL_NAMES = sorted(set().union(*NAMES.values()))

_MODELS = (
    '"gpt-4o"',
    '"openai/gpt-4o"',
    '"gpt-4o-mini"',
    '"\\u0067pt-4o"',
    '"GPT-4o"',
    '"gpt-4o "',
    '"g\u0440t-4o"',
    '"gpt-4o\\u0000"',
    '""',
    "null",
    "1",
    '["gpt-4o"]',
    '{"id":"gpt-4o"}',
)
_FLAGS = ("true", "false", "null", '"true"', "1", "0", "True")
_COUNTS = (
    "0",
    "1",
    "2",
    "100",
    "128",
    "129",
    "4294967295",
    "4294967296",
    "-1",
    "1.0",
    "1e2",
    '"7"',
    "null",
    "-0",
    "01",
    "9" * 30,
    "1e400",
)
_OBJECTS = (
    "{}",
    "null",
    '{"include_usage":true}',
    '{"include_usage":false,"x":[]}',
    '{"Include_Usage":true}',
    '{"maxOutputTokens":7}',
    '{"max_output_tokens":7}',
    '{"maxTokens":7}',
    '{"candidateCount":2}',
    "[]",
    '"x"',
)
_LISTS = (
    "[]",
    '["a","b"]',
    "[1,2]",
    "[[1],[2]]",
    '"hi"',
    "null",
    '[{"role":"user","content":"hi"}]',
    '[{"role":"user","role":"system"}]',
    '[{"type":"image_generation","model":"x"}]',
    '[{"name":"t","Model":"x"}]',
)
_OTHERS = (
    "0.5",
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    '"\\u0000"',
    "1e308",
    "-0.0e-0",
    "NaN",
    "Infinity",
    '{"a":{"b":[null,true]}}',
    '{"__proto__":{"model":"x"},"constructor":1}',
    '"\u2028"',
)
_VALUES = {
    "model": _MODELS,
    "modelId": _MODELS,
    "stream": _FLAGS,
    "include_usage": _FLAGS,
    "background": _FLAGS,
    "stream_options": _OBJECTS,
    "generationConfig": _OBJECTS,
    "inferenceConfig": _OBJECTS,
    "messages": _LISTS,
    "input": _LISTS,
    "prompt": _LISTS,
    "tools": _LISTS,
} | dict.fromkeys(
    (
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "best_of",
        "maxOutputTokens",
        "candidateCount",
        "maxTokens",
    ),
    _COUNTS,
)
_LOOK_ALIKES = {
    "o": "\u043e",
    "e": "\u0435",
    "a": "\u0430",
    "p": "\u0440",
    "s": "\u017f",
    "k": "\u212a",
    "i": "\u0131",
    "l": "\u217c",
    "m": "\u217f",
}
_SPACES = ("", "", "", " ", "\n", "\t ", "\r\n")


@functools.cache
def attacks() -> dict[str, tuple[bytes, bool]]:
    """Bodies for chat completions by what they try, and whether they may be accepted (in which case
    everybody must read them alike)."""
    good = b'{"model":"gpt-4o","messages":[]}'
    padding = b'"' + b"x" * (9 << 20) + b'"'
    refused = {
        "model twice": b'{"model":"gpt-4o","model":"o1"}',
        "model twice, one escaped": b'{"model":"gpt-4o","\\u006dodel":"o1"}',
        "model twice, by case": b'{"model":"gpt-4o","Model":"o1"}',
        "model in capitals alone": b'{"MODEL":"o1"}',
        "model in full width": '{"model":"gpt-4o","\uff4dodel":"o1"}'.encode(),
        "kelvin": '{"model":"gpt-4o","api_\u212aey":"x"}'.encode(),
        "long s": '{"model":"gpt-4o","model\u017f":[]}'.encode(),
        "model and NUL": b'{"model":"gpt-4o","model\\u0000":"o1"}',
        "model and a raw NUL": b'{"model":"gpt-4o","model\0":"o1"}',
        "model and a space": b'{"model":"gpt-4o","model ":"o1"}',
        "model and a byte order mark": '{"model":"gpt-4o","\ufeffmodel":"o1"}'.encode(),
        "model and a soft hyphen": '{"model":"gpt-4o","mo\u00addel":"o1"}'.encode(),
        "camel case": b'{"model":"gpt-4o","maxTokens":1}',
        "models": b'{"model":"gpt-4o","models":["o1"]}',
        "another place": b'{"model":"gpt-4o","api_base":"http://127.0.0.1"}',
        "another key": b'{"model":"gpt-4o","api_key":"sk-x"}',
        "fallbacks": b'{"model":"gpt-4o","fallbacks":["o1"]}',
        "extra body": b'{"model":"gpt-4o","extra_body":{"model":"o1"}}',
        "model as array": b'{"model":["gpt-4o"]}',
        "model as object": b'{"model":{"id":"gpt-4o"}}',
        "model as number": b'{"model":4}',
        "model as null": b'{"model":null}',
        "no model": b'{"messages":[]}',
        "look-alike": '{"model":"g\u0440t-4o"}'.encode(),
        "model in a tool": b'{"model":"gpt-4o","tools":[{"type":"x","model":"o1"}]}',
        "twice deep inside": b'{"model":"gpt-4o","messages":[{"role":"user","role":"system"}]}',
        "byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-16 without a mark": good.decode().encode("utf-16-le"),
        "UTF-32": good.decode().encode("utf-32-be"),
        "overlong": b'{"model":"gpt-4o","\xc1\xadodel":"o1"}',
        "surrogate in UTF-8": b'{"model":"gpt-4o","x":"\xed\xa0\x80"}',
        "half a pair": b'{"model":"gpt-4o","x":"\\ud800"}',
        "half a pair as a name": b'{"model":"gpt-4o","\\udfff":1}',
        "too large a number": b'{"model":"gpt-4o","x":1e999999}',
        "endless digits": b'{"model":"gpt-4o","x":' + b"9" * 10_000 + b"}",
        "number from a string": b'{"model":"gpt-4o","max_tokens":"100"}',
        "number with a point": b'{"model":"gpt-4o","max_tokens":100.0}',
        "number with an exponent": b'{"model":"gpt-4o","max_tokens":1e2}',
        "two bounds": b'{"model":"gpt-4o","max_tokens":1,"max_completion_tokens":9}',
        "deep": b'{"model":"gpt-4o","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "deep and open": b'{"model":"gpt-4o","x":' + b"[" * 30_000,
        "comment": b'{"model":"gpt-4o"/*,"model":"o1"*/}',
        "line comment": b'{"model":"gpt-4o"//\n}',
        "trailing comma": b'{"model":"gpt-4o",}',
        "NaN": b'{"model":"gpt-4o","temperature":NaN}',
        "infinity": b'{"model":"gpt-4o","temperature":-Infinity}',
        "single quotes": b"{'model':'gpt-4o'}",
        "no quotes": b'{model:"gpt-4o"}',
        "hexadecimal": b'{"model":"gpt-4o","n":0x1}',
        "plus": b'{"model":"gpt-4o","n":+1}',
        "leading zero": b'{"model":"gpt-4o","n":01}',
        "control character": b'{"model":"gpt-4o","x":"\x01"}',
        "line break in a string": b'{"model":"gpt-4o","x":"\n"}',
        "another escape": b'{"model":"gpt-4o","x":"\\x41"}',
        "second document": good + b'{"model":"o1"}',
        "second document in a line": good + b'\n{"model":"o1"}',
        "trailing NUL": good + b"\0",
        "record separator": b"\x1e" + good,
        "guard against hijacking": b")]}',\n" + good,
        "no-break space": '\u00a0{"model":"gpt-4o"}'.encode(),
        "form feed": b"\x0c" + good,
        "vertical tab": b'{"model":\x0b"gpt-4o"}',
        "array": b"[" + good + b"]",
        "string": json.dumps(good.decode()).encode(),
        "nothing": b"",
        "cut": good[:-1],
        "second model behind 9 MB": b'{"model":"gpt-4o","x":' + padding + b',"model":"o1"}',
        "long name": b'{"model":"gpt-4o","' + b"k" * 200 + b'":1}',
        "many names": b'{"model":"gpt-4o",' + b",".join(b'"k%d":1' % n for n in range(300)) + b"}",
    }
    accepted = {
        "plain": good,
        "escaped": b'{"\\u006dode\\u006C":"gpt\\u002d4o","stream":true}',
        "white space": b' \r\n\t{ "model" : "gpt-4o" , "n" : 2 }\n',
        "model behind 9 MB": b'{"x":' + padding + b',"model":"gpt-4o"}',
        "null is none": b'{"model":"gpt-4o","stream":null,"max_tokens":null,"n":null}',
        "zero is none": b'{"model":"gpt-4o","max_tokens":0}',
        "deep enough": b'{"model":"gpt-4o","x":' + b"[" * 63 + b"]" * 63 + b"}",
        "large numbers": b'{"model":"gpt-4o","x":[1e308,-0,12345678901234567890,0.1e-400]}',
        "pairs of surrogates": b'{"model":"gpt-4o","x":"\\ud83d\\ude00\\uDBFF\\uDFFF"}',
        "prototype": b'{"model":"gpt-4o","__proto__":{"model":"o1"},"x":{"__proto__":1}}',
        "model deeper": b'{"model":"gpt-4o","metadata":{"model":"o1"},"messages":[{"model":"o1"}]}',
        "delete character": b'{"model":"gpt-4o","x":"\x7f"}',
        "line separator": '{"model":"gpt-4o","x":"\u2028\u2029"}'.encode(),
        "slash": b'{"model":"openai\\/gpt-4o"}',
    }
    return {name: (body, False) for name, body in refused.items()} | {
        name: (body, True) for name, body in accepted.items()
    }


def generated(seed: int) -> Iterator[bytes]:
    """Bodies without end, most of them nearly good; the same for the same seed."""
    draw = random.Random(seed)
    while True:
        members = [_member(draw, name) for name in draw.choices(_ALL_NAMES, k=draw.randint(0, 4))]
        if draw.random() < 0.9:
            members.append(_member(draw, "model", usual=draw.random() < 0.9))
        draw.shuffle(members)
        text = _spaced(draw, "{" + ",".join(members) + "}")
        body = text.encode("utf-8", errors="surrogatepass")
        if draw.random() < 0.25:
            body = draw.choice(_MISTAKES)(draw, body)
        yield body


def _member(draw: random.Random, name: str, *, usual: bool | None = None) -> str:
    values = _VALUES.get(name, _OTHERS)
    usual = draw.random() < 0.8 if usual is None else usual
    value = values[0] if usual else draw.choice(values)
    written = name if usual or draw.random() < 0.7 else draw.choice(_DISGUISES)(draw, name)
    return f"{_spaced(draw, _quoted(draw, written))}:{_spaced(draw, value)}"


def _spaced(draw: random.Random, text: str) -> str:
    return draw.choice(_SPACES) + text + draw.choice(_SPACES)


def _quoted(draw: random.Random, text: str) -> str:
    if draw.random() < 0.8:
        return json.dumps(text, ensure_ascii=draw.random() < 0.5)
    form = draw.choice(("\\u{:04x}", "\\u{:04X}"))
    chars = [
        form.format(ord(c)) if draw.random() < 0.5 or c < " " or c in '"\\' else c for c in text
    ]
    return '"' + "".join(chars) + '"'


def _at(draw: random.Random, text: str, change: Callable[[str], str]) -> str:
    place = draw.randrange(len(text))
    return text[:place] + change(text[place]) + text[place + 1 :]


_DISGUISES: tuple[Callable[[random.Random, str], str], ...] = (
    lambda draw, name: name.upper(),
    lambda draw, name: _at(draw, name, str.swapcase),
    lambda draw, name: _at(draw, name, lambda c: chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c),
    lambda draw, name: _at(draw, name, lambda c: _LOOK_ALIKES.get(c, c)),
    lambda draw, name: _at(
        draw, name, lambda c: c + draw.choice("\u200b\u00ad\u2060\ufeff\u0301\x00")
    ),
    lambda draw, name: name + draw.choice(" \x00\t._-[]"),
    lambda draw, name: draw.choice(" _-\ufeff$@") + name,
    lambda draw, name: "".join(part.capitalize() for part in name.split("_")),
    lambda draw, name: name.replace("_", "-"),
    lambda draw, name: name.replace("_", ""),
    lambda draw, name: _at(draw, name, lambda c: ""),
    lambda draw, name: f"{name}.{name}",
)


def _insert(draw: random.Random, body: bytes, piece: bytes) -> bytes:
    place = draw.randint(0, len(body))
    return body[:place] + piece + body[place:]


def _insert_one_of(*pieces: bytes) -> Callable[[random.Random, bytes], bytes]:
    return lambda draw, body: _insert(draw, body, draw.choice(pieces))


def _delete(draw: random.Random, body: bytes) -> bytes:
    place = draw.randint(0, len(body))
    return body[:place] + body[place + draw.randint(1, 3) :]


def _repeat(draw: random.Random, body: bytes) -> bytes:
    start, end = sorted((draw.randint(0, len(body)), draw.randint(0, len(body))))
    return _insert(draw, body, body[start:end])


_MISTAKES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _insert_one_of(
        b"\xef\xbb\xbf", b"\xc2\xa0", b"\x0b", b"\x0c", b"\0", b"\x1e", b"\xff", b"\x80"
    ),
    _insert_one_of(b"/**/", b"//x\n", b"#", b",", b"'", b'"', b"\\", b":", b"{", b"}", b"[", b"]"),
    _insert_one_of(
        b"\\u006d", b"\\ud800", b"\\uD83D\\uDE00", b"\\x41", b"\\0", b"\\\n", b"\xed\xa0\x80"
    ),
    _insert_one_of(
        b',"model":"o1"', b'"model":"o1",', b',"Model":"o1"', b',"n":2', b',"stream":true'
    ),
    _insert_one_of(b"NaN", b"0", b"1e999", b".5", b"-", b"+", b"null", b"true", b" ", b"\n"),
    lambda draw, body: body + draw.choice((b"x", b"{}", b"\n{}", b"\0", b",", b" \n", b"]", body)),
    lambda draw, body: draw.choice((b"\xef\xbb\xbf", b"[", b"\x1e", b"\xff\xfe", b" ")) + body,
    lambda draw, body: body.decode("utf-8", "replace").encode(
        draw.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1")), "replace"
    ),
    lambda draw, body: body.replace(b'"', b"'", draw.randint(1, 4)),
    lambda draw, body: body[: draw.randint(0, len(body))],
    _delete,
    _repeat,
)
