//! The published policy: entries, each with the version in which it last changed. Pure.
//!
//! A version is a whole policy. A filter that has version 7 and is told everything newer than 7 has
//! what the newest version is; so it is told what exists with a newer version, and what has ceased to
//! exist since. The memory of what has ceased to exist is a tombstone per key. When there are more
//! tombstones than entries they are all dropped, and the epoch ends with them: every filter is then
//! sent everything once, which is less than the deletions that led to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use reeve_proto::v1::{PolicyEntry, PolicyUpdate};

use crate::policy_changes::Kind;

/// Fewer tombstones than this are kept, however few entries there are.
const TOMBSTONES_KEPT: usize = 1_024;
/// Most bytes of keys and values in one message. An entry that is larger goes alone.
const PART_BYTES: usize = 480 * 1024;

/// The key of an entry in the filters' shared data.
pub type EntryKey = Arc<str>;

/// What policy is made from: the kind of a thing and its id.
pub type Entity = (Kind, String);

/// A change of one entity: every entry it now has. None: it is gone.
#[derive(Debug, Clone)]
pub struct EntityEntries {
    /// The entity.
    pub entity: Entity,
    /// Its entries: key and encoded message.
    pub entries: Vec<(EntryKey, Bytes)>,
}

/// A state that a filter can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Which sequence of versions.
    pub epoch: u64,
    /// Which of them.
    pub version: u64,
}

/// What takes a filter to the newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Where it takes the filter.
    pub to: Position,
    /// Entries to write.
    pub entries: Vec<(EntryKey, Bytes)>,
    /// Entries to remove.
    pub removed: Vec<EntryKey>,
}

/// See the module.
#[derive(Debug)]
pub struct Entries {
    position: Position,
    slots: HashMap<EntryKey, Slot>,
    /// Every key of `slots`, by the version in which it last changed.
    by_version: BTreeSet<(u64, EntryKey)>,
    owned: HashMap<Entity, Vec<EntryKey>>,
    tombstones: usize,
}

#[derive(Debug)]
struct Slot {
    version: u64,
    /// `None`: a tombstone.
    value: Option<Bytes>,
}

impl Entries {
    /// The first version of an epoch. `epoch` must not be zero, and no other start of any control
    /// plane may have had it.
    pub fn new(epoch: u64, entities: Vec<EntityEntries>) -> Self {
        let mut entries = Self {
            position: Position { epoch, version: 0 },
            slots: HashMap::new(),
            by_version: BTreeSet::new(),
            owned: HashMap::new(),
            tombstones: 0,
        };
        entries.apply(entities);
        entries
    }

