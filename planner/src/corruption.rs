//! Members whose data differs from the others'.
//!
//! etcd raises the alarm CORRUPT for such a member, and nobody can write until it is
//! taken back. If the hashes of all others are equal and they are a majority, the member
//! begins anew on its volume, its data set aside; its alarm goes with it. A difference
//! that only our own comparison has found is said and left to an operator, and so is
//! one where no majority agrees.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_launch::{MemberId, PodIndex};

use crate::alarms::{self, AlarmKind};
use crate::draft::Draft;
use crate::holding;
use crate::model::Model;
use crate::observed::HashRound;
use crate::quorum;
use crate::record::Exchange;
use crate::replacing;
use crate::waiting::WaitingReason;

/// Hashes that are older say nothing about an alarm that is raised now.
const HASHES_ARE_FRESH: Duration = Duration::from_secs(60);

/// Exchanges members that etcd calls corrupt, and says who differs.
pub(crate) fn exchange_corrupt_members(draft: &mut Draft<'_>) {
    let model = draft.model;
    let alarms = alarms::raised(model);
    let corrupt = alarms
        .iter()
        .filter(|alarm| alarm.kind == AlarmKind::Corrupt);
    let named: Vec<MemberId> = corrupt.map(|alarm| alarm.member_id).collect();
    for member_id in &named {
        let mut pods = model.record.pods.iter();
        let pod = pods.find(|(_, pod)| pod.membership.member_id() == Some(*member_id));
        match pod {
            Some((index, _)) => exchange(draft, *index),
            // Of a former member it is taken back.
            None if *member_id != MemberId(0) => {}
            None => {
                let why = "etcd cannot say which member's data is wrong".to_owned();
                draft
                    .service_waiting
                    .get_or_insert(WaitingReason::DataDiffers { why });
            }
        }
    }
    if named.is_empty()
        && let Some(why) = what_differs(model)
    {
        draft
            .service_waiting
            .get_or_insert(WaitingReason::DataDiffers { why });
    }
}

fn exchange(draft: &mut Draft<'_>, index: PodIndex) {
    let pod = draft.pod(index);
    if pod.exchange_asked.is_some() || pod.membership.enrolled().is_none() {
        return;
    }
    let agree = others_agree(draft.model, index);
    let refusal = replacing::judge(draft.model, index, Exchange::InPlace).err();
    if !agree {
        let why =
            "etcd calls its data corrupt; it begins anew once the others' hashes are \
                   known to be equal"
                .to_owned();
        draft.wait(index, WaitingReason::DataDamaged { why, failures: 0 });
    } else if let Some(refusal) = refusal {
        let why =
            format!("etcd calls its data corrupt, and it cannot begin anew: {refusal}");
        draft.wait(index, WaitingReason::DataDamaged { why, failures: 0 });
    } else if holding::hold_repair(&draft.record, index).is_none() {
        draft.pod_mut(index).exchange_asked = Some(Exchange::InPlace);
    }
}

/// Whether the others have equal data, and are a majority of the voters.
fn others_agree(model: &Model, index: PodIndex) -> bool {
    let Some(round) = &model.observed.hashes else {
        return false;
    };
    if model.clock.since(round.at) > HASHES_ARE_FRESH {
        return false;
    }
    let majority = quorum::majority(quorum::voters(&model.record).len());
    groups(model, round)
        .values()
        .any(|group| group.iter().filter(|other| **other != index).count() >= majority)
}

/// Present voters by what they have.
fn groups(model: &Model, round: &HashRound) -> BTreeMap<(i64, u32), Vec<PodIndex>> {
    let mut groups: BTreeMap<(i64, u32), Vec<PodIndex>> = BTreeMap::new();
    for (index, seen) in &round.hashes {
        let pod = model.record.pods.get(index);
        let is_its_own = pod.is_some_and(|pod| {
            pod.membership.is_voter()
                && pod.membership.member_id() == Some(seen.member_id)
        });
        if is_its_own {
            let group = groups
                .entry((seen.compact_revision, seen.hash))
                .or_default();
            group.push(*index);
        }
    }
    groups
}

/// What our own comparison has found. Hashes of different compactions cannot be compared.
fn what_differs(model: &Model) -> Option<String> {
    let round = model.observed.hashes.as_ref()?;
    let groups = groups(model, round);
    let compactions = groups.keys().map(|(compacted, _)| *compacted);
    let different = compactions.into_iter().find(|compacted| {
        groups
            .keys()
            .filter(|(other, _)| other == compacted)
            .count()
            > 1
    })?;
    let mut parties: Vec<&Vec<PodIndex>> = groups
        .iter()
        .filter(|((compacted, _), _)| *compacted == different)
        .map(|(_, group)| group)
        .collect();
    parties.sort_by_key(|group| group.len());
    let names = |group: &[PodIndex]| {
        let names: Vec<String> = group.iter().map(PodIndex::to_string).collect();
        names.join(" and ")
    };
    let revision = round.revision;
    let majority = quorum::majority(quorum::voters(&model.record).len());
    let (largest, others) = parties.split_last()?;
    let fewer: Vec<PodIndex> = others
        .iter()
        .flat_map(|group| group.iter().copied())
        .collect();
    Some(if largest.len() >= majority {
        let (fewer, largest) = (names(&fewer), names(largest));
        format!(
            "the data of {fewer} differs from that of {largest} at revision {revision}; \
             reset it with `pod reset`"
        )
    } else {
        format!(
            "the members' data differs at revision {revision}, and no majority agrees; stop \
             writing, and decide whose data is right"
        )
    })
}
