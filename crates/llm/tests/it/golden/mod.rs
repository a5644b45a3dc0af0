//! The golden files: answers of every provider, and what each says was used.
//!
//! They are written by hand after the providers' public API references, not recorded, and hold
//! nothing of those texts. Strings in them try to pass for usage.
//!
//! | folder | reference |
//! |---|---|
//! | `openai` | OpenAI: chat completions, completions, responses, embeddings, images, audio, moderations |
//! | `azure` | Azure OpenAI: content filtering |
//! | `groq`, `mistral`, `deepseek`, `xai`, `perplexity`, `openrouter`, `together`, `fireworks`, `jina` | the provider's own, for what it adds to OpenAI's |
//! | `ollama`, `vllm` | the server's own, likewise |
//! | `anthropic` | Anthropic: messages, streaming, prompt caching, compaction, token counting |
//! | `gemini` | Google: Gemini API (`UsageMetadata`), OpenAI compatibility |
//! | `bedrock` | Amazon: Converse, InvokeModel, inference parameters of Claude, Nova and Titan |
//! | `cohere` | Cohere: v2 chat, embed, rerank |
//!
//! A `.json` is a body as it is sent, a `.sse` an event stream; a `.frames` has a line for each
//! message of an Amazon event stream (see `frames`).

mod anthropic;
mod bedrock;
mod cohere;
mod compatible;
mod gemini;
mod openai;

use std::sync::LazyLock;

use reeve_llm::{Endpoint, Metered, ResponseHead, ResponseMeter, Usage};

use crate::frames::frames;

/// An answer, and what must be read from it.
#[derive(Clone)]
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) endpoint: Endpoint,
    pub(crate) head: ResponseHead<'static>,
    file: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) usage: Usage,
    pub(crate) complete: bool,
    /// Bytes of generated text; counted in streams only.
    pub(crate) text_bytes: u64,
    /// Up to here, the first generated text has been sent.
    pub(crate) text_from: Option<usize>,
    /// The event that only Reeve asked for, if the answer has it.
    pub(crate) has_usage_chunk: bool,
}

/// `golden!("folder/name.sse", Endpoint, field = count)`: the counts that are there.
macro_rules! golden {
    ($name:literal, $endpoint:ident $(, $field:ident = $count:literal)* $(,)?) => {
        $crate::golden::Golden::new(
            $name,
            reeve_llm::Endpoint::$endpoint,
            include_str!(concat!("../../golden/", $name)),
            reeve_llm::Usage { $($field: Some($count),)* ..reeve_llm::Usage::default() },
        )
    };
}
use golden;

static ALL: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    [
        openai::goldens(),
        compatible::goldens(),
        anthropic::goldens(),
        gemini::goldens(),
        bedrock::goldens(),
        cohere::goldens(),
    ]
    .concat()
});

/// All of them.
pub(crate) fn all() -> &'static [Golden] {
    &ALL
}

/// Those that are one JSON document.
pub(crate) fn documents() -> impl Iterator<Item = &'static Golden> {
    let all = all().iter();
    all.filter(|golden| !golden.meter(false).is_stream())
}

/// Those that come piece by piece.
pub(crate) fn streams() -> impl Iterator<Item = &'static Golden> {
    let all = all().iter();
    all.filter(|golden| golden.meter(false).is_stream())
}

/// The golden of that name.
pub(crate) fn named(name: &str) -> &'static Golden {
    all().iter().find(|golden| golden.name == name).unwrap()
}

impl Golden {
    fn new(name: &'static str, endpoint: Endpoint, file: &'static str, usage: Usage) -> Self {
        let (head, bytes) = match name.rsplit_once('.') {
            Some((_, "json")) => (JSON, file.as_bytes().to_vec()),
            Some((_, "sse")) => (EVENT_STREAM, file.as_bytes().to_vec()),
            Some((_, "frames")) => (FRAMES, frames(endpoint, file).concat()),
            _ => panic!("{name} has an unknown ending"),
        };
        Self {
            name,
            endpoint,
            head,
            file,
            bytes,
            usage,
            complete: true,
            text_bytes: 0,
            text_from: None,
            has_usage_chunk: false,
        }
    }

