//! What has changed in policy, in order: how the publisher learns what to compile again.
//!
//! Every mutation of policy inserts a row in its own transaction, so that no change can be missed
//! and none is told that did not happen. Writers take turns ([`crate::db::Db::begin_write`]), so the
//! sequence numbers become visible in order.

use crate::db::{self, Tx};

/// What kind of thing a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A virtual key, its provider configs or their limits.
    VirtualKey,
    /// A team or its limits.
    Team,
    /// A customer or its limits.
    Customer,
    /// A provider; touches the settings entry.
    Provider,
    /// A model of the catalogue.
    Model,
    /// The settings of `/api/config`.
    Settings,
}

/// One change, committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Position; later changes have greater numbers, gaps are possible.
    pub sequence: i64,
    /// What kind of thing changed.
    pub kind: Kind,
    /// Which one.
    pub entity_id: String,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::VirtualKey,
        Self::Team,
        Self::Customer,
        Self::Provider,
        Self::Model,
        Self::Settings,
    ];

    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual_key",
            Self::Team => "team",
            Self::Customer => "customer",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Settings => "settings",
        }
    }

    fn parse(text: &str) -> Result<Self, db::Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| db::Error::corrupt("policy_changes.kind", text))
    }
}

/// Notes a change, in the transaction that makes it.
pub async fn record(tx: &mut Tx, kind: Kind, entity_id: &str) -> Result<(), db::Error> {
    tx.query("INSERT INTO policy_changes (kind, entity_id) VALUES ($1, $2)")
        .bind(kind.as_str())
        .bind(entity_id)
        .execute()
        .await?;
    Ok(())
}

/// Every change after `sequence`, in order.
pub async fn since(tx: &mut Tx, sequence: i64) -> Result<Vec<Change>, db::Error> {
    let rows: Vec<(i64, String, String)> = tx
        .query(
            "SELECT sequence, kind, entity_id FROM policy_changes
             WHERE sequence > $1 ORDER BY sequence",
        )
        .bind(sequence)
        .fetch_all()
        .await?;
    rows.into_iter()
        .map(|(sequence, kind, entity_id)| {
            Ok(Change {
                sequence,
                kind: Kind::parse(&kind)?,
                entity_id,
            })
        })
        .collect()
}

/// The newest change; 0: there has been none.
pub async fn latest(tx: &mut Tx) -> Result<i64, db::Error> {
    let (latest,): (i64,) = tx
        .query("SELECT COALESCE(MAX(sequence), 0) FROM policy_changes")
        .fetch_one()
        .await?;
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::on_every_database;

    on_every_database! {
        async fn changes_are_read_in_the_order_they_were_made(db: Db) {
            let mut tx = db.begin_write().await.unwrap();
            assert_eq!(latest(&mut tx).await.unwrap(), 0);
            for kind in Kind::ALL {
                record(&mut tx, kind, kind.as_str()).await.unwrap();
            }
            let changes = since(&mut tx, 0).await.unwrap();
            let kinds: Vec<Kind> = changes.iter().map(|change| change.kind).collect();
            assert_eq!(kinds, Kind::ALL);
            let third = changes[2].sequence;
            assert_eq!(since(&mut tx, third).await.unwrap(), changes[3..]);
            assert_eq!(latest(&mut tx).await.unwrap(), changes[5].sequence);
        }

        async fn a_change_that_is_rolled_back_was_never_made(db: Db) {
            let mut tx = db.begin_write().await.unwrap();
            record(&mut tx, Kind::Team, "t").await.unwrap();
            drop(tx);
            assert_eq!(since(&mut db.begin_read().await.unwrap(), 0).await.unwrap(), []);
        }
    }
}
