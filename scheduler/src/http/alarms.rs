//! What members complain of, in words for people.

use std::collections::BTreeSet;

use etcd_planner::alarms::{Alarm, AlarmKind};

use crate::published::Published;

/// A complaint, with ids as `etcdctl` prints them.
pub(super) fn in_words(error: &str) -> String {
    Alarm::parse(error).map_or_else(
        || error.trim().to_owned(),
        |alarm| format!("{} of member {}", alarm.kind.as_str(), alarm.member_id),
    )
}

/// All complaints: an alarm once, whoever tells it, and what can be done about it.
pub(super) fn warnings(published: &Published) -> Vec<String> {
    let mut alarms = BTreeSet::new();
    let mut others = Vec::new();
    for (pod, probe) in &published.probes {
        for error in probe.answer.iter().flat_map(|answer| &answer.errors) {
            match Alarm::parse(error) {
                Some(alarm) => {
                    alarms.insert(alarm);
                }
                None => others.push(format!("{pod}: {}", error.trim())),
            }
        }
    }
    let alarms = alarms.iter().map(|alarm| warning(published, alarm));
    alarms.chain(others).collect()
}

fn warning(published: &Published, alarm: &Alarm) -> String {
    let Alarm { kind, member_id } = alarm;
    let mut pods = published.record.pods.iter();
    let pod = pods
        .find(|(_, pod)| pod.membership.member_id() == Some(*member_id))
        .map_or_else(|| "none of ours".to_owned(), |(index, _)| index.to_string());
    let advice = match kind {
        AlarmKind::NoSpace => {
            ": its database is full, so etcd takes no more writes, and goes on to serve \
             reads; free space with `defragment --free-space`"
        }
        _ => "",
    };
    let kind = kind.as_str();
    format!("alarm {kind} of member {member_id} ({pod}){advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use etcd_launch::PodIndex;

    #[test]
    fn complaints_in_words() {
        #[track_caller]
        fn check(error: &str, expected: &str) {
            assert_eq!(in_words(error), expected, "{error:?}");
        }
        check("memberID:177 alarm:NOSPACE ", "NOSPACE of member b1");
        check("memberID:0 alarm:CORRUPT ", "CORRUPT of member 0");
        check("etcdserver: no leader", "etcdserver: no leader");
        check("memberID:x alarm:NOSPACE ", "memberID:x alarm:NOSPACE");
    }

    #[test]
    fn an_alarm_is_told_once() {
        let mut model = samples::healthy_model();
        for probe in model.observed.probes.values_mut() {
            let answer = probe.answer.as_mut().unwrap();
            answer.errors = vec!["memberID:177 alarm:NOSPACE ".into()];
        }
        let silent = model.observed.probes.get_mut(&PodIndex(2)).unwrap();
        silent.answer.as_mut().unwrap().errors = vec!["etcdserver: no leader".into()];
        let warnings = warnings(&samples::published(&model));
        let [alarm, leaderless] = warnings.as_slice() else {
            panic!("{warnings:?}");
        };
        let begin = "alarm NOSPACE of member b1 (etcd-1): its database is full, so ";
        assert!(alarm.starts_with(begin), "{alarm}");
        assert_eq!(leaderless, "etcd-2: etcdserver: no leader");
    }
}
