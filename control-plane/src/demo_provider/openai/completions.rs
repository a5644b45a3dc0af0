//! `POST /v1/completions`, the older completion of a text.

use serde_json::{Value, json};

use super::chunks;
use super::inputs::read_inputs;
use crate::demo_provider::call::Call;
use crate::demo_provider::fields::invalid;
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::Answer;

/// Most answers to one prompt.
const MOST_CHOICES: u32 = 128;
/// Most answers to one request.
const MOST_IN_ALL: usize = 2048;

/// Answers a call: `n` choices for the first prompt, then for the next; those of one prompt have
/// the same text.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let prompts = read_inputs("prompt", fields.required("prompt")?)?;
    let each = fields.number("n", MOST_CHOICES)?.unwrap_or(1);
    if prompts.len().saturating_mul(each as usize) > MOST_IN_ALL {
        return Err(invalid("n", "gives more than 2048 choices in all"));
    }
    let most = fields.number("max_tokens", u32::MAX)?;
    let stream = fields.flag("stream")?;
    let with_usage = chunks::with_usage(call, fields, stream)?;
    let answers: Vec<Answer> = prompts
        .iter()
        .map(|prompt| call.thought_out(model, &prompt.text, most))
        .collect();

    let input_tokens = prompts.iter().map(|prompt| prompt.tokens).sum();
    let times = |tokens: u64| tokens.saturating_mul(each.into());
    let shown = times(answers.iter().map(Answer::shown).sum());
    let hidden = times(answers.iter().map(|answer| answer.reasoning).sum());
    let usage = chunks::usage(call, input_tokens, shown.saturating_add(hidden), hidden);
    let base = json!({
        "id": call.id("cmpl"), "object": "text_completion", "created": call.now, "model": model,
        "system_fingerprint": format!("fp_{}", call.provider),
    });
    let choices = answers
        .into_iter()
        .flat_map(move |answer| (0..each).map(move |_| answer.clone()))
        .enumerate();
    let content = if stream {
        let said = choices.flat_map(|(index, answer)| said(index, answer));
        chunks::stream(base, said, with_usage.then_some(usage))
    } else {
        let choices: Vec<Value> = choices
            .map(|(index, answer)| {
                choice(index, &answer.text(), Some(chunks::finish_reason(&answer)))
            })
            .collect();
        let body = merged(base, json!({"choices": choices, "usage": usage}));
        Content::json(body, shown)
    };
    Ok(Reply::new(model, input_tokens, content).hiding(hidden))
}

fn choice(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

/// The chunks of one choice, with their tokens.
fn said(index: usize, answer: Answer) -> impl Iterator<Item = (Value, u64)> {
    let finish = chunks::finish_reason(&answer);
    let said = answer
        .tokens
        .into_iter()
        .map(move |token| (choice(index, &token, None), 1));
    said.chain([(choice(index, "", Some(finish)), 0)])
}
