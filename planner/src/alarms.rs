//! etcd's alarms, as every member's status tells every alarm of its cluster.

use etcd_launch::{MemberId, PodIndex};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::membership;
use crate::model::Model;
use crate::observed::MemberAnswer;
use crate::quorum;
use crate::record::Pod;
use crate::time::Timestamp;
use crate::waiting::WaitingReason;

/// An alarm, raised until somebody takes it back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// What for.
    pub kind: AlarmKind,
    /// For which member; 0 where etcd cannot say which of them it is.
    pub member_id: MemberId,
}

/// What an alarm is raised for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The database has reached its quota: no more writes.
    NoSpace,
    /// The data differs from the others': no more writes.
    Corrupt,
    /// One that this release does not know.
    Other(String),
}

impl AlarmKind {
    /// As etcd writes it.
    pub fn as_str(&self) -> &str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
            AlarmKind::Other(word) => word,
        }
    }
}

impl Alarm {
    /// Reads what a status says: `memberID:14684413584599728860 alarm:NOSPACE `.
    pub fn parse(error: &str) -> Option<Self> {
        let mut words = error.split_whitespace();
        let member_id = words.next()?.strip_prefix("memberID:")?.parse().ok()?;
        let kind = match words.next()?.strip_prefix("alarm:")? {
            "NOSPACE" => AlarmKind::NoSpace,
            "CORRUPT" => AlarmKind::Corrupt,
            other => AlarmKind::Other(other.to_owned()),
        };
        words.next().is_none().then_some(Alarm {
            kind,
            member_id: MemberId(member_id),
        })
    }
}

/// Whether a member says that its own data is corrupt, or that nobody can say whose is.
pub(crate) fn is_corrupt(answer: &MemberAnswer) -> bool {
    answer.errors.iter().any(|error| match Alarm::parse(error) {
        Some(alarm) => {
            let is_its_own = [answer.member_id, MemberId(0)].contains(&alarm.member_id);
            alarm.kind == AlarmKind::Corrupt && is_its_own
        }
        None => error.contains("CORRUPT"),
    })
}

/// The alarms that members tell of.
pub(crate) fn raised(model: &Model) -> Vec<Alarm> {
    told_by(model, |_| true)
}

/// The same, by those who were asked after our last change.
fn still_raised(model: &Model) -> Vec<Alarm> {
    let asked = model.observed.membership_asked;
    told_by(model, |at| asked.is_none_or(|asked| at > asked))
}

fn told_by(model: &Model, asked_at: impl Fn(Timestamp) -> bool) -> Vec<Alarm> {
    let answers = model.record.pods.keys().filter(|index| {
        let probe = model.observed.probes.get(index);
        probe.is_some_and(|probe| asked_at(probe.at))
    });
    let answers = answers.filter_map(|index| crate::quorum::fresh_answer(model, *index));
    let mut alarms: Vec<Alarm> = answers
        .flat_map(|answer| &answer.errors)
        .filter_map(|error| Alarm::parse(error))
        .collect();
    alarms.sort_unstable();
    alarms.dedup();
    alarms
}

/// Takes back alarms of members that are none any more: they would keep the cluster
/// from serving for ever. All others are for whoever has mended what they say.
pub(crate) fn disarm_those_of_former_members(draft: &mut Draft<'_>) {
    let Some(members) = membership::members_now(draft.model) else {
        return;
    };
    let mut gone = still_raised(draft.model);
    gone.retain(|alarm| {
        let is_member = members.iter().any(|it| it.member_id == alarm.member_id);
        let is_known = !matches!(alarm.kind, AlarmKind::Other(_));
        is_known && alarm.member_id != MemberId(0) && !is_member
    });
    disarm(draft, gone);
}

