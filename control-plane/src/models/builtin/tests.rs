use super::{Catalogue, Entry, Meter, Mode, Service};

const HEADER: &str = r#"{"format":1,"source":"s","source_version":"1","license":"MIT","retrieved":"2026-01-01","price_version":3,"models":1}"#;
const LINE: &str = r#"{"p":"openai","m":"some-model","k":"chat","$":{"in":5}}"#;

fn builtin() -> &'static Catalogue {
    Catalogue::builtin().unwrap()
}

fn entry(provider: &str, model: &str) -> &'static Entry {
    builtin()
        .get(provider, model)
        .unwrap_or_else(|| panic!("{provider}/{model} is listed"))
}

/// Parses texts that live as long as the test process, as the embedded ones do.
fn parse(generated: &str, supplement: &str) -> Result<Catalogue, String> {
    let leak = |text: &str| &*Box::leak(text.to_owned().into_boxed_str());
    Catalogue::parse(leak(generated), leak(supplement)).map_err(|error| error.to_string())
}

#[test]
fn prices_of_well_known_models_are_exact_to_the_nano_dollar() {
    // Nano-dollars per million tokens: input, output, cache read, cache write.
    let known = [
        (
            "openai",
            "gpt-4o",
            2_500_000_000,
            10_000_000_000,
            Some(1_250_000_000),
            None,
        ),
        (
            "openai",
            "gpt-4o-mini",
            150_000_000,
            600_000_000,
            Some(75_000_000),
            None,
        ),
        (
            "openai",
            "text-embedding-3-small",
            20_000_000,
            0,
            None,
            None,
        ),
        (
            "anthropic",
            "claude-3-5-sonnet-20241022",
            3_000_000_000,
            15_000_000_000,
            Some(300_000_000),
            Some(3_750_000_000),
        ),
        (
            "anthropic",
            "claude-sonnet-4-5-20250929",
            3_000_000_000,
            15_000_000_000,
            Some(300_000_000),
            Some(3_750_000_000),
        ),
    ];
    for (provider, model, input, output, cache_read, cache_write) in known {
        let entry = entry(provider, model);
        let price = |meter| entry.standard.price(meter);
        assert_eq!(price(Meter::Input), Some(input), "{model}");
        assert_eq!(price(Meter::Output), Some(output), "{model}");
        assert_eq!(price(Meter::CacheRead), cache_read, "{model}");
        assert_eq!(price(Meter::CacheWrite), cache_write, "{model}");
    }
}

#[test]
fn service_tiers_and_long_prompts_have_their_own_prices() {
    let price = |entry: &Entry, service, above, meter| {
        let mut cards = entry.cards.iter();
        cards
            .find(|card| card.service == service && card.above_tokens == above)
            .and_then(|card| card.rates.price(meter))
    };
    let gpt_4o = entry("openai", "gpt-4o");
    assert_eq!(
        price(gpt_4o, Service::Batch, 0, Meter::Input),
        Some(1_250_000_000)
    );
    assert_eq!(
        price(gpt_4o, Service::Priority, 0, Meter::Output),
        Some(17_000_000_000)
    );
    let gemini = entry("gemini", "gemini-2.5-pro");
    assert_eq!(gemini.standard.price(Meter::Input), Some(1_250_000_000));
    assert_eq!(
        price(gemini, Service::Standard, 200_000, Meter::Input),
        Some(2_500_000_000)
    );
    assert_eq!(
        price(gemini, Service::Priority, 200_000, Meter::Input),
        Some(4_500_000_000)
    );
    let qwen = entry("dashscope", "qwen3-coder-flash");
    assert_eq!(qwen.standard.price(Meter::Input), Some(300_000_000));
    assert_eq!(
        price(qwen, Service::Standard, 32_000, Meter::Input),
        Some(500_000_000)
    );
    let claude = entry("anthropic", "claude-sonnet-4-5");
    assert_eq!(
        claude.standard.price(Meter::CacheWriteHour),
        Some(6_000_000_000)
    );
}

#[test]
fn what_is_not_counted_in_tokens_has_a_price_too() {
    let whisper = entry("openai", "whisper-1");
    assert_eq!(whisper.mode, Mode::AudioTranscription);
    assert_eq!(
        whisper.standard.price(Meter::SecondsIn),
        Some(100_000_000_000)
    );
    assert_eq!(whisper.standard.price(Meter::Input), None);
}

#[test]
fn limits_of_well_known_models_are_known() {
    let gpt_4o = entry("openai", "gpt-4o");
    assert_eq!(gpt_4o.max_input_tokens, Some(128_000));
    assert_eq!(gpt_4o.max_output_tokens, Some(16_384));
    assert_eq!(
        entry("anthropic", "claude-3-5-sonnet-20241022").max_output_tokens,
        Some(8_192)
    );
}

