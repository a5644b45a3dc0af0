//! Who is asked to give back what, through streams.

use reeve_proto::v1::control_message::Kind as Down;

use super::entries::Position;
use super::testing::{Filter, Plane, keys};
use crate::db::testing::on_every_database;
use crate::testing::{Api, START_MS};

async fn team(api: &Api) -> (String, String) {
    let body = r#"{"name": "t", "budget": {"max_limit": 16, "reset_duration": "1m"}}"#;
    let team = api.post("/api/governance/teams", body).await;
    let team = &team.ok(201)["team"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&team["id"]), text(&team["budgets"][0]["id"]))
}

/// The next recall: limit, window, base.
async fn recalled(filter: &mut Filter) -> (String, i64, i64) {
    loop {
        if let Down::Recall(mut recall) = filter.hear().await.unwrap() {
            assert_eq!(recall.windows.len(), 1);
            let window = recall.windows.remove(0);
            return (window.limit_id, window.window_start_ms, window.base);
        }
    }
}

on_every_database! {
    async fn a_limit_that_is_lowered_is_called_back_whichever_replica_lowers_it(db: Db) {
        let plane = Plane::start(&db).await;
        let (id, budget) = team(&plane.api).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        // It may not be published yet, and nobody was lent of a limit that nobody knows.
        let entry = format!("owner/team/{id}");
        while !keys(&filter.update().await).contains(&entry.as_str()) {}
        let path = format!("/api/governance/teams/{id}");
        let replica = Api::new(db.clone()).await;
        for (api, dollars) in [(&plane.api, 10), (&replica, 5)] {
            let body = format!(r#"{{"budget": {{"max_limit": {dollars}, "reset_duration": "1m"}}}}"#);
            api.put(&path, &body).await.ok(200);
            let recall = (budget.clone(), START_MS, dollars * 1_000_000_000);
            assert_eq!(recalled(&mut filter).await, recall);
        }
    }
}