/// Takes back the first of these alarms: one at a time, and not at once again where that
/// was refused.
pub(crate) fn disarm(draft: &mut Draft<'_>, alarms: Vec<Alarm>) {
    let is_in_flight = draft
        .model
        .is_in_flight(|effect| matches!(effect, Effect::Disarm { .. }));
    let refused = draft.model.observed.membership_refused.as_ref();
    let again = refused.map(|(at, _)| at.plus(membership::TRY_AGAIN_AFTER));
    if let Some(again) = again.filter(|again| draft.now() < *again) {
        draft.wake_at(again);
        return;
    }
    if let Some(alarm) = alarms.into_iter().next().filter(|_| !is_in_flight) {
        draft.effects.push(Effect::Disarm { alarm });
    }
}

/// Alarms of this kind for present members, as told after our last change.
pub(crate) fn of_members(model: &Model, kind: &AlarmKind) -> Vec<Alarm> {
    let mut alarms = still_raised(model);
    alarms.retain(|alarm| alarm.kind == *kind && pod_of(model, alarm).is_some());
    alarms
}

fn pod_of(model: &Model, alarm: &Alarm) -> Option<PodIndex> {
    let mut pods = model.record.pods.iter();
    pods.find(|(_, pod)| pod.membership.member_id() == Some(alarm.member_id))
        .map(|(index, _)| *index)
}

/// Says what a database that has reached its quota means, and what can be done: nobody
/// can write until that is done.
pub(crate) fn explain_full_databases(draft: &mut Draft<'_>) {
    let full = of_members(draft.model, &AlarmKind::NoSpace);
    if full.is_empty() || draft.service_waiting.is_some() {
        return;
    }
    let pods = full.iter().filter_map(|alarm| pod_of(draft.model, alarm));
    let told: Vec<String> = pods.map(|index| said_of(draft, index)).collect();
    let is_mended = draft
        .record
        .maintenance
        .open()
        .is_some_and(|round| round.space.is_some());
    let advice = if is_mended {
        "space is being freed: `plan status maintenance`"
    } else {
        "free space with `defragment --free-space`, which forgets old revisions; if \
         what is in it is live, delete keys before that, or raise etcd.quota"
    };
    let told = told.join(", ");
    let what = format!(
        "the database is full, so etcd takes no writes and goes on to serve reads: \
         {told}; {advice}"
    );
    draft.service_waiting = Some(WaitingReason::NoSpace { what });
}

fn said_of(draft: &Draft<'_>, index: PodIndex) -> String {
    let quota = quota(draft.pod(index)).unwrap_or_default();
    quorum::fresh_answer(draft.model, index).map_or_else(
        || index.to_string(),
        |answer| fullness(index, answer, quota),
    )
}

/// The quota that a pod's member runs with, bytes.
pub fn quota(pod: &Pod) -> Option<u64> {
    let recipe = pod.recipe.as_ref()?;
    Some(recipe.tuning.quota_backend_bytes)
}

/// How full a member's database is, for people.
pub fn fullness(index: PodIndex, answer: &MemberAnswer, quota: u64) -> String {
    let (size, in_use) = (answer.db_size_bytes, answer.db_size_in_use_bytes);
    format!(
        "{index} has {} MB of {} MB, {} MB of them in use",
        megabytes(size),
        megabytes(quota),
        megabytes(in_use)
    )
}

/// Bytes in the unit of options, 2^20 bytes, rounded up.
pub fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_says() {
        let check = |error: &str, expected: Option<(&str, u64)>| {
            let alarm = Alarm::parse(error);
            let found = alarm
                .as_ref()
                .map(|alarm| (alarm.kind.as_str(), alarm.member_id.0));
            assert_eq!(found, expected, "{error}");
        };
        check("memberID:7 alarm:NOSPACE ", Some(("NOSPACE", 7)));
        check("memberID:0 alarm:CORRUPT", Some(("CORRUPT", 0)));
        check("memberID:7 alarm:NEW", Some(("NEW", 7)));
        check("etcdserver: no leader", None);
        check("memberID:7 alarm:NOSPACE more", None);
    }
}
