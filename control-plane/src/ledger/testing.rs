//! For tests: the ledger's writer without its queue.

use reeve_proto::v1::UsageRecord;

use super::books::Books;
use super::{sessions, writer};
use crate::db::{Db, Tx};
use crate::testing::START_MS;
use crate::usage::Boot;
use crate::usage::ingest::Posting;

/// Posts a batch in a transaction of its own.
pub async fn post(db: &Db, boot: &Boot, batch: Vec<UsageRecord>) -> Posting {
    let (tx, posting) = post_without_commit(db, boot, batch).await;
    tx.commit().await.unwrap();
    posting
}

/// The same, up to the commit.
pub async fn post_without_commit(db: &Db, boot: &Boot, batch: Vec<UsageRecord>) -> (Tx, Posting) {
    let mut tx = db.begin_write().await.unwrap();
    let mut books = Books::default();
    books.open(&mut tx).await.unwrap();
    let posting = writer::post(&mut tx, &mut books, boot, batch, START_MS)
        .await
        .unwrap();
    books.save(&mut tx, START_MS).await.unwrap();
    (tx, posting)
}

/// The session of a boot that has joined.
pub async fn session(db: &Db, boot: &Boot) -> i64 {
    let mut tx = db.begin_read().await.unwrap();
    sessions::find(&mut tx, boot).await.unwrap().unwrap().id
}
