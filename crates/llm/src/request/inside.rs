//! Names deep inside a request that decide something: the model of a tool's own, which nobody has
//! judged, and the ids of what is kept at the provider and belongs to all virtual keys together.
//!
//! They are told by where they stand, for a tool's arguments and their schema may have any name.

use super::RequestError;
use super::member_name::resembles;
use crate::WireFormat;
use crate::json::{Inside, Member, Members};

/// Brackets open around a name that stands directly in a tool: the body's, `tools`', the tool's.
const IN_A_TOOL: u32 = 3;
/// The same, around one in an object of the tool's.
const IN_A_PART_OF_A_TOOL: u32 = 4;
/// Around one in a block of a message's content: the body's, `messages`', the message's,
/// `content`'s, the block's.
const IN_A_BLOCK: u32 = 5;

/// The next member of a request, if nothing inside it has to be refused.
pub(super) fn next<'b>(
    members: &mut Members<'b>,
    home: WireFormat,
) -> Result<Option<Member<'b>>, RequestError> {
    let mut refusal = None;
    let member = members.next_watching(|inside| {
        refusal = refusal.or_else(|| refused(home, inside));
    });
    let member = member.transpose()?;
    match refusal {
        Some(error) => Err(error),
        None => Ok(member),
    }
}

/// Why a request with this name is refused, if it is.
fn refused(home: WireFormat, inside: Inside<'_, '_>) -> Option<RequestError> {
    match (inside.member, inside.depth) {
        ("tools", IN_A_TOOL | IN_A_PART_OF_A_TOOL) => {
            let name = inside.name.decode();
            // An image generator of OpenAI's has a model, an adviser of Anthropic's.
            if inside.depth == IN_A_TOOL && resembles(&name, "model") {
                return Some(RequestError::Forbidden {
                    field: "tools[].model",
                });
            }
            let kept = [
                ("vector_store_ids", "tools[].vector_store_ids"),
                ("file_ids", "tools[].file_ids"),
                ("fileSearchStoreNames", "tools[].fileSearchStoreNames"),
            ];
            let kept = kept.into_iter().find(|(known, _)| resembles(&name, known));
            kept.map(|(_, field)| RequestError::StoredObject { field })
        }
        // A file of the Files API, or in a bucket that is opened with the provider's key.
        ("contents" | "content" | "systemInstruction" | "requests", _)
            if home == WireFormat::Gemini
                && inside
                    .parent
                    .is_some_and(|parent| resembles(parent, "fileData"))
                && resembles(&inside.name.decode(), "fileUri") =>
        {
            Some(RequestError::StoredObject {
                field: "fileData.fileUri",
            })
        }
        ("messages" | "input", depth) if depth > IN_A_TOOL => {
            let (could_be_read, field) = match home {
                // All that callers name themselves is in strings here, but for schemas.
                WireFormat::OpenAi => (inside.parent != Some("properties"), "file_id"),
                // A block, or the source of one, but no argument of a tool.
                WireFormat::Anthropic => (
                    depth == IN_A_BLOCK || inside.parent == Some("source"),
                    "file_id",
                ),
                // The bucket is opened with the provider's key, not with the caller's.
                WireFormat::Bedrock => (inside.parent == Some("source"), "s3Location"),
                WireFormat::Gemini | WireFormat::Cohere => return None,
            };
            (could_be_read && resembles(&inside.name.decode(), field))
                .then_some(RequestError::StoredObject { field })
        }
        _ => None,
    }
}