#[test]
fn well_over_a_thousand_models_have_a_token_price() {
    let priced = builtin().entries().iter().filter(|entry| {
        let price = |meter| entry.standard.price(meter);
        price(Meter::Input).is_some_and(|price| price > 0) && price(Meter::Output).is_some()
    });
    assert!(priced.count() >= 3_000);
}

#[test]
fn models_are_sorted_and_listed_once() {
    let keys = builtin()
        .entries()
        .iter()
        .map(|entry| (entry.provider, entry.model));
    assert!(keys.is_sorted_by(|a, b| a < b));
}

#[test]
fn no_model_is_free_without_saying_so_and_no_price_is_absurd() {
    for entry in builtin().entries() {
        let prices = || {
            entry
                .standard
                .iter()
                .chain(entry.cards.iter().flat_map(|card| card.rates.iter()))
        };
        // The dearest model costs $600 per million tokens; a slip of a factor 1,000 would show.
        let dearest = 100_000_000_000_000;
        for (meter, price) in prices() {
            assert!(price >= 0, "{entry:?}");
            let counts_tokens = meter < Meter::CharsIn;
            assert!(!counts_tokens || price < dearest, "{entry:?}");
        }
        if prices().next().is_some() {
            assert!(prices().any(|(_, price)| price > 0), "{entry:?}");
        }
    }
}

#[test]
fn names_are_the_providers_own() {
    for entry in builtin().entries() {
        assert!(!entry.provider.is_empty() && !entry.model.is_empty());
        assert!(!entry.provider.contains('/'), "{entry:?}");
        assert!(
            entry.deprecated_on.is_none_or(|day| day.len() == 10),
            "{entry:?}"
        );
    }
    for theirs in [
        "vertex_ai",
        "together_ai",
        "fireworks_ai",
        "bedrock_converse",
    ] {
        assert_eq!(builtin().provider_models(theirs).count(), 0, "{theirs}");
    }
}

#[test]
fn a_providers_models_are_all_and_only_its_own() {
    for provider in ["ai21", "openai", "azure", "azure_ai", "zai"] {
        let models: Vec<_> = builtin().provider_models(provider).collect();
        let all = builtin()
            .entries()
            .iter()
            .filter(|entry| entry.provider == provider);
        assert_eq!(models.len(), all.count(), "{provider}");
        assert!(models.iter().all(|entry| entry.provider == provider));
        assert!(!models.is_empty(), "{provider}");
    }
    assert_eq!(builtin().provider_models("nobody").count(), 0);
}

#[test]
fn unknown_and_misspelt_models_are_not_found() {
    for (provider, model) in [
        ("openai", "gpt-4O"),
        ("openai", ""),
        ("", "gpt-4o"),
        ("openai", "openai/gpt-4o"),
    ] {
        assert_eq!(builtin().get(provider, model), None, "{provider}/{model}");
    }
}

#[test]
fn the_source_is_named() {
    let catalogue = parse(&format!("{HEADER}\n{LINE}\n"), "").unwrap();
    assert_eq!(catalogue.source(), "s 1 (MIT), retrieved 2026-01-01");
    assert_eq!(catalogue.price_version(), 3);
    assert!(builtin().source().starts_with("PyPI litellm "));
}

#[test]
fn a_damaged_catalogue_is_refused_with_file_and_line() {
    let twice = format!("{HEADER}\n{LINE}\n");
    for (generated, supplement, expected) in [
        ("", "", "models.jsonl line 1: EOF"),
        (
            &*HEADER.replace("\"format\":1", "\"format\":2"),
            "",
            "models.jsonl line 1: format 2",
        ),
        (
            HEADER,
            "",
            "models.jsonl line 1: 1 models announced, 0 present",
        ),
        (
            &*format!("{HEADER}\n{}", LINE.trim_end_matches('}')),
            "",
            "models.jsonl line 2: EOF",
        ),
        (
            &*format!("{HEADER}\n{}", LINE.replace('5', "-5")),
            "",
            "models.jsonl line 2: invalid",
        ),
        (
            &*format!("{HEADER}\n{}", LINE.replace('5', "1.5")),
            "",
            "models.jsonl line 2: invalid",
        ),
        (
            &*format!("{HEADER}\n{}", LINE.replace('5', "9999999999999999999")),
            "",
            "models.jsonl line 2: 9999999999999999999 is too large",
        ),
        (
            &*format!("{HEADER}\n{}", LINE.replace("in", "inn")),
            "",
            "models.jsonl line 2: unknown",
        ),
        (
            &*format!(
                "{HEADER}\n{}",
                LINE.replace("}}", "},\"x\":{\"night\":{\"in\":1}}}")
            ),
            "",
            "models.jsonl line 2: \"night\" is no service tier",
        ),
        (&*twice, "{}", "supplement.jsonl line 1: missing field"),
        (&*twice, LINE, "openai/some-model is listed twice"),
    ] {
        let error = parse(generated, supplement).unwrap_err();
        assert!(error.contains(expected), "{error} / {expected}");
    }
}
