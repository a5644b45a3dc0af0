//! Names that people give to things.

use crate::invalid::Invalid;

/// Longest name, characters.
const MAX_LEN: usize = 128;

/// Checks the field `name`. Names end up in logs, headers and web pages next to other text, so they
/// must not contain what can make one text look like another.
pub fn check(name: &str) -> Result<(), Invalid> {
    let fault = |message: &str| Err(Invalid::field("name", message));
    if name.is_empty() {
        return fault("is required and must not be empty");
    }
    if name.chars().count() > MAX_LEN {
        return fault("must have at most 128 characters");
    }
    if name.trim() != name {
        return fault("must not start or end with a space");
    }
    if name.chars().any(is_deceptive) {
        return fault("must not contain control, zero-width or text-direction characters");
    }
    Ok(())
}

/// Characters that are not seen, or change how their neighbours are seen.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00AD}'                  // soft hyphen
            | '\u{061C}'                // Arabic letter mark
            | '\u{180E}'                // Mongolian vowel separator
            | '\u{200B}'..='\u{200F}'   // zero-width characters, direction marks
            | '\u{2028}'..='\u{202E}'   // line separators, direction embeddings
            | '\u{2060}'..='\u{206F}'   // invisible operators, direction isolates
            | '\u{FEFF}'                // byte order mark
            | '\u{FFF9}'..='\u{FFFB}'   // interlinear annotation
            | '\u{E0000}'..='\u{E007F}' // tags
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_people_write() {
        for name in ["prod-api", "Équipe données", "日本", "a", "R&D / eu (2)"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_name_cannot_pretend_to_be_another() {
        let long = "x".repeat(129);
        for name in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\0",
            "a\u{202E}b",
            "a\u{200B}",
            "\u{FEFF}a",
            &long,
        ] {
            assert_eq!(
                check(name).unwrap_err().field.as_deref(),
                Some("name"),
                "{name:?}"
            );
        }
    }
}
