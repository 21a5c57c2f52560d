//! Placement constraints: may a member be on this agent, given where the
//! others are?
//!
//! The operators are Marathon's, and mean what they mean in the DC/OS SDK, with
//! one difference: an agent that lacks the attribute a constraint names is
//! refused by every operator but `UNLIKE` and `IS_NOT`, as Marathon does. The
//! SDK let it pass `UNIQUE` and `MAX_PER`, so that `rack UNIQUE` said nothing
//! about agents without a rack.

use std::collections::{BTreeMap, BTreeSet};

use etcd_config::placement::{Constraint, Field, Rule};

use crate::offer::{AgentFacts, Attributes, Domain, Hostname, Offer};
use crate::record::Placement;

/// What constraints look at: where a member is, or would be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) hostname: &'a Hostname,
    pub(crate) domain: Option<&'a Domain>,
    pub(crate) attributes: &'a Attributes,
}

impl<'a> From<&'a Offer> for Spot<'a> {
    fn from(offer: &'a Offer) -> Self {
        Spot {
            hostname: &offer.hostname,
            domain: offer.domain.as_ref(),
            attributes: &offer.attributes,
        }
    }
}

impl<'a> From<&'a Placement> for Spot<'a> {
    fn from(placement: &'a Placement) -> Self {
        Spot {
            hostname: &placement.hostname,
            domain: placement.domain.as_ref(),
            attributes: &placement.attributes,
        }
    }
}

impl<'a> From<&'a AgentFacts> for Spot<'a> {
    fn from(agent: &'a AgentFacts) -> Self {
        Spot {
            hostname: &agent.hostname,
            domain: agent.domain.as_ref(),
            attributes: &agent.attributes,
        }
    }
}

impl<'a> Spot<'a> {
    /// The values that a field has here: none if the agent lacks it, several
    /// only for an attribute that is given several times.
    pub(crate) fn values(&self, field: &Field) -> BTreeSet<&'a str> {
        match field {
            Field::Hostname => BTreeSet::from([self.hostname.0.as_str()]),
            Field::Zone => self.domain.map(|d| d.zone.as_str()).into_iter().collect(),
            Field::Region => self.domain.map(|d| d.region.as_str()).into_iter().collect(),
            Field::Attribute(name) => self
                .attributes
                .get(name)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
        }
    }
}

/// How a constraint is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The agent lacks the field.
    NoValue,
    /// So many members are there already.
    Holds(usize),
    /// Other values have fewer members, or none.
    LessElsewhere { here: usize, elsewhere: usize },
    /// The other members are elsewhere.
    NotWithOthers,
    /// The value is not one that is allowed.
    Value,
}

impl Broken {
    /// In words, for the operator.
    pub(crate) fn words(self, field: &Field, spot: Spot<'_>) -> String {
        let value = || {
            spot.values(field)
                .into_iter()
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Broken::NoValue => format!("{} has no {field}", spot.hostname),
            Broken::Holds(1) => format!("{field} {} holds a member already", value()),
            Broken::Holds(members) => {
                format!("{field} {} holds {members} members already", value())
            }
            Broken::LessElsewhere { here, elsewhere } => format!(
                "{field} {} holds {here}, and another holds {elsewhere}",
                value()
            ),
            Broken::NotWithOthers => {
                format!("{field} {} is not where the other members are", value())
            }
            Broken::Value => format!("{field} is {}", value()),
        }
    }
}

