//! What a model charges for beside tokens.

use reeve_policy::units::UnitPrices;

use super::Prices;
use super::builtin::{Entry, Meter, Mode};

/// The prices of a built-in model that charges nothing for tokens and for one thing that the data plane
/// counts. None for any other: what it charges for besides would be free.
pub(super) fn unit_prices(entry: &Entry) -> UnitPrices {
    let none = UnitPrices::default();
    if Prices::of(entry) != Prices::default() {
        return none;
    }
    let meter = match entry.mode {
        Mode::Rerank => Meter::Queries,
        Mode::AudioSpeech => Meter::CharsIn,
        Mode::AudioTranscription => Meter::SecondsIn,
        Mode::ImageGeneration | Mode::ImageEdit => Meter::ImagesOut,
        _ => return none,
    };
    // The source has the price of a second of audio twice, as of input and of output.
    let is_same = |other: Meter| other == meter || (meter, other) == SECONDS;
    let has_more = entry
        .standard
        .iter()
        .any(|(other, price)| price > 0 && !is_same(other));
    let price = entry.standard.price(meter).unwrap_or_default();
    match meter {
        _ if has_more => none,
        Meter::Queries => UnitPrices {
            search: price,
            ..none
        },
        Meter::CharsIn => UnitPrices {
            character: price,
            ..none
        },
        Meter::SecondsIn => UnitPrices {
            second: price,
            ..none
        },
        _ => UnitPrices {
            image: price,
            ..none
        },
    }
}

const SECONDS: (Meter, Meter) = (Meter::SecondsIn, Meter::SecondsOut);

#[cfg(test)]
mod tests {
    use super::super::builtin::Catalogue;
    use super::*;

    fn of(provider: &str, model: &str) -> UnitPrices {
        unit_prices(Catalogue::builtin().unwrap().get(provider, model).unwrap())
    }

    #[test]
    fn searches_characters_and_seconds_have_the_price_of_their_meter() {
        let none = UnitPrices::default();
        let search = 2_000_000_000_000;
        assert_eq!(of("cohere", "rerank-v3.5"), UnitPrices { search, ..none });
        let character = 15_000_000_000;
        assert_eq!(of("openai", "tts-1"), UnitPrices { character, ..none });
        let second = 100_000_000_000;
        assert_eq!(of("openai", "whisper-1"), UnitPrices { second, ..none });
    }

    #[test]
    fn a_model_that_charges_for_tokens_or_for_two_things_has_none() {
        for (provider, model) in [("openai", "gpt-4o-transcribe"), ("openai", "gpt-image-1")] {
            assert_eq!(of(provider, model), UnitPrices::default(), "{model}");
        }
        let pixels = |entry: &&Entry| {
            entry.mode == Mode::ImageGeneration && entry.standard.price(Meter::PixelsOut).is_some()
        };
        let entries = Catalogue::builtin().unwrap().entries();
        for entry in entries.iter().filter(pixels) {
            assert_eq!(unit_prices(entry), UnitPrices::default(), "{}", entry.model);
        }
    }
}
