//! Just enough JSON (RFC 8259) to judge a request and to bill a response: a strict scanner over
//! the bytes as they came, and a writer for our own small bodies. No tree is ever built.
//!
//! | file | idea |
//! |---|---|
//! | `bulk` | find the next interesting byte, a block at a time |
//! | `lexer` | one string, one number |
//! | `tokens` | one token after another, with the grammar checked |
//! | `object` | the members of one object, with their spans |
//! | `array` | the elements of one array |
//! | `unique_names` | no name twice in any object of a value |
//! | `writer` | our own objects, escaped |

mod array;
pub(crate) mod bulk;
mod lexer;
mod object;
mod tokens;
mod unique_names;
mod writer;

pub(crate) use array::elements;
pub use lexer::Text;
pub use object::{
    Inside, Kind, MAX_MEMBERS, MAX_NAME_BYTES, Member, Members, Value, members, strict_members,
};
pub use tokens::{MAX_DEPTH, Token, Tokens};
pub(crate) use writer::push_string;
pub use writer::{ObjectWriter, Scalar};

/// Why bytes are not JSON that Reeve accepts. `at` is a byte offset; nothing of the body is
/// repeated, so that the message can be shown to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8 (RFC 8259 section 8.1). UTF-16 and UTF-32 end here too.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// A byte order mark: parsers differ in what they do with it, so it is refused.
    #[error("starts with a byte order mark; remove it")]
    ByteOrderMark,
    /// The grammar is broken.
    #[error("expected {expected} at byte {at}")]
    Syntax {
        /// Offset of the byte at fault.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// Offset of the bracket that is one too many.
        at: usize,
    },
    /// Half of a surrogate pair: no Unicode text, and parsers differ in what they make of it.
    #[error("lone surrogate in the string at byte {at}")]
    LoneSurrogate {
        /// Offset of the escape.
        at: usize,
    },
    /// A number that a 64-bit float cannot hold, or with more digits than anyone means.
    #[error("number too long or too large at byte {at}")]
    NumberTooLarge {
        /// Offset of the number.
        at: usize,
    },
    /// The value is not an object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// The same member name twice in one object. Parsers differ in which one they take.
    #[error("a member name occurs twice in one object, the second time at byte {at}")]
    DuplicateMember {
        /// Offset of the second occurrence.
        at: usize,
    },
    /// A member name longer than is accepted there.
    #[error("a member name is too long, at byte {at}")]
    NameTooLong {
        /// Offset of the name.
        at: usize,
    },
    /// More members in one object than are accepted there.
    #[error("too many members in one object")]
    TooManyMembers,
}

/// The text of a JSON document: UTF-8 without a byte order mark.
pub fn document(bytes: &[u8]) -> Result<&str, JsonError> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(JsonError::ByteOrderMark);
    }
    std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 {
        at: error.valid_up_to(),
    })
}
