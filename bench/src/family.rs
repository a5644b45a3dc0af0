//! Customers, their teams, the teams' keys and the keys' provider configs, each with a budget: four levels
//! that every request is charged to.

use anyhow::Context as _;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::clock;
use crate::control_plane::{Admin, ControlPlane};

const KEYS_OF_A_TEAM: usize = 10;
const TEAMS_OF_A_CUSTOMER: usize = 10;
/// Dollars: enough for every run.
const BUDGET: u64 = 900_000;
/// Connections that keys are created over.
const PARALLEL: usize = 8;

/// A budget's current window.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) limit_id: String,
    pub(crate) start_ms: i64,
}

/// A key and its owners.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) customer_id: String,
    pub(crate) team_id: String,
    pub(crate) key_id: String,
    pub(crate) provider_config_id: String,
    /// Of all four.
    pub(crate) windows: Vec<Window>,
}

#[derive(Deserialize)]
struct Budget {
    id: String,
    last_reset: String,
    current_usage: Box<RawValue>,
}

/// A customer, a team, a key or a provider config, as the admin API shows it.
#[derive(Deserialize)]
struct Owner {
    id: String,
    budgets: Vec<Budget>,
    #[serde(default)]
    provider_configs: Vec<Owner>,
}

impl Owner {
    fn window(&self) -> anyhow::Result<Window> {
        let budget = self.budgets.first().context("no budget in the answer")?;
        let start: Timestamp = budget.last_reset.parse()?;
        Ok(Window {
            limit_id: budget.id.clone(),
            start_ms: start.as_millisecond(),
        })
    }
}

/// Creates `keys` keys and what is above them.
pub(crate) async fn create(
    control_plane: &ControlPlane,
    keys: usize,
) -> anyhow::Result<Vec<Family>> {
    // A database may hold those of an earlier run.
    let mark = clock::now().as_millisecond();
    let teams = keys.div_ceil(KEYS_OF_A_TEAM);
    let customers = teams.div_ceil(TEAMS_OF_A_CUSTOMER);
    let shares = (0..PARALLEL).map(|share| async move {
        let mut admin = control_plane.admin();
        let mut families = Vec::new();
        for customer in (share..customers).step_by(PARALLEL) {
            let first = customer.saturating_mul(TEAMS_OF_A_CUSTOMER);
            let last = first.saturating_add(TEAMS_OF_A_CUSTOMER).min(teams);
            let name = format!("bench-{mark}-{customer}");
            families.append(&mut of_customer(&mut admin, &name, last.saturating_sub(first)).await?);
        }
        anyhow::Ok(families)
    });
    let mut families = try_join_all(shares).await?.concat();
    families.truncate(keys);
    Ok(families)
}

async fn of_customer(admin: &mut Admin, name: &str, teams: usize) -> anyhow::Result<Vec<Family>> {
    let budget = json!({"max_limit": BUDGET, "reset_duration": "1M"});
    let path = "/api/governance/customers";
    let body = json!({"name": name, "budget": budget});
    let customer = made(&admin.post(path, &body).await?, "customer")?;
    let mut families = Vec::new();
    for team in 0..teams {
        let name = format!("{name}-{team}");
        let path = "/api/governance/teams";
        let body = json!({"name": name, "customer_id": customer.id, "budget": budget});
        let team = made(&admin.post(path, &body).await?, "team")?;
        for key in 0..KEYS_OF_A_TEAM {
            let path = "/api/governance/virtual-keys";
            let config = json!({"provider": "openai", "allowed_models": ["*"], "budget": budget});
            let body = json!({
                "name": format!("{name}-{key}"), "team_id": team.id, "budget": budget,
                "provider_configs": [config],
            });
            let key = made(&admin.post(path, &body).await?, "virtual_key")?;
            let config = key.provider_configs.first().context("no provider config")?;
            let windows = [&customer, &team, &key, config].map(Owner::window);
            families.push(Family {
                customer_id: customer.id.clone(),
                team_id: team.id.clone(),
                key_id: key.id.clone(),
                provider_config_id: config.id.clone(),
                windows: windows.into_iter().collect::<Result<_, _>>()?,
            });
        }
    }
    Ok(families)
}

fn made(answer: &[u8], name: &str) -> anyhow::Result<Owner> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(alias = "customer", alias = "team", alias = "virtual_key")]
        made: Owner,
    }
    let answer: Answer =
        serde_json::from_slice(answer).with_context(|| format!("an answer without {name}"))?;
    Ok(answer.made)
}

/// What a customer was charged, nano-dollars.
pub(crate) async fn charged(admin: &mut Admin, customer_id: &str) -> anyhow::Result<i64> {
    let path = format!("/api/governance/customers/{customer_id}");
    let customer = made(&admin.get(&path).await?, "customer")?;
    let budget = customer.budgets.first().context("no budget")?;
    nanos(budget.current_usage.get()).context("an amount that is no number of dollars")
}

/// Dollars as they are written in JSON, without a detour over floats.
fn nanos(dollars: &str) -> Option<i64> {
    const PLACES: usize = 9;
    let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
    if fraction.len() > PLACES {
        return None;
    }
    format!("{whole}{fraction:0<PLACES$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn dollars_are_read_to_the_nano_dollar() {
        assert_eq!(nanos("0"), Some(0));
        assert_eq!(nanos("12.5"), Some(12_500_000_000));
        assert_eq!(nanos("0.000000001"), Some(1));
        assert_eq!(nanos("0.0000000001"), None);
        assert_eq!(nanos("1e3"), None);
    }
}
