//! Brings the schema up to date. A database that a newer Reeve has migrated is refused.

use sqlx::migrate::Migrator;

use super::{Db, Error};

static SQLITE: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("./migrations/postgres");

pub(super) async fn run(db: &Db) -> Result<(), Error> {
    match db {
        Db::Sqlite { writer, .. } => SQLITE.run(writer).await?,
        Db::Postgres(pool) => POSTGRES.run(pool).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{with_empty_postgres, with_empty_sqlite};

    #[test]
    fn both_databases_have_the_same_migrations() {
        let names = |migrator: &Migrator| {
            migrator
                .iter()
                .map(|m| (m.version, m.description.to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&SQLITE), names(&POSTGRES));
    }

    /// A database that was last used by the release with these migrations.
    async fn migrated_to(db: &Db, version: i64) {
        match db {
            Db::Sqlite { writer, .. } => SQLITE.run_to(version, writer).await.unwrap(),
            Db::Postgres(pool) => POSTGRES.run_to(version, pool).await.unwrap(),
        }
    }

    async fn an_upgrade_keeps_providers_their_keys_and_the_ledger(db: Db) {
        migrated_to(&db, 20).await;
        let mut tx = db.begin_write().await.unwrap();
        for statement in [
            "INSERT INTO providers (name, wire_format, base_url, allow_private_network, is_key_less,
                                    created_at, updated_at)
             VALUES ('a', 'anthropic', 'https://a.example', FALSE, FALSE, 1, 2),
                    ('o', 'openai', 'https://o.example', TRUE, TRUE, 3, 4)",
            "INSERT INTO provider_keys (id, provider, name, sealed_value, last4, weight_ppm,
                                        is_active, created_at, updated_at)
             VALUES ('k', 'a', 'key-1', 'sealed', '1234', 1, TRUE, 5, 6)",
            "INSERT INTO usage_records (node_id, boot_id, sequence, request_id, reserved_at,
                                        finished_at, provider, model, operation, input_tokens,
                                        cache_write_tokens, cost_nanos, estimated, streamed,
                                        outcome)
             VALUES ('n', 'b', 1, 'r', 7, 8, 'a', 'm', 'chat', 10, 20, 30, FALSE, FALSE,
                     'complete')",
        ] {
            tx.query(statement).execute().await.unwrap();
        }
        tx.commit().await.unwrap();

        run(&db).await.unwrap();
        let mut tx = db.begin_write().await.unwrap();
        let providers: Vec<(String, String, String, i64)> = tx
            .query(
                "SELECT name, base_provider_type, base_url, updated_at FROM providers
                 ORDER BY name",
            )
            .fetch_all()
            .await
            .unwrap();
        let row =
            |name: &str, kind: &str, url: &str, at| (name.into(), kind.into(), url.into(), at);
        assert_eq!(
            providers,
            [
                row("a", "anthropic", "https://a.example", 2),
                row("o", "openai", "https://o.example", 4),
            ]
        );
        let keys: Vec<(String, String)> = tx
            .query("SELECT provider, sealed_value FROM provider_keys")
            .fetch_all()
            .await
            .unwrap();
        assert_eq!(keys, [("a".into(), "sealed".into())]);
        let tokens: (i64, i64, Option<i64>) = tx
            .query(
                "SELECT input_tokens, cache_write_5m_tokens, cache_write_1h_tokens
                 FROM usage_records",
            )
            .fetch_one()
            .await
            .unwrap();
        assert_eq!(tokens, (10, 20, None));

        // The new column has the rules of the old one, and keys still go with their provider.
        tx.query("DELETE FROM providers WHERE name = 'a'")
            .execute()
            .await
            .unwrap();
        let (left,): (i64,) = tx
            .query("SELECT COUNT(*) FROM provider_keys")
            .fetch_one()
            .await
            .unwrap();
        assert_eq!(left, 0);
        let kind = tx
            .query("UPDATE providers SET base_provider_type = 'vertex'")
            .execute()
            .await;
        assert!(kind.is_err());
    }

    #[tokio::test]
    async fn an_upgrade_of_sqlite_keeps_what_is_there() {
        with_empty_sqlite(an_upgrade_keeps_providers_their_keys_and_the_ledger).await;
    }

    #[tokio::test]
    async fn an_upgrade_of_postgres_keeps_what_is_there() {
        with_empty_postgres(an_upgrade_keeps_providers_their_keys_and_the_ledger).await;
    }
}
