//! Routing rules.

use reeve_policy::routing_rules::{Destination, Rule, Target};

use super::{ConvertError, Problem, all, conditions, optional, present};
use crate::v1;

impl TryFrom<v1::RoutingRule> for Rule {
    type Error = ConvertError;

    fn try_from(message: v1::RoutingRule) -> Result<Self, ConvertError> {
        Ok(Self {
            id: present("id", message.id)?,
            name: message.name,
            condition: conditions::read(message.condition)?,
            targets: all("targets", message.targets)?,
            fallbacks: message.fallbacks.into_iter().map(Into::into).collect(),
            chains: message.chains,
        })
    }
}

impl From<&Rule> for v1::RoutingRule {
    fn from(rule: &Rule) -> Self {
        Self {
            id: rule.id.clone(),
            name: rule.name.clone(),
            condition: conditions::write(&rule.condition),
            targets: rule.targets.iter().map(Into::into).collect(),
            fallbacks: rule.fallbacks.iter().map(Into::into).collect(),
            chains: rule.chains,
        }
    }
}

impl TryFrom<v1::RoutingTarget> for Target {
    type Error = ConvertError;

    fn try_from(message: v1::RoutingTarget) -> Result<Self, ConvertError> {
        let to = message
            .to
            .ok_or_else(|| ConvertError::new("to", Problem::Missing))?;
        Ok(Self {
            to: to.into(),
            weight_ppm: message.weight_ppm,
        })
    }
}

impl From<&Target> for v1::RoutingTarget {
    fn from(target: &Target) -> Self {
        Self {
            to: Some((&target.to).into()),
            weight_ppm: target.weight_ppm,
        }
    }
}

impl From<v1::RoutingDestination> for Destination {
    fn from(message: v1::RoutingDestination) -> Self {
        Self {
            provider: optional(message.provider),
            model: optional(message.model),
        }
    }
}

impl From<&Destination> for v1::RoutingDestination {
    fn from(to: &Destination) -> Self {
        Self {
            provider: to.provider.clone().unwrap_or_default(),
            model: to.model.clone().unwrap_or_default(),
        }
    }
}
