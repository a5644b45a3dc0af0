//! The path table: at which path, by which method and in which dialect a caller finds an API,
//! whether the model stands in the path, and which provider the path names.
//!
//! A path is in the table byte for byte, but for the model's name in some, or it is not found. So no
//! spelling (`//`, `/./`, `%2e`, `;x`, `/V1/`, a trailing slash) can reach a provider as something
//! else than what was judged. What is not in the table is refused, and so is what the table knows
//! and marks as [`Unserved`].

use crate::{Endpoint, WireFormat};

/// An API that is known and not served yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// Uploads and downloads.
    Files,
    /// Requests inside files, and jobs.
    Batches,
    /// Sessions over WebSocket or in both directions.
    Realtime,
    /// What stays at the provider and belongs to all keys together: stored answers, conversations,
    /// assistants, vector stores, caches, fine-tuning jobs.
    StoredObjects,
}

impl Unserved {
    /// What it is and why it is refused, for the caller.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Files => {
                "files are not served: the gateway cannot yet judge what is in a file; put the \
                 content into the request"
            }
            Self::Batches => {
                "batches are not served: the gateway cannot yet judge the requests inside a batch; \
                 send them one by one"
            }
            Self::Realtime => {
                "realtime sessions are not served: the gateway cannot yet judge what is said in \
                 one; use the request and response APIs"
            }
            Self::StoredObjects => {
                "objects kept at the provider are not served: they belong to all virtual keys \
                 together; send what they hold in the request"
            }
        }
    }

    /// Its name in the coverage table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Realtime => "realtime",
            Self::StoredObjects => "stored_objects",
        }
    }
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Byte for byte.
    Exact(&'static str),
    /// A model's name between these two.
    Model(&'static str, &'static str),
    /// A model's name, slashes and all, behind this.
    ModelToTheEnd(&'static str),
    /// This, or anything below it.
    Below(&'static str),
}

/// A path, and the API behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// `None`: any.
    pub(crate) method: Option<&'static str>,
    pub(crate) pattern: Pattern,
    pub(crate) api: Result<Endpoint, Unserved>,
}

const fn post(path: &'static str, endpoint: Endpoint) -> Row {
    Row {
        method: Some("POST"),
        pattern: Pattern::Exact(path),
        api: Ok(endpoint),
    }
}

const fn post_model(before: &'static str, after: &'static str, endpoint: Endpoint) -> Row {
    Row {
        method: Some("POST"),
        pattern: Pattern::Model(before, after),
        api: Ok(endpoint),
    }
}

const fn get(pattern: Pattern, endpoint: Endpoint) -> Row {
    Row {
        method: Some("GET"),
        pattern,
        api: Ok(endpoint),
    }
}

const fn unserved(path: &'static str, why: Unserved) -> Row {
    Row {
        method: None,
        pattern: Pattern::Below(path),
        api: Err(why),
    }
}

const MODELS: Row = get(Pattern::Exact("/models"), Endpoint::ListModels);
const MODEL: Row = get(Pattern::ModelToTheEnd("/models/"), Endpoint::GetModel);

/// Paths of one vendor's API, below where its base URL ends.
#[derive(Debug)]
pub(crate) struct Family {
    /// What callers speak there, and how errors look.
    pub(crate) dialect: WireFormat,
    /// The provider that the paths themselves name.
    pub(crate) provider: Option<&'static str>,
    pub(crate) rows: &'static [Row],
}

const OPENAI: Family = Family {
    dialect: WireFormat::OpenAi,
    provider: None,
    rows: &[
        post("/chat/completions", Endpoint::ChatCompletions),
        post("/responses", Endpoint::Responses),
        post("/embeddings", Endpoint::Embeddings),
        post("/completions", Endpoint::Completions),
        post("/images/generations", Endpoint::ImageGenerations),
        post("/images/edits", Endpoint::ImageEdits),
        post("/images/variations", Endpoint::ImageVariations),
        post("/audio/speech", Endpoint::Speech),
        post("/audio/transcriptions", Endpoint::Transcriptions),
        post("/audio/translations", Endpoint::Translations),
        post("/moderations", Endpoint::Moderations),
        post("/rerank", Endpoint::Rerank),
        MODELS,
        MODEL,
        unserved("/files", Unserved::Files),
        unserved("/uploads", Unserved::Files),
        unserved("/batches", Unserved::Batches),
        unserved("/realtime", Unserved::Realtime),
        unserved("/responses/", Unserved::StoredObjects),
        unserved("/chat/completions/", Unserved::StoredObjects),
        unserved("/conversations", Unserved::StoredObjects),
        unserved("/assistants", Unserved::StoredObjects),
        unserved("/threads", Unserved::StoredObjects),
        unserved("/vector_stores", Unserved::StoredObjects),
        unserved("/containers", Unserved::StoredObjects),
        unserved("/fine_tuning", Unserved::StoredObjects),
        unserved("/evals", Unserved::StoredObjects),
        unserved("/videos", Unserved::StoredObjects),
    ],
};

/// Azure OpenAI, where the deployment stands in the path. The provider is asked by the API that has
/// the same paths as OpenAI, with the deployment in the body.
const AZURE: Family = Family {
    dialect: WireFormat::OpenAi,
    provider: Some("azure"),
    rows: &[
        post_model(
            "/deployments/",
            "/chat/completions",
            Endpoint::ChatCompletions,
        ),
        post_model("/deployments/", "/completions", Endpoint::Completions),
        post_model("/deployments/", "/embeddings", Endpoint::Embeddings),
        post_model(
            "/deployments/",
            "/images/generations",
            Endpoint::ImageGenerations,
        ),
        post_model("/deployments/", "/images/edits", Endpoint::ImageEdits),
        post_model("/deployments/", "/audio/speech", Endpoint::Speech),
        post_model(
            "/deployments/",
            "/audio/transcriptions",
            Endpoint::Transcriptions,
        ),
        post_model(
            "/deployments/",
            "/audio/translations",
            Endpoint::Translations,
        ),
    ],
};

const ANTHROPIC: Family = Family {
    dialect: WireFormat::Anthropic,
    provider: None,
    rows: &[
        post("/messages", Endpoint::Messages),
        post("/messages/count_tokens", Endpoint::CountMessageTokens),
        unserved("/messages/batches", Unserved::Batches),
    ],
};

/// Anthropic's OpenAI-compatible side.
const ANTHROPIC_AS_OPENAI: Family = Family {
    dialect: WireFormat::OpenAi,
    provider: Some("anthropic"),
    rows: &[post("/chat/completions", Endpoint::ChatCompletions)],
};

/// What has the same paths as OpenAI's, and is Anthropic's only where the prefix says so.
const ANTHROPIC_ALONE: Family = Family {
    dialect: WireFormat::Anthropic,
    provider: None,
    rows: &[MODELS, MODEL, unserved("/files", Unserved::Files)],
};

const GEMINI: Family = Family {
    dialect: WireFormat::Gemini,
    provider: None,
    rows: &[
        post_model("/models/", ":generateContent", Endpoint::GenerateContent),
        post_model(
            "/models/",
            ":streamGenerateContent",
            Endpoint::StreamGenerateContent,
        ),
        post_model("/models/", ":countTokens", Endpoint::CountTokens),
        post_model("/models/", ":embedContent", Endpoint::EmbedContent),
        post_model(
            "/models/",
            ":batchEmbedContents",
            Endpoint::BatchEmbedContents,
        ),
        Row {
            method: Some("POST"),
            pattern: Pattern::Model("/models/", ":batchGenerateContent"),
            api: Err(Unserved::Batches),
        },
        Row {
            method: Some("POST"),
            pattern: Pattern::Model("/models/", ":asyncBatchEmbedContent"),
            api: Err(Unserved::Batches),
        },
    ],
};

/// What has the same paths as OpenAI's, and is Gemini's only where the path says so.
const GEMINI_ALONE: Family = Family {
    dialect: WireFormat::Gemini,
    provider: None,
    rows: &[
        MODELS,
        MODEL,
        unserved("/batches", Unserved::Batches),
        unserved("/files", Unserved::Files),
        unserved("/cachedContents", Unserved::StoredObjects),
        unserved("/fileSearchStores", Unserved::StoredObjects),
        unserved("/tunedModels", Unserved::StoredObjects),
    ],
};

/// Gemini's OpenAI-compatible side.
const GEMINI_AS_OPENAI: Family = Family {
    dialect: WireFormat::OpenAi,
    provider: Some("gemini"),
    rows: &[
        post("/chat/completions", Endpoint::ChatCompletions),
        post("/embeddings", Endpoint::Embeddings),
        post("/images/generations", Endpoint::ImageGenerations),
        MODELS,
        MODEL,
    ],
};

/// Where Gemini takes uploads and sessions: beside its API, not below it.
const GEMINI_ELSEWHERE: Family = Family {
    dialect: WireFormat::Gemini,
    provider: None,
    rows: &[
        unserved("/upload", Unserved::Files),
        unserved("/download", Unserved::Files),
        unserved("/ws", Unserved::Realtime),
    ],
};

const BEDROCK: Family = Family {
    dialect: WireFormat::Bedrock,
    provider: None,
    rows: &[
        post_model("/model/", "/converse", Endpoint::Converse),
        post_model("/model/", "/converse-stream", Endpoint::ConverseStream),
        post_model("/model/", "/invoke", Endpoint::InvokeModel),
        post_model(
            "/model/",
            "/invoke-with-response-stream",
            Endpoint::InvokeModelStream,
        ),
        Row {
            method: Some("POST"),
            pattern: Pattern::Model("/model/", "/invoke-with-bidirectional-stream"),
            api: Err(Unserved::Realtime),
        },
        unserved("/async-invoke", Unserved::Batches),
    ],
};

const COHERE: Family = Family {
    dialect: WireFormat::Cohere,
    provider: None,
    rows: &[
        post("/v2/chat", Endpoint::CohereChat),
        post("/v2/embed", Endpoint::CohereEmbed),
        post("/v2/rerank", Endpoint::CohereRerank),
    ],
};

/// What has paths of OpenAI's, and is Cohere's only where the prefix says so.
const COHERE_ALONE: Family = Family {
    dialect: WireFormat::Cohere,
    provider: None,
    rows: &[
        post("/embed", Endpoint::CohereEmbedV1),
        post("/rerank", Endpoint::CohereRerankV1),
        MODELS,
        MODEL,
        unserved("/embed-jobs", Unserved::Batches),
        unserved("/datasets", Unserved::Files),
        unserved("/connectors", Unserved::StoredObjects),
        unserved("/finetuning", Unserved::StoredObjects),
    ],
};

/// Cohere's OpenAI-compatible side.
const COHERE_AS_OPENAI: Family = Family {
    dialect: WireFormat::OpenAi,
    provider: Some("cohere"),
    rows: &[post("/chat/completions", Endpoint::ChatCompletions)],
};

/// A prefix for SDKs that are pointed at Reeve.
pub(crate) struct Mount {
    pub(crate) prefix: &'static str,
    /// The provider that the prefix names.
    pub(crate) provider: Option<&'static str>,
    /// Families, each behind a path of its own below the prefix.
    pub(crate) families: &'static [(&'static str, &'static Family)],
}

/// For SDKs that speak whatever their user asks for.
const EVERY_FAMILY: &[(&str, &Family)] = &[
    ("/v1", &OPENAI),
    ("", &OPENAI),
    ("/v1", &ANTHROPIC),
    ("/v1", &GEMINI),
    ("/v1beta", &GEMINI),
    ("/v1beta", &GEMINI_ALONE),
    ("/v1beta/openai", &GEMINI_AS_OPENAI),
    ("", &BEDROCK),
    ("", &COHERE),
];

pub(crate) const MOUNTS: [Mount; 8] = [
    Mount {
        prefix: "",
        provider: None,
        families: &[
            ("/v1", &OPENAI),
            ("/v1", &ANTHROPIC),
            ("/v1", &GEMINI),
            ("/v1beta", &GEMINI),
            ("/v1beta", &GEMINI_ALONE),
            ("/v1beta/openai", &GEMINI_AS_OPENAI),
            ("", &GEMINI_ELSEWHERE),
            ("", &BEDROCK),
            ("", &COHERE),
        ],
    },
    Mount {
        prefix: "/openai",
        provider: Some("openai"),
        families: &[
            ("/v1", &OPENAI),
            ("", &OPENAI),
            ("", &AZURE),
            ("/openai", &AZURE),
        ],
    },
    Mount {
        prefix: "/anthropic",
        provider: Some("anthropic"),
        families: &[
            ("/v1", &ANTHROPIC),
            ("/v1", &ANTHROPIC_ALONE),
            ("/v1", &ANTHROPIC_AS_OPENAI),
        ],
    },
    Mount {
        prefix: "/genai",
        provider: Some("gemini"),
        families: &[
            ("/v1beta", &GEMINI),
            ("/v1beta", &GEMINI_ALONE),
            ("/v1", &GEMINI),
            ("/v1", &GEMINI_ALONE),
            ("/v1beta/openai", &GEMINI_AS_OPENAI),
            ("", &GEMINI_ELSEWHERE),
        ],
    },
    Mount {
        prefix: "/bedrock",
        provider: Some("bedrock"),
        families: &[("", &BEDROCK)],
    },
    Mount {
        prefix: "/cohere",
        provider: Some("cohere"),
        families: &[
            ("", &COHERE),
            ("/v1", &COHERE_ALONE),
            ("/compatibility/v1", &COHERE_AS_OPENAI),
        ],
    },
    Mount {
        prefix: "/langchain",
        provider: None,
        families: EVERY_FAMILY,
    },
    Mount {
        prefix: "/litellm",
        provider: None,
        families: EVERY_FAMILY,
    },
];
