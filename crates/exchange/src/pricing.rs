//! By which of a model's prices a request is bounded and an answer is charged.

use std::rc::Rc;

use reeve_llm::ServiceTier;
use reeve_policy::money::Nanos;
use reeve_policy::price::{self, Price, Tokens};
use reeve_policy::price_list::{Asked, PriceList, Service};
use reeve_policy::units::Units;

/// The prices of one request. They are those of the policy that judged it, whatever comes after.
#[derive(Debug, Clone)]
pub struct Pricing {
    /// All of them.
    pub list: Rc<PriceList>,
    /// In which tiers it may be served.
    pub asked: Asked,
    /// The dearest that it may come to be charged by.
    pub dearest: Price,
}

impl Pricing {
    /// Of a request that asks for this tier, with at most so much input.
    pub fn new(list: Rc<PriceList>, tier: Option<ServiceTier>, most_input: u64) -> Self {
        let asked = match tier {
            // What the account has for its default is the operator's choice, and an ordinary request
            // unless they chose otherwise.
            None => Asked::For(Service::Standard),
            Some(tier) => service(tier).map_or(Asked::Any, Asked::For),
        };
        Self {
            dearest: list.dearest(asked, most_input),
            list,
            asked,
        }
    }

    /// The most that a request with so much of each can cost.
    pub fn bound(&self, input: u64, output: u64, choices: u64, units: Units) -> Option<Nanos> {
        let tokens = price::upper_bound(input, output, choices, self.dearest)?;
        tokens.checked_add(self.cost_of_units(units)?)
    }

    /// What these units cost.
    pub fn cost_of_units(&self, units: Units) -> Option<Nanos> {
        price::cost_with_units(Tokens::default(), self.dearest, units, self.list.units)
    }

    /// What these tokens cost, where the answer says this tier.
    pub fn cost(&self, tokens: Tokens, tier: Option<ServiceTier>) -> Option<Nanos> {
        let input = tokens.all_input();
        let price = match tier.and_then(service) {
            Some(service) => self.list.of(service, input),
            None => self.list.of_unsaid(self.asked, input),
        };
        price::cost(tokens, price)
    }
}

/// `None`: none that has prices of its own by name.
pub(crate) const fn service(tier: ServiceTier) -> Option<Service> {
    Some(match tier {
        ServiceTier::Standard => Service::Standard,
        ServiceTier::Flex => Service::Flex,
        ServiceTier::Balanced => Service::Balanced,
        ServiceTier::Priority => Service::Priority,
        ServiceTier::Ultrafast => Service::Ultrafast,
        ServiceTier::Other => return None,
    })
}