    /// The provider does not say all that a bill needs.
    fn incomplete(self) -> Self {
        Self {
            complete: false,
            ..self
        }
    }

    /// A stream with so many bytes of generated text, of which this comes first.
    fn text(self, first: &str, bytes: u64) -> Self {
        let end = if self.head.content_type == FRAMES.content_type {
            // A message counts once all of it is there.
            let line = self
                .file
                .lines()
                .position(|line| line.contains(first))
                .unwrap();
            let frames = frames(self.endpoint, self.file);
            frames[..=line].iter().map(Vec::len).sum()
        } else {
            let text = str::from_utf8(&self.bytes).unwrap();
            text.find(first).unwrap() + first.len()
        };
        Self {
            text_bytes: bytes,
            text_from: Some(end),
            ..self
        }
    }

    /// It has the chunk that `stream_options.include_usage` asks for.
    fn with_usage_chunk(self) -> Self {
        Self {
            has_usage_chunk: true,
            ..self
        }
    }

    /// It came with these header fields: tokens of the input, of the output, read from the cache and
    /// written to it.
    fn with_counts(self, counts: [Option<&'static [u8]>; 4]) -> Self {
        let head = ResponseHead {
            counts,
            ..self.head
        };
        Self { head, ..self }
    }

    /// The same event stream with other line ends; anything else stays as it is.
    pub(crate) fn with_line_ends(&self, line_end: &str) -> Self {
        let mut other = self.clone();
        if self.head.content_type == EVENT_STREAM.content_type {
            other.bytes = self.file.replace('\n', line_end).into_bytes();
        }
        other
    }

    /// Where the events of a stream end.
    pub(crate) fn ends_of_events(&self) -> Vec<usize> {
        if self.head.content_type == FRAMES.content_type {
            let frames = frames(self.endpoint, self.file).into_iter();
            let ends = frames.scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            });
            return ends.collect();
        }
        let mark = if self.head.content_type == EVENT_STREAM.content_type {
            "\n\n"
        } else {
            "\n}\n"
        };
        let marks = self.file.match_indices(mark);
        marks.map(|(at, mark)| at + mark.len()).collect()
    }

    /// A meter for it. `drop_usage_chunk`: see [`ResponseMeter::new`].
    pub(crate) fn meter(&self, drop_usage_chunk: bool) -> ResponseMeter {
        ResponseMeter::new(self.endpoint, drop_usage_chunk, self.head)
    }

    /// What is metered of the whole, and the bytes passed on.
    pub(crate) fn run(&self, drop_usage_chunk: bool) -> (Metered, Vec<u8>) {
        pass(self.meter(drop_usage_chunk), [self.bytes.as_slice()])
    }
}

/// What a meter makes of an answer in these chunks, and the bytes passed on.
pub(crate) fn pass<'a>(
    mut meter: ResponseMeter,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Metered, Vec<u8>) {
    let mut passed = Vec::new();
    for chunk in chunks {
        match meter.on_chunk(chunk, false) {
            Some(replacement) => passed.extend(replacement),
            None => passed.extend_from_slice(chunk),
        }
    }
    passed.extend(meter.on_chunk(&[], true).unwrap_or_default());
    (meter.finish(), passed)
}

/// How a response calls itself.
const fn of_type(content_type: &'static [u8]) -> ResponseHead<'static> {
    ResponseHead {
        content_type: Some(content_type),
        content_encoding: None,
        counts: [None; 4],
    }
}

pub(crate) const JSON: ResponseHead<'static> = of_type(b"application/json");
pub(crate) const EVENT_STREAM: ResponseHead<'static> = of_type(b"text/event-stream");
pub(crate) const FRAMES: ResponseHead<'static> = of_type(b"application/vnd.amazon.eventstream");
