//! Whatever is offered: no decision breaks a constraint, and none uses a
//! resource twice or one that was not offered.

use std::collections::{BTreeMap, BTreeSet};

use etcd_planner::effect::Operation;
use etcd_planner::offer::{AgentId, Offer};
use etcd_planner::record::Placement;
use etcd_planner::target::DiskWish;
use etcd_planner::{Effect, Event, Target};
use proptest::prelude::*;

use crate::agents::{T0, decide, offer, subscribed, target};

/// An agent's line: few values, so that agents often share them.
fn agent() -> impl Strategy<Value = String> {
    let zone = prop::option::of(1..4_u8);
    let rack = prop::option::of(1..4_u8);
    let scarce = prop_oneof![
        4 => Just(String::new()),
        1 => (0..2500_u32).prop_map(|cpus| format!(" cpus={cpus}")),
        1 => (0..2500_u32).prop_map(|mem| format!(" mem={mem}")),
        1 => (0..9000_u32).prop_map(|disk| format!(" disk={disk}")),
        1 => Just(" noport".to_owned()),
        1 => Just(" away".to_owned()),
    ];
    let disks = prop::collection::vec((any::<bool>(), 4000..9000_u32), 0..3);
    (zone, rack, scarce, disks).prop_map(|(zone, rack, scarce, disks)| {
        let zone = zone.map_or(String::new(), |zone| format!(" zone=z{zone}"));
        let rack = rack.map_or(String::new(), |rack| format!(" rack=r{rack}"));
        let disks: String = disks
            .into_iter()
            .map(|(mount, size)| {
                let kind = if mount { "mount" } else { "path" };
                format!(" disk:{kind}={size}")
            })
            .collect();
        format!("{zone}{rack}{scarce}{disks}")
    })
}

fn constraint() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec!["hostname", "@zone", "@region", "rack"]);
    let rule = prop::sample::select(vec![
        "UNIQUE",
        "CLUSTER",
        "CLUSTER:r1",
        "GROUP_BY",
        "GROUP_BY:2",
        "GROUP_BY:3",
        "MAX_PER:1",
        "MAX_PER:2",
        "LIKE:.*1",
        "UNLIKE:.*1",
        "IS:z2",
        "IS_NOT:z2",
    ]);
    (field, rule).prop_map(|(field, rule)| format!("{field}:{rule}"))
}

/// The constraint by its own words, in another way than the planner judges it:
/// from the places that it led to, in the order in which they were given.
fn keeps(constraint: &str, placed: &[&Placement]) -> Result<(), String> {
    let mut parts = constraint.splitn(3, ':');
    let (field, rule, parameter) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap_or(""),
    );
    let values: Vec<Option<&str>> = placed
        .iter()
        .map(|placement| value(field, placement))
        .collect();
    let count =
        |value: &str| values.iter().filter(|other| **other == Some(value)).count();
    let present: BTreeSet<&str> = values.iter().copied().flatten().collect();
    let lacks = values.contains(&None) && !matches!(rule, "UNLIKE" | "IS_NOT");
    let broken = match rule {
        "UNIQUE" => present.iter().any(|value| count(value) > 1),
        "MAX_PER" => {
            let most: usize = parameter.parse().unwrap();
            present.iter().any(|value| count(value) > most)
        }
        "CLUSTER" if parameter.is_empty() => present.len() > 1,
        "CLUSTER" | "IS" => present.iter().any(|value| *value != parameter),
        "IS_NOT" => present.contains(parameter),
        "LIKE" => present.iter().any(|value| !value.ends_with('1')),
        "UNLIKE" => present.iter().any(|value| value.ends_with('1')),
        "GROUP_BY" => {
            let counts: Vec<usize> = present.iter().map(|value| count(value)).collect();
            let most = counts.iter().max().copied().unwrap_or(0);
            let fewest = match parameter.parse::<usize>() {
                Ok(groups) if counts.len() < groups => 0,
                _ => counts.iter().min().copied().unwrap_or(0),
            };
            most > fewest + 1
        }
        other => panic!("{other}"),
    };
    if lacks || broken {
        Err(format!("{constraint} is broken by {values:?}"))
    } else {
        Ok(())
    }
}

fn value<'a>(field: &str, placement: &'a Placement) -> Option<&'a str> {
    match field {
        "hostname" => Some(&placement.hostname.0),
        "@zone" => Some(&placement.domain.as_ref()?.zone),
        "@region" => Some(&placement.domain.as_ref()?.region),
        name => placement.attributes.get(name)?.first().map(String::as_str),
    }
}

/// What an ACCEPT reserves is in the offer that it accepts.
fn fits(placement: &Placement, offer: &Offer, wish: &DiskWish) -> bool {
    let needs = &placement.needs;
    let on_root = match wish {
        DiskWish::Root => needs.total_disk(),
        _ => needs.executor_disk,
    };
    let disk = placement.disk.as_ref().is_none_or(|disk| {
        offer.disks.iter().any(|offered| {
            offered.source == disk.source
                && offered.size >= disk.size
                && (!matches!(wish, DiskWish::Mount { .. }) || offered.size == disk.size)
        })
    });
    placement.volume_size() >= needs.volume
        && offer.free.cpus >= needs.total_cpus()
        && offer.free.mem >= needs.total_mem()
        && offer.free.disk >= on_root
        && offer.free.has_port(needs.client_port)
        && offer.free.has_port(needs.peer_port)
        && disk
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_constraint_is_broken_and_nothing_is_used_twice(
        lines in prop::collection::vec(agent(), 0..8),
        constraints in prop::collection::vec(constraint(), 0..3),
        wish in prop::sample::select(vec![
            DiskWish::Root,
            DiskWish::Path,
            DiskWish::Mount { profiles: vec![] },
        ]),
        members in prop::sample::select(vec![1_u16, 3, 5]),
    ) {
        let wanted = Target {
            members,
            disk: wish.clone(),
            ..target(&constraints.join(","))
        };
        let offers: Vec<Offer> = lines
            .iter()
            .enumerate()
            .map(|(number, line)| offer(&format!("agent-{number}{line}")))
            .collect();
        let mut model = subscribed(wanted);
        model.apply(Event::Offers(offers.clone()), T0);
        let decision = decide(&model, T0);
        let by_agent: BTreeMap<&AgentId, &Offer> =
            offers.iter().map(|offer| (&offer.agent_id, offer)).collect();
        let mut used = BTreeSet::new();
        for effect in &decision.effects {
            let Effect::Accept { offer_id, operations, .. } = effect else {
                continue;
            };
            prop_assert!(used.insert(offer_id.clone()), "{offer_id} is used twice");
            for operation in operations {
                if let Operation::Reserve(placement) = operation {
                    let offer = by_agent[&placement.agent_id];
                    prop_assert_eq!(&offer.id, offer_id);
                    prop_assert!(fits(placement, offer, &wish), "{placement:?} of {offer:?}");
                }
            }
        }
        let placed: Vec<&Placement> = decision
            .record
            .pods
            .values()
            .filter_map(|pod| pod.placement.as_ref())
            .collect();
        prop_assert_eq!(placed.len(), used.len());
        for constraint in &constraints {
            // Each place was right when it was given: so is every beginning.
            for count in 0..=placed.len() {
                if let Err(why) = keeps(constraint, &placed[..count]) {
                    prop_assert!(false, "{}", why);
                }
            }
        }
        for (index, pod) in &decision.record.pods {
            let explained = pod.placement.is_some() || decision.waiting.contains_key(index);
            prop_assert!(explained, "{index} waits in silence");
        }
    }
}