    /// What is published now.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The value of an entry.
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.slots.get(key)?.value.as_ref()
    }

    /// The entries of an entity.
    pub fn of(&self, entity: &Entity) -> &[EntryKey] {
        self.owned.get(entity).map_or(&[], Vec::as_slice)
    }

    /// How many entries exist.
    pub fn len(&self) -> usize {
        self.slots.len().saturating_sub(self.tombstones)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Publishes changed entities as one new version. False: nothing is different, the version
    /// stays.
    pub fn apply(&mut self, changes: Vec<EntityEntries>) -> bool {
        // An entry may move from one entity to another, so all go before any comes.
        let mut values: BTreeMap<EntryKey, Option<Bytes>> = BTreeMap::new();
        for change in &changes {
            for key in self.owned.remove(&change.entity).unwrap_or_default() {
                values.insert(key, None);
            }
        }
        for change in changes {
            let keys: Vec<EntryKey> = change
                .entries
                .iter()
                .map(|(key, _)| Arc::clone(key))
                .collect();
            if !keys.is_empty() {
                self.owned.insert(change.entity, keys);
            }
            values.extend(
                change
                    .entries
                    .into_iter()
                    .map(|(key, value)| (key, Some(value))),
            );
        }
        values.retain(|key, value| match self.slots.get(key) {
            Some(slot) => slot.value != *value,
            None => value.is_some(),
        });
        if values.is_empty() {
            return false;
        }
        self.position.version = self.position.version.saturating_add(1);
        for (key, value) in values {
            self.set(key, value);
        }
        self.compact();
        true
    }

    fn set(&mut self, key: EntryKey, value: Option<Bytes>) {
        let version = self.position.version;
        if value.is_none() {
            self.tombstones = self.tombstones.saturating_add(1);
        }
        if let Some(old) = self.slots.insert(Arc::clone(&key), Slot { version, value }) {
            self.by_version.remove(&(old.version, Arc::clone(&key)));
            if old.value.is_none() {
                self.tombstones = self.tombstones.saturating_sub(1);
            }
        }
        self.by_version.insert((version, key));
    }

    fn compact(&mut self) {
        if self.tombstones <= TOMBSTONES_KEPT.max(self.len()) {
            return;
        }
        self.slots.retain(|_, slot| slot.value.is_some());
        self.tombstones = 0;
        self.by_version
            .retain(|(_, key)| self.slots.contains_key(key));
        // Zero means "none" on the wire.
        self.position.epoch = self.position.epoch.checked_add(1).unwrap_or(1);
    }

    /// What a filter at `from` has to be told. `None`: nothing.
    pub fn update_since(&self, from: Position) -> Option<Update> {
        let known = from.epoch == self.position.epoch && from.version <= self.position.version;
        if !known {
            return Some(self.full());
        }
        let first = (from.version.checked_add(1)?, EntryKey::from(""));
        let mut update = Update {
            to: self.position,
            entries: Vec::new(),
            removed: Vec::new(),
        };
        for (_, key) in self.by_version.range(first..) {
            match self.slots.get(key).and_then(|slot| slot.value.clone()) {
                Some(value) => update.entries.push((Arc::clone(key), value)),
                None => update.removed.push(Arc::clone(key)),
            }
        }
        (from != self.position).then_some(update)
    }

    fn full(&self) -> Update {
        let entries = self
            .slots
            .iter()
            .filter_map(|(key, slot)| Some((Arc::clone(key), slot.value.clone()?)))
            .collect();
        Update {
            to: self.position,
            entries,
            removed: Vec::new(),
        }
    }
}

impl Update {
    /// The update as messages of bounded size; the last one says so.
    pub fn into_parts(self) -> impl Iterator<Item = PolicyUpdate> {
        let Position { epoch, version } = self.to;
        let removed = self.removed.into_iter().map(Piece::Removed);
        let mut pieces = self
            .entries
            .into_iter()
            .map(|(key, value)| Piece::Entry(key, value))
            .chain(removed)
            .peekable();
        let mut done = false;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            let mut part = PolicyUpdate {
                epoch,
                version,
                ..PolicyUpdate::default()
            };
            let mut bytes: usize = 0;
            while let Some(piece) = pieces.next_if(|piece| {
                bytes = bytes.saturating_add(piece.bytes());
                bytes <= PART_BYTES || (part.entries.is_empty() && part.removed.is_empty())
            }) {
                match piece {
                    Piece::Entry(key, value) => part.entries.push(PolicyEntry {
                        key: key.to_string(),
                        value: value.to_vec(),
                    }),
                    Piece::Removed(key) => part.removed.push(key.to_string()),
                }
            }
            done = pieces.peek().is_none();
            part.last = done;
            Some(part)
        })
    }
}

enum Piece {
    Entry(EntryKey, Bytes),
    Removed(EntryKey),
}

