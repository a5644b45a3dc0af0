//! The APIs that Reeve governs, and the facts of each: what its body is, what it is billed for,
//! whether it streams, and where it is at a provider of each format. Where callers find it is the
//! path table (`path_table.rs`).

use crate::WireFormat;

/// An API that Reeve governs. Who answers a list of models is Reeve itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the facts below say more than a sentence each")]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Speech,
    Transcriptions,
    Translations,
    Moderations,
    Rerank,
    Messages,
    CountMessageTokens,
    GenerateContent,
    StreamGenerateContent,
    CountTokens,
    EmbedContent,
    BatchEmbedContents,
    InvokeModel,
    InvokeModelStream,
    Converse,
    ConverseStream,
    CohereChat,
    CohereEmbed,
    CohereEmbedV1,
    CohereRerank,
    CohereRerankV1,
    ListModels,
    GetModel,
}

/// What the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A JSON object.
    Json,
    /// `multipart/form-data`.
    Multipart,
    /// There is none.
    Nothing,
}

/// What a response is billed for besides its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Text: where the provider reports no usage, its length is an estimate of the tokens.
    Text,
    /// Audio or images: their length says nothing about tokens.
    Media,
    /// Nothing: embeddings and rankings.
    Nothing,
    /// Not even its input: vendors answer it for free.
    Free,
}

/// Facts of an API.
struct Facts {
    name: &'static str,
    /// `gen_ai.operation.name` of the OpenTelemetry semantic conventions for generative AI; where
    /// they have no word for it, one in their style.
    operation: &'static str,
    body: BodyKind,
    output: Output,
    /// It can answer in a stream.
    streams: bool,
}

const fn json(name: &'static str, operation: &'static str, output: Output, streams: bool) -> Facts {
    Facts {
        name,
        operation,
        body: BodyKind::Json,
        output,
        streams,
    }
}

const fn multipart(
    name: &'static str,
    operation: &'static str,
    output: Output,
    streams: bool,
) -> Facts {
    Facts {
        body: BodyKind::Multipart,
        ..json(name, operation, output, streams)
    }
}

const fn list(name: &'static str) -> Facts {
    Facts {
        body: BodyKind::Nothing,
        ..json(name, "list_models", Output::Free, false)
    }
}

