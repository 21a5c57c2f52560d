//! What is done about data that differs.

use etcd_planner::observed::{HashRound, HashSeen};

use super::*;

/// A service of three whose members say this, and have these hashes.
fn with(errors: &str, hashes: &[(u16, u32)]) -> Model {
    let mut model = service(Parallel, 3);
    changes::settle(&mut model);
    for probe in model.observed.probes.values_mut() {
        let answer = probe.answer.as_mut().unwrap();
        answer.errors = errors.lines().map(str::to_owned).collect();
    }
    let seen = |(index, hash): &(u16, u32)| {
        let seen = HashSeen {
            member_id: member_id(*index),
            hash: *hash,
            compact_revision: 1,
        };
        (PodIndex(*index), seen)
    };
    let round = HashRound {
        at: NOW,
        revision: 7,
        hashes: hashes.iter().map(seen).collect(),
    };
    model.apply(Event::Hashed(round), NOW);
    model
}

#[track_caller]
fn check(model: &Model, expected: &str) {
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let decision = plan(model, &turn);
    let mut found: Vec<String> = decision
        .effects
        .iter()
        .filter(|effect| {
            !matches!(effect.name(), "reconcile" | "reconcile-all" | "revive")
        })
        .map(ToString::to_string)
        .collect();
    found.extend(
        decision
            .service_waiting
            .map(|why| format!("service: {why}")),
    );
    found.extend(
        decision
            .waiting
            .iter()
            .map(|(pod, why)| format!("{pod}: {}", why.code())),
    );
    assert_eq!(found.join("\n"), expected);
}

const ALL_EQUAL: [(u16, u32); 3] = [(0, 5), (1, 5), (2, 5)];

#[test]
fn a_member_that_etcd_calls_corrupt_begins_anew_where_the_others_agree() {
    let alarm = "memberID:2 alarm:CORRUPT ";
    check(&with(alarm, &ALL_EQUAL), "kill etcd-1\netcd-1: stopping");
    let differs = [(0, 5), (1, 6), (2, 5)];
    check(&with(alarm, &differs), "kill etcd-1\netcd-1: stopping");
    for unproven in [&[][..], &[(0, 5), (1, 5)], &[(0, 5), (1, 5), (2, 6)]] {
        check(&with(alarm, unproven), "etcd-1: data_damaged");
    }
}

#[test]
fn nothing_is_done_where_nobody_knows_who_is_right() {
    check(
        &with("memberID:0 alarm:CORRUPT ", &ALL_EQUAL),
        "service: etcd cannot say which member's data is wrong\netcd-0: launching\netcd-1: \
         launching\netcd-2: launching",
    );
    check(
        &with("", &[(0, 5), (1, 6), (2, 7)]),
        "service: the members' data differs at revision 7, and no majority agrees; stop \
         writing, and decide whose data is right",
    );
    check(
        &with("", &[(0, 5), (1, 6), (2, 5)]),
        "service: the data of etcd-1 differs from that of etcd-0 and etcd-2 at revision 7; \
         reset it with `pod reset`",
    );
    check(&with("", &ALL_EQUAL), "");
}

#[test]
fn alarms_of_former_members_are_taken_back() {
    for kind in ["CORRUPT", "NOSPACE"] {
        check(
            &with(&format!("memberID:9 alarm:{kind} "), &ALL_EQUAL),
            &format!("disarm {kind} of member 9"),
        );
    }
    let said = "service: the database is full, so etcd takes no writes and goes on to serve \
                reads: etcd-1 has 0 MB of 2048 MB, 0 MB of them in use; free space with \
                `defragment --free-space`, which forgets old revisions; if what is in it is \
                live, delete keys before that, or raise etcd.quota";
    check(&with("memberID:2 alarm:NOSPACE ", &ALL_EQUAL), said);
}
