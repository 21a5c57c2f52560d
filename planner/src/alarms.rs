//! etcd's alarms, as every member's status tells every alarm of its cluster.

use etcd_launch::MemberId;

use crate::draft::Draft;
use crate::effect::Effect;
use crate::membership;
use crate::model::Model;
use crate::observed::MemberAnswer;
use crate::time::Timestamp;

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
    let is_in_flight = draft
        .model
        .is_in_flight(|effect| matches!(effect, Effect::Disarm { .. }));
    let gone = still_raised(draft.model).into_iter().find(|alarm| {
        let is_member = members.iter().any(|it| it.member_id == alarm.member_id);
        let is_known = !matches!(alarm.kind, AlarmKind::Other(_));
        is_known && alarm.member_id != MemberId(0) && !is_member
    });
    if let Some(alarm) = gone.filter(|_| !is_in_flight) {
        draft.effects.push(Effect::Disarm { alarm });
    }
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
