//! What both databases promise.

use std::time::Duration;

use super::testing::on_every_database;
use super::{Db, Error, Tx};

async fn table(db: &Db) {
    let mut tx = db.begin_write().await.unwrap();
    tx.query("CREATE TABLE things (id TEXT PRIMARY KEY, amount BIGINT, UNIQUE (amount))")
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn insert(tx: &mut Tx, id: &str, amount: Option<i64>) -> Result<u64, Error> {
    tx.query("INSERT INTO things (id, amount) VALUES ($1, $2)")
        .bind(id)
        .bind(amount)
        .execute()
        .await
}

async fn total(tx: &mut Tx) -> i64 {
    let (total,): (i64,) = tx
        .query("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM things")
        .fetch_one()
        .await
        .unwrap();
    total
}

/// A value that no driver can send.
struct Unsendable;

impl<DB: sqlx::Database> sqlx::Type<DB> for Unsendable
where
    i64: sqlx::Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as sqlx::Type<DB>>::type_info()
    }
}

impl<DB: sqlx::Database> sqlx::Encode<'_, DB> for Unsendable {
    fn encode_by_ref(
        &self,
        _: &mut DB::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Err("cannot be sent".into())
    }
}

on_every_database! {
    async fn what_is_not_committed_leaves_nothing(db: Db) {
        table(&db).await;
        let mut tx = db.begin_write().await.unwrap();
        insert(&mut tx, "a", Some(1)).await.unwrap();
        drop(tx);
        assert_eq!(total(&mut db.begin_read().await.unwrap()).await, 0);
    }

    async fn a_violated_constraint_is_named(db: Db) {
        table(&db).await;
        let mut tx = db.begin_write().await.unwrap();
        insert(&mut tx, "a", Some(1)).await.unwrap();
        let error = insert(&mut tx, "b", Some(1)).await.unwrap_err();
        assert!(error.violates("things_amount_key"), "{error:?}");
    }

    async fn a_value_that_cannot_be_encoded_fails_the_statement(db: Db) {
        table(&db).await;
        let mut tx = db.begin_write().await.unwrap();
        let outcome = tx
            .query("INSERT INTO things (id, amount) VALUES ($1, $2)")
            .bind("a")
            .bind(Unsendable)
            .execute()
            .await;
        assert!(matches!(outcome, Err(Error::Driver(sqlx::Error::Encode(_)))), "{outcome:?}");
    }

    async fn a_read_transaction_cannot_write(db: Db) {
        table(&db).await;
        let mut tx = db.begin_read().await.unwrap();
        assert!(insert(&mut tx, "a", Some(1)).await.is_err());
    }

    async fn a_reader_sees_one_state_while_a_writer_commits(db: Db) {
        table(&db).await;
        let mut reader = db.begin_read().await.unwrap();
        assert_eq!(total(&mut reader).await, 0);
        let mut writer = db.begin_write().await.unwrap();
        insert(&mut writer, "a", Some(7)).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(total(&mut reader).await, 0);
        drop(reader);
        assert_eq!(total(&mut db.begin_read().await.unwrap()).await, 7);
    }

    async fn writers_take_turns(db: Db) {
        table(&db).await;
        let mut first = db.begin_write().await.unwrap();
        insert(&mut first, "a", Some(1)).await.unwrap();
        let second = {
            let db = db.clone();
            tokio::spawn(async move {
                let mut tx = db.begin_write().await.unwrap();
                let seen = total(&mut tx).await;
                insert(&mut tx, "b", Some(2)).await.unwrap();
                tx.commit().await.unwrap();
                seen
            })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!second.is_finished());
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), 1);
    }
}
