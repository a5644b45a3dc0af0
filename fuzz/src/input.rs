//! How an input is laid out.

use reeve_llm::Endpoint;

/// The words of the first line, and the rest. `None`: there is no line, or it is not text.
pub fn first_line(data: &[u8]) -> Option<(Vec<&str>, &[u8])> {
    let end = data.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = (&data[..end], &data[end + 1..]);
    let words = std::str::from_utf8(line).ok()?.split(' ').collect();
    Some((words, rest))
}

/// The API of this name.
pub fn endpoint(name: &str) -> Option<Endpoint> {
    Endpoint::ALL.into_iter().find(|known| known.name() == name)
}

/// A request as text: `METHOD TARGET`, a line `name: value` for each field (in lower case, as Envoy
/// hands names over), an empty line, the body.
pub struct Head<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub fields: Vec<(String, Vec<u8>)>,
}

/// Reads a head, and gives what follows it.
pub fn head(data: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let (first, rest) = line(data)?;
    let space = first.iter().position(|&byte| byte == b' ')?;
    let (fields, body) = fields(rest);
    let head = Head {
        method: &first[..space],
        target: &first[space + 1..],
        fields,
    };
    Some((head, body))
}

/// Reads the lines up to an empty one. Whatever is no field is left out.
pub fn fields(data: &[u8]) -> (Vec<(String, Vec<u8>)>, &[u8]) {
    let mut fields = Vec::new();
    let mut rest = data;
    while let Some((field, after)) = line(rest) {
        rest = after;
        if field.is_empty() {
            break;
        }
        let colon = field.windows(2).position(|pair| pair == b": ");
        if let Some(colon) = colon
            && let Ok(name) = std::str::from_utf8(&field[..colon])
        {
            fields.push((name.to_lowercase(), field[colon + 2..].to_vec()));
        }
    }
    (fields, rest)
}

fn line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|&byte| byte == b'\n')?;
    Some((&data[..end], &data[end + 1..]))
}

/// Cuts bytes into chunks of many lengths, empty ones too; which ones, `seed` says. Zero: one byte
/// each.
pub fn cut(seed: u8, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut state = seed;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // A linear congruential generator with the whole of a byte for its period.
        state = state.wrapping_mul(5).wrapping_add(seed | 1);
        let length = if seed == 0 {
            1
        } else {
            usize::from(state >> 3)
        };
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(chunk)
    })
}