impl Piece {
    /// At least what it takes on the wire.
    fn bytes(&self) -> usize {
        /// Tags and lengths.
        const FRAMING: usize = 16;
        let length = match self {
            Self::Entry(key, value) => key.len().saturating_add(value.len()),
            Self::Removed(key) => key.len(),
        };
        length.saturating_add(FRAMING)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn change(id: &str, entries: &[(&str, &str)]) -> EntityEntries {
        let entries = entries.iter().map(|(key, value)| {
            (
                EntryKey::from(*key),
                Bytes::copy_from_slice(value.as_bytes()),
            )
        });
        EntityEntries {
            entity: (Kind::VirtualKey, id.to_owned()),
            entries: entries.collect(),
        }
    }

    /// A filter: what it holds, and the epoch each entry was written in.
    #[derive(Default)]
    struct Filter {
        position: Position,
        held: HashMap<String, (u64, Vec<u8>)>,
    }

    impl Filter {
        fn follow(&mut self, entries: &Entries) -> usize {
            let Some(update) = entries.update_since(self.position) else {
                return 0;
            };
            let mut parts = 0;
            for part in update.into_parts() {
                parts += 1;
                for entry in part.entries {
                    self.held.insert(entry.key, (part.epoch, entry.value));
                }
                for key in part.removed {
                    self.held.remove(&key);
                }
                if part.last {
                    self.position = Position {
                        epoch: part.epoch,
                        version: part.version,
                    };
                }
            }
            parts
        }

        fn sees(&self) -> BTreeMap<String, Vec<u8>> {
            let held = self
                .held
                .iter()
                .filter(|(_, (epoch, _))| *epoch == self.position.epoch);
            held.map(|(key, (_, value))| (key.clone(), value.clone()))
                .collect()
        }
    }

    #[test]
    fn a_change_that_changes_nothing_has_no_version() {
        let mut entries = Entries::new(7, vec![change("a", &[("key/1", "x")])]);
        assert_eq!(
            entries.position(),
            Position {
                epoch: 7,
                version: 1
            }
        );
        assert!(!entries.apply(vec![change("a", &[("key/1", "x")])]));
        assert!(!entries.apply(vec![change("gone", &[])]));
        assert_eq!(entries.position().version, 1);
    }

    #[test]
    fn a_delta_holds_what_changed_and_nothing_else() {
        let mut entries = Entries::new(
            7,
            vec![
                change("a", &[("key/1", "x")]),
                change("b", &[("key/2", "y")]),
            ],
        );
        let before = entries.position();
        assert!(entries.apply(vec![change("a", &[("key/1", "z")])]));
        assert!(entries.apply(vec![change("b", &[])]));
        let update = entries.update_since(before).unwrap();
        assert_eq!(update.entries, [("key/1".into(), Bytes::from("z"))]);
        assert_eq!(update.removed, ["key/2".into()]);
        assert_eq!(entries.update_since(entries.position()), None);
    }

    #[test]
    fn an_entry_that_an_entity_no_longer_has_is_removed() {
        let mut entries = Entries::new(7, vec![change("a", &[("key/old", "x"), ("key/2", "x")])]);
        let before = entries.position();
        entries.apply(vec![change("a", &[("key/new", "x"), ("key/2", "x")])]);
        let update = entries.update_since(before).unwrap();
        assert_eq!(update.entries, [("key/new".into(), Bytes::from("x"))]);
        assert_eq!(update.removed, ["key/old".into()]);
    }

    #[test]
    fn an_entry_that_moves_to_another_entity_is_not_removed() {
        let mut entries = Entries::new(7, vec![change("a", &[("key/1", "x")])]);
        let before = entries.position();
        entries.apply(vec![change("b", &[("key/1", "y")]), change("a", &[])]);
        let update = entries.update_since(before).unwrap();
        assert_eq!(update.entries, [("key/1".into(), Bytes::from("y"))]);
        assert!(update.removed.is_empty());
    }

    #[test]
    fn a_filter_of_another_epoch_or_from_the_future_is_sent_everything() {
        let mut entries = Entries::new(7, vec![change("a", &[("key/1", "x")])]);
        entries.apply(vec![change("b", &[("key/2", "y")])]);
        for (epoch, version) in [(0, 0), (6, 1), (7, 99)] {
            let update = entries.update_since(Position { epoch, version }).unwrap();
            assert_eq!(update.entries.len(), 2, "{epoch} {version}");
        }
    }

    #[test]
    fn an_empty_policy_is_still_a_version_to_be_in() {
        let entries = Entries::new(7, Vec::new());
        let parts: Vec<_> = entries
            .update_since(Position::default())
            .unwrap()
            .into_parts()
            .collect();
        assert_eq!(parts.len(), 1);
        assert!(parts[0].last && parts[0].entries.is_empty());
    }

    #[test]
    fn tombstones_do_not_pile_up_and_no_filter_keeps_what_is_gone() {
        let key = |i: usize| change(&i.to_string(), &[(&format!("key/{i}"), "x")]);
        let mut entries = Entries::new(u64::MAX, (0..2000).map(key).collect());
        let mut filter = Filter::default();
        filter.follow(&entries);
        for i in 0..1999 {
            entries.apply(vec![change(&i.to_string(), &[])]);
        }
        assert_ne!(entries.position().epoch, u64::MAX);
        assert_ne!(entries.position().epoch, 0);
        assert!(entries.tombstones <= TOMBSTONES_KEPT);
        filter.follow(&entries);
        assert_eq!(filter.sees().into_keys().collect::<Vec<_>>(), ["key/1999"]);
    }

    #[test]
    fn parts_are_bounded_and_only_the_last_says_so() {
        let value = "v".repeat(100_000);
        let names: Vec<String> = (0..20).map(|i| format!("key/{i}")).collect();
        let pairs: Vec<(&str, &str)> = names
            .iter()
            .map(|name| (name.as_str(), value.as_str()))
            .collect();
        let entries = Entries::new(7, vec![change("a", &pairs)]);
        let parts: Vec<_> = entries
            .update_since(Position::default())
            .unwrap()
            .into_parts()
            .collect();
        assert_eq!(parts.len(), 5);
        assert!(parts.iter().all(|part| part.encoded_len() < 512 * 1024));
        let last: Vec<bool> = parts.iter().map(|part| part.last).collect();
        assert_eq!(last, [false, false, false, false, true]);
        let sent: usize = parts.iter().map(|part| part.entries.len()).sum();
        assert_eq!(sent, 20);
    }

    #[test]
    fn an_entry_larger_than_a_part_goes_alone() {
        let value = "v".repeat(PART_BYTES + 1);
        let entries = Entries::new(7, vec![change("a", &[("key/1", &value), ("key/2", "x")])]);
        let parts: Vec<_> = entries
            .update_since(Position::default())
            .unwrap()
            .into_parts()
            .collect();
        let sizes: Vec<usize> = parts.iter().map(|part| part.entries.len()).collect();
        assert_eq!(sizes, [1, 1]);
    }

    proptest! {
        /// Whatever happens, and whenever filters look, all of them see the same in the end: what
        /// each entity has now.
        #[test]
        fn every_filter_ends_where_the_policy_is(
            steps in proptest::collection::vec(
                (0u8..6, proptest::collection::btree_set(0u8..4, 0..3), 0u8..3, any::<bool>()),
                0..60,
            ),
        ) {
            let mut entries = Entries::new(7, Vec::new());
            let mut model: BTreeMap<u8, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
            let mut often = Filter::default();
            let mut late = Filter::default();
            for (id, keys, value, look) in steps {
                // An entry belongs to one entity, so its key carries the entity's id.
                let named: Vec<(String, String)> =
                    keys.iter().map(|key| (format!("key/{id}/{key}"), value.to_string())).collect();
                let pairs: Vec<(&str, &str)> =
                    named.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                entries.apply(vec![change(&id.to_string(), &pairs)]);
                let now = named.into_iter().map(|(key, value)| (key, value.into_bytes()));
                model.insert(id, now.collect());
                if look {
                    often.follow(&entries);
                }
            }
            often.follow(&entries);
            late.follow(&entries);
            let expected: BTreeMap<String, Vec<u8>> = model.into_values().flatten().collect();
            prop_assert_eq!(often.sees(), expected.clone());
            prop_assert_eq!(late.sees(), expected.clone());
            prop_assert_eq!(entries.len(), expected.len());
        }
    }
}
