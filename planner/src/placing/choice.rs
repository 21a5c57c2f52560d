//! Which of the offers that could hold a pod is the best.

use std::cmp::Reverse;
use std::fmt;

use etcd_config::placement::Rule;

use super::refusing::{Rules, disk_for};
use crate::constraints::{Spot, members_by_value};
use crate::offer::{AgentId, Disk, Megabytes, Offer, OfferId};
use crate::target::DiskWish;

/// An offer that could hold the pod.
pub(super) struct Choice<'a> {
    pub(super) offer: &'a Offer,
    /// The disk for the volume, unless it is the ROOT disk.
    pub(super) disk: Option<Disk>,
    pub(super) score: Score<'a>,
}

/// How good an offer is: less is better. The order of the members is their
/// priority: a later one counts only where all earlier ones are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score<'a> {
    /// The agent is planned to be away for maintenance.
    will_be_away: bool,
    /// This pod was given up there once.
    was_left: bool,
    /// Members in the groups of `GROUP_BY` constraints that this agent is in.
    in_group: usize,
    /// Members in the same zone: what fails together holds few of them.
    in_zone: usize,
    /// Members on the same host.
    on_host: usize,
    /// What a whole disk has more than is wanted.
    disk_wasted: Megabytes,
    /// Memory that is left: a busy agent makes a slow member.
    mem_left: Reverse<Megabytes>,
    /// So that the same offers in another order give the same choice.
    agent_id: &'a AgentId,
    /// The same for two offers of one agent.
    offer_id: &'a OfferId,
}

impl<'a> Choice<'a> {
    pub(super) fn new(rules: &Rules<'_>, offer: &'a Offer) -> Self {
        let spot = Spot::from(offer);
        let others = rules.others;
        let needs = &rules.target.needs;
        let disk = disk_for(rules.target, offer);
        let disk_wasted = match (&rules.target.disk, &disk) {
            (DiskWish::Mount { .. }, Some(disk)) => disk.size.0 - needs.volume.0,
            _ => 0,
        };
        let score = Score {
            will_be_away: offer.unavailable_from.is_some(),
            was_left: rules.record.abandoned.iter().any(|abandoned| {
                abandoned.pod == rules.pod
                    && abandoned.placement.agent_id == offer.agent_id
            }),
            in_group: members_in_groups(rules, spot),
            in_zone: spot.domain.map_or(0, |domain| {
                let same = |other: &&Spot<'_>| other.domain == Some(domain);
                others.iter().filter(same).count()
            }),
            on_host: others
                .iter()
                .filter(|other| other.hostname == spot.hostname)
                .count(),
            disk_wasted: Megabytes(disk_wasted),
            mem_left: Reverse(Megabytes(
                offer.free.mem.0.saturating_sub(needs.total_mem().0),
            )),
            agent_id: &offer.agent_id,
            offer_id: &offer.id,
        };
        Choice { offer, disk, score }
    }
}

fn members_in_groups(rules: &Rules<'_>, spot: Spot<'_>) -> usize {
    rules
        .target
        .placement
        .constraints()
        .iter()
        .filter(|constraint| matches!(constraint.rule, Rule::GroupBy(_)))
        .map(|constraint| {
            let counts = members_by_value(&constraint.field, rules.others);
            let here = spot.values(&constraint.field);
            let in_group = |value: &str| counts.get(value).copied().unwrap_or(0);
            here.into_iter().map(in_group).sum::<usize>()
        })
        .sum()
}

/// Why it was chosen: what an operator is shown.
impl fmt::Display for Score<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the best: {} members in its zone, {} on its host, {} of memory left",
            self.in_zone, self.on_host, self.mem_left.0
        )?;
        if self.will_be_away {
            f.write_str("; maintenance is planned there")?;
        }
        if self.was_left {
            f.write_str("; the pod was given up there once")?;
        }
        Ok(())
    }
}