/// Whether one more member may be at `spot` while the others are where they
/// are.
pub(crate) fn judge(
    constraint: &Constraint,
    spot: Spot<'_>,
    others: &[Spot<'_>],
) -> Result<(), Broken> {
    let here = spot.values(&constraint.field);
    if here.is_empty() {
        return match constraint.rule {
            Rule::Unlike(_) | Rule::IsNot(_) => Ok(()),
            _ => Err(Broken::NoValue),
        };
    }
    let (keeps, broken) = match &constraint.rule {
        Rule::Like(pattern) => {
            let keeps = here.iter().any(|value| pattern.matches(value));
            (keeps, Broken::Value)
        }
        Rule::Unlike(pattern) => {
            let keeps = !here.iter().any(|value| pattern.matches(value));
            (keeps, Broken::Value)
        }
        Rule::Is(wanted) | Rule::Cluster(Some(wanted)) => {
            (here.contains(wanted.as_str()), Broken::Value)
        }
        Rule::IsNot(unwanted) => (!here.contains(unwanted.as_str()), Broken::Value),
        Rule::Unique | Rule::MaxPer(_) | Rule::Cluster(None) | Rule::GroupBy(_) => {
            return judge_beside_others(constraint, &here, others);
        }
    };
    if keeps { Ok(()) } else { Err(broken) }
}

/// The rules that ask where the other members are.
fn judge_beside_others(
    constraint: &Constraint,
    here: &BTreeSet<&str>,
    others: &[Spot<'_>],
) -> Result<(), Broken> {
    let counts = members_by_value(&constraint.field, others);
    let count_here = here
        .iter()
        .map(|value| counts.get(value).copied().unwrap_or(0))
        .max()
        .unwrap_or(0);
    let (keeps, broken) = match &constraint.rule {
        Rule::Unique => (count_here == 0, Broken::Holds(count_here)),
        Rule::MaxPer(most) => {
            (count_here < members(most.get()), Broken::Holds(count_here))
        }
        Rule::Cluster(_) => {
            let keeps = counts.keys().all(|value| here.contains(value));
            (keeps, Broken::NotWithOthers)
        }
        Rule::GroupBy(groups) => {
            let groups = groups.map(|groups| members(groups.get()));
            let elsewhere = fewest_elsewhere(&counts, groups);
            let broken = Broken::LessElsewhere {
                here: count_here,
                elsewhere,
            };
            (count_here <= elsewhere, broken)
        }
        Rule::Like(_) | Rule::Unlike(_) | Rule::Is(_) | Rule::IsNot(_) => return Ok(()),
    };
    if keeps { Ok(()) } else { Err(broken) }
}

/// The fewest members that a value has. While fewer values than asked for are
/// in use, there are unused ones. Without a number of groups, values that no
/// member uses are not known: an unused one is welcome, and not demanded.
fn fewest_elsewhere(counts: &BTreeMap<&str, usize>, groups: Option<usize>) -> usize {
    if groups.is_some_and(|groups| counts.len() < groups) {
        return 0;
    }
    counts.values().copied().min().unwrap_or(0)
}

/// How many of these members stand on each value of a field.
pub(crate) fn members_by_value<'a>(
    field: &Field,
    members: &[Spot<'a>],
) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for member in members {
        for value in member.values(field) {
            *counts.entry(value).or_insert(0) += 1;
        }
    }
    counts
}

/// The most members that constraints allow on these agents, whatever their
/// resources: an upper bound, exact for a single constraint. `one_an_agent`
/// when fixed ports keep two members apart.
pub(crate) fn room(
    constraints: &[Constraint],
    agents: &[Spot<'_>],
    one_an_agent: bool,
) -> usize {
    let allowed: Vec<Spot<'_>> = agents
        .iter()
        .copied()
        .filter(|agent| {
            constraints
                .iter()
                .all(|constraint| judge(constraint, *agent, &[]).is_ok())
        })
        .collect();
    let by_agents = if one_an_agent || allowed.is_empty() {
        allowed.len()
    } else {
        usize::MAX
    };
    constraints
        .iter()
        .enumerate()
        .map(|(place, constraint)| match &constraint.rule {
            Rule::Cluster(None) => {
                let rest = [&constraints[..place], &constraints[place + 1..]].concat();
                let values = values_of(&constraint.field, &allowed);
                let on = |value: &str| -> Vec<Spot<'_>> {
                    let is_on =
                        |spot: &&Spot<'_>| spot.values(&constraint.field).contains(value);
                    allowed.iter().filter(is_on).copied().collect()
                };
                values
                    .into_iter()
                    .map(|value| room(&rest, &on(value), one_an_agent))
                    .max()
                    .unwrap_or(0)
            }
            rule => room_of_one(rule, values_of(&constraint.field, &allowed).len()),
        })
        .fold(by_agents, usize::min)
}

/// The most members that one rule allows on so many values of its field.
fn room_of_one(rule: &Rule, values: usize) -> usize {
    match rule {
        Rule::Unique => values,
        Rule::MaxPer(most) => values.saturating_mul(members(most.get())),
        Rule::GroupBy(Some(groups)) if values < members(groups.get()) => values,
        _ => usize::MAX,
    }
}

fn values_of<'a>(field: &Field, agents: &[Spot<'a>]) -> BTreeSet<&'a str> {
    agents
        .iter()
        .flat_map(|agent| agent.values(field))
        .collect()
}

fn members(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
