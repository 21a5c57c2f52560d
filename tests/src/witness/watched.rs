//! Did the watch tell every change, once, and in order?

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Change, Operation, Value};

/// What is wrong with what a watch told from its begin until it had seen the
/// revision `until`; nothing if all is well.
pub fn judge(changes: &[Change], operations: &[Operation], until: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    for pair in changes.windows(2) {
        // Every transaction of ours changes one key, so a revision is one change.
        if pair[0].revision >= pair[1].revision {
            wrong.push(format!("told out of order or twice: {pair:?}"));
        }
    }
    let told: BTreeMap<i64, Change> = changes
        .iter()
        .map(|change| (change.revision, *change))
        .collect();
    let known: BTreeSet<Value> = operations
        .iter()
        .filter_map(|operation| operation.deed.written())
        .collect();
    for change in changes {
        if change.value.is_some_and(|value| !known.contains(&value)) {
            wrong.push(format!("told what nobody wrote: {change:?}"));
        }
    }
    for operation in operations {
        let (Some(value), Some(revision)) =
            (operation.deed.certain_change(), operation.revision)
        else {
            continue;
        };
        let expected = Change {
            revision,
            key: operation.key,
            value,
        };
        match told.get(&revision) {
            Some(change) if *change == expected => {}
            Some(change) => wrong.push(format!("{expected:?} was told as {change:?}")),
            None if revision <= until => {
                wrong.push(format!("acknowledged and never told: {expected:?}"));
            }
            None => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::history::Deed;
    use super::*;

    fn put(value: Value, revision: i64) -> Operation {
        Operation {
            key: 0,
            deed: Deed::Put(value),
            asked: Duration::ZERO,
            answered: Some(Duration::ZERO),
            revision: Some(revision),
        }
    }

    fn told(revision: i64, value: Value) -> Change {
        Change {
            revision,
            key: 0,
            value: Some(value),
        }
    }

    #[test]
    fn watches() {
        #[track_caller]
        fn check(changes: &[Change], faults: usize) {
            let operations = [put(1, 5), put(2, 6)];
            let wrong = judge(changes, &operations, 6);
            assert_eq!(wrong.len(), faults, "{wrong:?}");
        }
        check(&[told(5, 1), told(6, 2)], 0);
        check(&[told(6, 2)], 1);
        check(&[told(6, 2), told(5, 1)], 1);
        check(&[told(5, 1), told(5, 1), told(6, 2)], 1);
        check(&[told(5, 2), told(6, 2)], 1);
        check(&[told(5, 1), told(6, 2), told(7, 9)], 1);
    }
}
