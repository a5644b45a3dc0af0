//! Limits that a change of policy lowers: what was lent of them is called back at once, so that the lower
//! limit binds soon, and not only from the next lease on. Pure.

use std::collections::HashMap;

use prost::Message as _;
use reeve_policy::limit::{Limit, Metric};
use reeve_proto::v1;

use super::entries::{EntityEntries, Entries};
use crate::ledger::{Key, Recall};

/// What every session is to give back once `changes` are published over `entries`. A limit that is new
/// was never lent, and nobody judges by one that is gone. Slots are held under a session of their own, and
/// whoever holds more than there are by now sees that by itself.
pub(super) fn recalls(entries: &Entries, changes: &[EntityEntries], now_ms: i64) -> Vec<Recall> {
    let mut recalls = Vec::new();
    for change in changes {
        let before = entries.of(&change.entity).iter();
        let before = before.filter_map(|key| Some((key.as_ref(), entries.get(key)?.as_ref())));
        let after = change.entries.iter();
        let after = after.map(|(key, value)| (key.as_ref(), value.as_ref()));
        if before.clone().eq(after.clone()) {
            continue;
        }
        let before = limits(before);
        let lowered = limits(after).into_values().filter(|limit| {
            let is_lower = |before: &Limit| {
                limit.max < before.max || limit.max_at(now_ms) < before.max_at(now_ms)
            };
            limit.metric != Metric::InFlight && before.get(&limit.id).is_some_and(is_lower)
        });
        recalls.extend(lowered.map(|limit| Recall {
            holder: None,
            base: limit.max,
            key: Key {
                window_start_ms: limit.window(now_ms).start_ms,
                limit_id: limit.id,
            },
        }));
    }
    recalls
}

/// The limits in entries, by their ids.
fn limits<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> HashMap<String, Limit> {
    let of_models = |all: Vec<v1::ModelLimits>| all.into_iter().flat_map(|of| of.limits);
    let messages = entries.flat_map(|(key, value)| -> Vec<v1::Limit> {
        // What we have encoded ourselves can be decoded.
        match key.split('/').next() {
            Some("settings") => v1::Settings::decode(value)
                .map(|settings| of_models(settings.model_limits).collect()),
            Some("owner") => v1::Owner::decode(value).map(|owner| owner.limits),
            Some("key") => v1::VirtualKey::decode(value).map(|key| {
                let configs = key.provider_configs.into_iter();
                let of_configs = configs.flat_map(|config| config.limits);
                let of_key = key.limits.into_iter().chain(of_configs);
                of_key.chain(of_models(key.model_limits)).collect()
            }),
            _ => return Vec::new(),
        }
        .unwrap_or_default()
    });
    messages
        .filter_map(|message| Limit::try_from(message).ok())
        .map(|limit| (limit.id.clone(), limit))
        .collect()
}

#[cfg(test)]
mod tests {
    use reeve_policy::calendar::Alignment;
    use reeve_policy::period::Period;

    use super::*;
    use crate::policy_changes::Kind;

    const NOW_MS: i64 = 90_000;

    fn limit(id: &str, max: i64) -> Limit {
        Limit {
            id: id.into(),
            metric: Metric::Requests,
            max,
            period: Period::parse("1m").unwrap(),
            anchor_ms: 0,
            alignment: Alignment::Rolling,
            open: None,
            raised_by: None,
        }
    }

    fn messages(limits: &[Limit]) -> Vec<v1::Limit> {
        limits.iter().map(|limit| v1::Limit::at(limit, 0)).collect()
    }

    fn of_models(limits: &[Limit]) -> Vec<v1::ModelLimits> {
        vec![v1::ModelLimits {
            limits: messages(limits),
            ..v1::ModelLimits::default()
        }]
    }

    fn entity(kind: Kind, key: &str, message: &impl prost::Message) -> EntityEntries {
        EntityEntries {
            entity: (kind, "it".into()),
            entries: vec![(key.into(), message.encode_to_vec().into())],
        }
    }

    /// Everywhere that limits are.
    fn places(limits: &[Limit]) -> Vec<EntityEntries> {
        let owner = v1::Owner {
            limits: messages(limits),
            ..v1::Owner::default()
        };
        let settings = v1::Settings {
            model_limits: of_models(limits),
            ..v1::Settings::default()
        };
        let of_key = v1::VirtualKey {
            limits: messages(limits),
            ..v1::VirtualKey::default()
        };
        let of_model = v1::VirtualKey {
            model_limits: of_models(limits),
            ..v1::VirtualKey::default()
        };
        let of_config = v1::VirtualKey {
            provider_configs: vec![v1::ProviderConfig {
                limits: messages(limits),
                ..v1::ProviderConfig::default()
            }],
            ..v1::VirtualKey::default()
        };
        vec![
            entity(Kind::Team, "owner/team/it", &owner),
            entity(Kind::Settings, "settings", &settings),
            entity(Kind::VirtualKey, "key/1", &of_key),
            entity(Kind::VirtualKey, "key/1", &of_model),
            entity(Kind::VirtualKey, "key/1", &of_config),
        ]
    }

    #[test]
    fn a_limit_that_is_lowered_is_called_back_from_everyone_wherever_it_is() {
        let recall = Recall {
            holder: None,
            key: Key {
                limit_id: "lowered".into(),
                window_start_ms: 60_000,
            },
            base: 9,
        };
        let before = [limit("lowered", 10), limit("raised", 10), limit("gone", 10)];
        let after = [limit("lowered", 9), limit("raised", 11), limit("new", 1)];
        for (before, after) in places(&before).into_iter().zip(places(&after)) {
            let entries = Entries::new(1, vec![before.clone()]);
            assert_eq!(recalls(&entries, &[before], NOW_MS), []);
            assert_eq!(
                recalls(&entries, &[after], NOW_MS),
                std::slice::from_ref(&recall)
            );
        }
    }

    #[test]
    fn slots_are_not_called_back() {
        let slots = |max| Limit {
            metric: Metric::InFlight,
            ..limit("it", max)
        };
        for (before, after) in places(&[slots(10)]).into_iter().zip(places(&[slots(9)])) {
            let entries = Entries::new(1, vec![before]);
            assert_eq!(recalls(&entries, &[after], NOW_MS), []);
        }
    }

    #[test]
    fn an_override_that_is_removed_or_made_smaller_lowers_a_limit() {
        let plain = limit("it", 10);
        let raised = |amount| Limit {
            raised_by: Some(plain.override_from(NOW_MS, amount, Some(1))),
            ..plain.clone()
        };
        let recalled = |before: Limit, after: Limit| {
            let place = |limit| places(&[limit]).swap_remove(0);
            let entries = Entries::new(1, vec![place(before)]);
            recalls(&entries, &[place(after)], NOW_MS).len()
        };
        assert_eq!(recalled(raised(5), plain.clone()), 1);
        assert_eq!(recalled(raised(5), raised(4)), 1);
        assert_eq!(recalled(raised(4), raised(5)), 0);
        assert_eq!(recalled(plain.clone(), raised(5)), 0);
    }
}
