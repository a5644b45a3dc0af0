//! Forms (`multipart/form-data`): audio to write down, images to change.

use super::member_name::{FLAT, Meaning};
use super::values::form_model;
use super::{Facts, MAX_CHOICES, ModelSlot, RequestError, judge};
use crate::media_type::is_plain_text;
use crate::multipart::{self, Part};

pub(super) fn read<'b>(boundary: &'b [u8], body: &'b [u8]) -> Result<Facts<'b>, RequestError> {
    let mut facts = Facts::default();
    for part in multipart::parts(boundary, body)? {
        // To some readers it says how all other fields are encoded.
        if part.name == "_charset_" {
            return Err(RequestError::Invalid {
                field: "_charset_",
                expected: "absent: fields are read as UTF-8",
            });
        }
        // RFC 2047's way to write what is not ASCII, or to hide what is.
        if part.name.starts_with("=?") {
            return Err(RequestError::MemberName);
        }
        let Meaning::Governed(name) = meaning(part.name)? else {
            continue;
        };
        let value = body.get(part.value.clone()).unwrap_or_default();
        match name {
            "model" => {
                let model = form_model(text(name, &part, value)?)?;
                facts.model = Some((model.into(), ModelSlot::Part { boundary, part }));
            }
            "stream" => {
                facts.stream = match text(name, &part, value)? {
                    b"true" => true,
                    b"false" => false,
                    _ => {
                        return Err(RequestError::Invalid {
                            field: name,
                            expected: "true or false",
                        });
                    }
                };
            }
            "n" => facts.choices = count(text(name, &part, value)?)?,
            // The content, and what these APIs do not have.
            _ => {}
        }
    }
    Ok(facts)
}

/// Judges a name. Many readers make a list or an object of `model[0]`, in the place of a `model` that
/// stands there too.
fn meaning(name: &str) -> Result<Meaning, RequestError> {
    let stem = name.split('[').next().unwrap_or_default();
    match judge(&FLAT, stem)? {
        Meaning::Governed(field) if stem != name => Err(RequestError::Ambiguous { field }),
        _ => judge(&FLAT, name),
    }
}

/// The value of a part that is a field and no file.
fn text<'b>(
    field: &'static str,
    part: &Part<'_>,
    value: &'b [u8],
) -> Result<&'b [u8], RequestError> {
    if part.is_file || !part.content_type.is_none_or(is_plain_text) {
        return Err(RequestError::Invalid {
            field,
            expected: "a field of the form, without a file name",
        });
    }
    Ok(value)
}

fn count(value: &[u8]) -> Result<u64, RequestError> {
    let digits = str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse::<u32>().ok())
        .filter(|count| (1..=MAX_CHOICES).contains(count))
        .map(u64::from)
        .ok_or(RequestError::Invalid {
            field: "n",
            expected: "a whole number from 1 to 128",
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_with_brackets_cannot_take_a_governed_ones_place() {
        for name in [
            "model[0]",
            "model[]",
            "model[a][b]",
            "Model[0]",
            "model[",
            "n[x",
        ] {
            assert!(
                matches!(meaning(name), Err(RequestError::Ambiguous { .. })),
                "{name}"
            );
        }
        assert_eq!(
            meaning("extra_body[model]"),
            Err(RequestError::Forbidden {
                field: "extra_body"
            })
        );
        for name in [
            "image[]",
            "timestamp_granularities[]",
            "chunking_strategy[type]",
        ] {
            assert_eq!(meaning(name), Ok(Meaning::Other), "{name}");
        }
    }
}