impl Endpoint {
    /// Every API.
    pub const ALL: [Self; 30] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
        Self::Moderations,
        Self::Rerank,
        Self::Messages,
        Self::CountMessageTokens,
        Self::GenerateContent,
        Self::StreamGenerateContent,
        Self::CountTokens,
        Self::EmbedContent,
        Self::BatchEmbedContents,
        Self::InvokeModel,
        Self::InvokeModelStream,
        Self::Converse,
        Self::ConverseStream,
        Self::CohereChat,
        Self::CohereEmbed,
        Self::CohereEmbedV1,
        Self::CohereRerank,
        Self::CohereRerankV1,
        Self::ListModels,
        Self::GetModel,
    ];

    const fn facts(self) -> Facts {
        use Output::{Free, Media, Nothing, Text};
        match self {
            Self::ChatCompletions => json("chat_completions", "chat", Text, true),
            Self::Completions => json("completions", "text_completion", Text, true),
            Self::Responses => json("responses", "chat", Text, true),
            Self::Embeddings => json("embeddings", "embeddings", Nothing, false),
            Self::ImageGenerations => json("image_generations", "generate_image", Media, true),
            Self::ImageEdits => multipart("image_edits", "generate_image", Media, true),
            Self::ImageVariations => multipart("image_variations", "generate_image", Media, false),
            Self::Speech => json("speech", "speech", Media, true),
            Self::Transcriptions => multipart("transcriptions", "transcribe", Text, true),
            Self::Translations => multipart("translations", "transcribe", Text, false),
            Self::Moderations => json("moderations", "moderate", Free, false),
            Self::Rerank => json("rerank", "rerank", Nothing, false),
            Self::Messages => json("messages", "chat", Text, true),
            Self::CountMessageTokens => json("count_message_tokens", "count_tokens", Free, false),
            Self::GenerateContent => json("generate_content", "generate_content", Text, false),
            Self::StreamGenerateContent => {
                json("stream_generate_content", "generate_content", Text, true)
            }
            Self::CountTokens => json("count_tokens", "count_tokens", Free, false),
            Self::EmbedContent => json("embed_content", "embeddings", Nothing, false),
            Self::BatchEmbedContents => json("batch_embed_contents", "embeddings", Nothing, false),
            Self::InvokeModel => json("invoke_model", "text_completion", Text, false),
            Self::InvokeModelStream => json("invoke_model_stream", "text_completion", Text, true),
            Self::Converse => json("converse", "chat", Text, false),
            Self::ConverseStream => json("converse_stream", "chat", Text, true),
            Self::CohereChat => json("cohere_chat", "chat", Text, true),
            Self::CohereEmbed => json("cohere_embed", "embeddings", Nothing, false),
            Self::CohereEmbedV1 => json("cohere_embed_v1", "embeddings", Nothing, false),
            Self::CohereRerank => json("cohere_rerank", "rerank", Nothing, false),
            Self::CohereRerankV1 => json("cohere_rerank_v1", "rerank", Nothing, false),
            Self::ListModels => list("list_models"),
            Self::GetModel => list("get_model"),
        }
    }

    /// The format that it belongs to, and in which it reports usage.
    pub const fn home(self) -> WireFormat {
        match self {
            Self::Messages | Self::CountMessageTokens => WireFormat::Anthropic,
            Self::GenerateContent
            | Self::StreamGenerateContent
            | Self::CountTokens
            | Self::EmbedContent
            | Self::BatchEmbedContents => WireFormat::Gemini,
            Self::InvokeModel | Self::InvokeModelStream | Self::Converse | Self::ConverseStream => {
                WireFormat::Bedrock
            }
            Self::CohereChat
            | Self::CohereEmbed
            | Self::CohereEmbedV1
            | Self::CohereRerank
            | Self::CohereRerankV1 => WireFormat::Cohere,
            _ => WireFormat::OpenAi,
        }
    }

    /// Does the model stand in the path, at the provider too?
    pub const fn names_model_in_path(self) -> bool {
        matches!(self.home(), WireFormat::Gemini | WireFormat::Bedrock)
    }

    /// Its name in logs, metrics and the coverage table.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// `gen_ai.operation.name` on records, metrics and in the access log.
    pub const fn operation(self) -> &'static str {
        self.facts().operation
    }

    /// What its body is.
    pub const fn body(self) -> BodyKind {
        self.facts().body
    }

    /// What it is billed for.
    pub const fn output(self) -> Output {
        self.facts().output
    }

    /// Can it answer in a stream?
    pub const fn streams(self) -> bool {
        self.facts().streams
    }

    /// Does it answer in a stream always, whatever the body says?
    pub const fn always_streams(self) -> bool {
        matches!(
            self,
            Self::StreamGenerateContent | Self::InvokeModelStream | Self::ConverseStream
        )
    }

    /// Does a provider that speaks `format` have this API?
    pub fn is_served_by(self, format: WireFormat) -> bool {
        self.place_at(format).is_some()
    }

    /// What to call at a provider of `format` that does not have this API and has another for the same
    /// purpose. `None`: it has none.
    pub fn instead_at(self, format: WireFormat) -> Option<Self> {
        // Of several that are alike the last would be chosen.
        let serving = Self::ALL
            .into_iter()
            .rev()
            .filter(|other| other.purpose() == self.purpose() && other.is_served_by(format));
        // What the caller's SDK has too, or else what the provider is known for.
        serving.max_by_key(|other| {
            (
                other.home() == self.home(),
                other.home() == format,
                other.always_streams() == self.always_streams(),
                other.operation() == self.operation(),
            )
        })
    }

    /// APIs of the same purpose can stand in for each other; all that talk do.
    const fn purpose(self) -> &'static str {
        match self.facts().operation.as_bytes() {
            b"text_completion" | b"generate_content" => "chat",
            _ => self.facts().operation,
        }
    }

    /// Where this API is below the base URL of a provider that speaks `format`. `None`: such a
    /// provider does not have it.
    ///
    /// OpenAI's APIs are at the vendors' OpenAI-compatible sides ([`WireFormat::openai_side`]). What a
    /// `model` in a path may hold ([`crate::is_model_name`]) needs no encoding there, except for `/`, which
    /// ends the segment.
    pub fn upstream_path(self, format: WireFormat, model: &str) -> Option<String> {
        let (before, after) = self.place_at(format)?;
        let mut path = String::from(before);
        if let Some(after) = after {
            path.push_str(&model.replace('/', "%2F"));
            path.push_str(after);
        }
        Some(path)
    }

    /// The path, or what stands before and after the model in it.
    const fn place_at(self, format: WireFormat) -> Option<(&'static str, Option<&'static str>)> {
        use WireFormat::{Anthropic, Bedrock, Cohere, Gemini, OpenAi};
        Some(match (self, format) {
            (Self::ChatCompletions, OpenAi | Anthropic) => ("/chat/completions", None),
            (Self::ChatCompletions, Gemini) => ("/openai/chat/completions", None),
            (Self::ChatCompletions, Cohere) => ("/compatibility/v1/chat/completions", None),
            (Self::Completions, OpenAi) => ("/completions", None),
            (Self::Responses, OpenAi) => ("/responses", None),
            (Self::Embeddings, OpenAi) => ("/embeddings", None),
            (Self::Embeddings, Gemini) => ("/openai/embeddings", None),
            (Self::ImageGenerations, OpenAi) => ("/images/generations", None),
            (Self::ImageGenerations, Gemini) => ("/openai/images/generations", None),
            (Self::ImageEdits, OpenAi) => ("/images/edits", None),
            (Self::ImageVariations, OpenAi) => ("/images/variations", None),
            (Self::Speech, OpenAi) => ("/audio/speech", None),
            (Self::Transcriptions, OpenAi) => ("/audio/transcriptions", None),
            (Self::Translations, OpenAi) => ("/audio/translations", None),
            (Self::Moderations, OpenAi) => ("/moderations", None),
            (Self::Rerank, OpenAi) => ("/rerank", None),
            (Self::Rerank | Self::CohereRerank, Cohere) => ("/v2/rerank", None),
            (Self::CohereRerankV1, Cohere) => ("/v1/rerank", None),
            (Self::CohereChat, Cohere) => ("/v2/chat", None),
            (Self::CohereEmbed, Cohere) => ("/v2/embed", None),
            (Self::CohereEmbedV1, Cohere) => ("/v1/embed", None),
            (Self::Messages, Anthropic) => ("/messages", None),
            (Self::CountMessageTokens, Anthropic) => ("/messages/count_tokens", None),
            (Self::GenerateContent, Gemini) => ("/models/", Some(":generateContent")),
            (Self::StreamGenerateContent, Gemini) => ("/models/", Some(":streamGenerateContent")),
            (Self::CountTokens, Gemini) => ("/models/", Some(":countTokens")),
            (Self::EmbedContent, Gemini) => ("/models/", Some(":embedContent")),
            (Self::BatchEmbedContents, Gemini) => ("/models/", Some(":batchEmbedContents")),
            (Self::InvokeModel, Bedrock) => ("/model/", Some("/invoke")),
            (Self::InvokeModelStream, Bedrock) => ("/model/", Some("/invoke-with-response-stream")),
            (Self::Converse, Bedrock) => ("/model/", Some("/converse")),
            (Self::ConverseStream, Bedrock) => ("/model/", Some("/converse-stream")),
            _ => return None,
        })
    }
}
