//! Rounds that nobody asks for: so often as the target wants it, for members whose
//! database is worth it.

use std::time::Duration;

use super::{Round, Step, is_formed};
use crate::draft::Draft;
use crate::observed::MemberAnswer;
use crate::quorum;
use crate::target::DefragmentWhen;

/// Whom operators see as the one who asked.
const BY_SCHEDULE: &str = "etcd.defragment_every";

/// Begins a round when it is due, and worth it.
pub(super) fn begin_round(draft: &mut Draft<'_>) {
    let Some(when) = draft.model.target.defragment else {
        draft.record.maintenance.looked = None;
        return;
    };
    if !is_formed(&draft.record) {
        return;
    }
    let now = draft.now();
    let looked = *draft.record.maintenance.looked.get_or_insert(now);
    let due = looked.plus(Duration::from_millis(when.every_ms));
    if now < due {
        draft.wake_at(due);
        return;
    }
    if draft.record.maintenance.open().is_some() {
        return;
    }
    let voters = quorum::voters(&draft.record);
    let mut steps = std::collections::BTreeMap::new();
    for index in &voters {
        // Nothing is known of this one: it is looked at again.
        let Some(answer) = quorum::fresh_answer(draft.model, *index) else {
            return;
        };
        if is_worth_it(answer, when) {
            steps.insert(*index, Step::default());
        }
    }
    draft.record.maintenance.looked = Some(now);
    if !steps.is_empty() {
        draft.record.maintenance.round = Some(Round {
            since: now,
            by: BY_SCHEDULE.to_owned(),
            space: None,
            steps,
            end: None,
        });
    }
}

fn is_worth_it(answer: &MemberAnswer, when: DefragmentWhen) -> bool {
    let size = answer.db_size_bytes;
    let free = size.saturating_sub(answer.db_size_in_use_bytes);
    size >= when.from_bytes && free >= size / 100 * when.free_percent
}

#[cfg(test)]
mod tests {
    use etcd_launch::{ClusterId, MemberId};

    use super::*;

    #[test]
    fn what_is_worth_it() {
        #[track_caller]
        fn check(size: u64, in_use: u64, expected: bool) {
            let answer = MemberAnswer {
                cluster_id: ClusterId(1),
                member_id: MemberId(1),
                version: "3.5.30".into(),
                storage_version: None,
                downgrade_to: None,
                leader: None,
                raft_term: 1,
                raft_index: 1,
                raft_applied_index: 1,
                db_size_bytes: size,
                db_size_in_use_bytes: in_use,
                is_learner: false,
                errors: Vec::new(),
                linearizable: true,
                members: Vec::new(),
            };
            let when = DefragmentWhen {
                every_ms: 1,
                free_percent: 45,
                from_bytes: 1000,
            };
            assert_eq!(is_worth_it(&answer, when), expected, "{in_use} of {size}");
        }
        check(1000, 551, false);
        check(1000, 550, true);
        check(999, 0, false);
        check(10_000, 1, true);
        // etcd may tell the two from different moments.
        check(1000, 1001, false);
    }
}
