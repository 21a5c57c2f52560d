//! Databases are defragmented only where the disk is not known to be too full for it.

use etcd_launch::{FORMAT, PodGeneration, RoomReport};

use super::maintenance::{Cared, MIB};
use super::*;

/// What an executor tells of the disk under a pod's member: so many MB are free.
fn told(cared: &mut Cared, pod: u16, free_mib: u64) {
    let pod = PodIndex(pod);
    let generation = cared.model.record.pods[&pod].generation;
    told_by(cared, pod, generation, free_mib);
}

fn told_by(cared: &mut Cared, pod: PodIndex, generation: PodGeneration, free_mib: u64) {
    let report = RoomReport {
        format: FORMAT,
        pod,
        generation,
        volume_free_bytes: free_mib * MIB,
    };
    cared.model.apply(Event::RoomTold(report), cared.now);
}

/// Why a pod waits.
fn words(cared: &Cared, pod: u16) -> String {
    let turn = Turn {
        now: cared.now,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let waiting = plan(&cared.model, &turn).waiting;
    let why = waiting.get(&PodIndex(pod));
    why.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

const ETCD_1_BEGINS: &str = "defragment etcd-1 (2)
    etcd-0: one_at_a_time
    etcd-1: maintenance
    etcd-2: one_at_a_time";

const ETCD_2_BEGINS: &str = "defragment etcd-2 (3)
    etcd-0: one_at_a_time
    etcd-1: maintenance
    etcd-2: maintenance";

/// 100 MB are in use, and a piece of the log takes 62 (MiB, as all here).
#[test]
fn how_much_is_enough() {
    #[track_caller]
    fn check(free_mib: u64, expected: &str) {
        let mut cared = Cared::asked();
        told(&mut cared, 1, free_mib);
        cared.check(expected);
    }
    check(100_000, ETCD_1_BEGINS);
    check(162, ETCD_1_BEGINS);
    check(161, ETCD_2_BEGINS);
    check(100, ETCD_2_BEGINS);
    check(0, ETCD_2_BEGINS);
}

#[test]
fn others_go_on_and_it_waits_with_the_numbers() {
    let mut cared = Cared::asked();
    told(&mut cared, 1, 120);
    cared.check(ETCD_2_BEGINS);
    cared.done();
    cared.wait(5);
    told(&mut cared, 1, 120);
    cared.check(
        "move leader from etcd-0 to 3\netcd-0: moving_leader\netcd-1: maintenance",
    );
    cared.done();
    cared.leads(2);
    cared.check("defragment etcd-0 (1)\netcd-0: maintenance\netcd-1: maintenance");
    cared.done();
    cared.wait(5);
    told(&mut cared, 1, 120);
    assert_eq!(
        words(&cared, 1),
        "its disk has 120 MB free, and 162 MB are needed: 100 MB of its database are in \
         use and would be written anew, and the next piece of its log takes 62 MB; it \
         goes on when there is room"
    );
    cared.check("etcd-1: maintenance");
    cared.check_plan("IN_PROGRESS; agents IN_PROGRESS: COMPLETE PENDING COMPLETE; ");
    // Somebody has made room.
    told(&mut cared, 1, 200);
    cared.check("defragment etcd-1 (2)\netcd-1: maintenance");
}

/// Executors of earlier releases tell nothing, and messages may be lost.
#[test]
fn what_is_not_known_holds_nobody_back() {
    let mut cared = Cared::asked();
    told(&mut cared, 1, 0);
    cared.wait(151);
    cared.check(ETCD_1_BEGINS);

    let mut cared = Cared::asked();
    let generation = cared.model.record.pods[&PodIndex(1)].generation;
    told_by(&mut cared, PodIndex(1), generation.next(), 0);
    told_by(&mut cared, PodIndex(7), generation, 0);
    cared.check(ETCD_1_BEGINS);
}

/// What is forgotten makes room, so that comes first, however full the disks are.
#[test]
fn old_revisions_are_forgotten_on_a_full_disk() {
    let mut cared = Cared::of(3);
    cared.ask(None, Some(1000));
    for pod in 0..3 {
        told(&mut cared, pod, 10);
    }
    let said = cared.turn();
    assert!(said.starts_with("compact, "), "{said}");
    cared.done();
    // As much as was forgotten is not in use any more.
    cared.all_say(|answer| answer.db_size_in_use_bytes = MIB);
    cared.wait(5);
    for pod in 0..3 {
        told(&mut cared, pod, 62);
    }
    cared.check(
        "etcd-0: maintenance
        etcd-1: maintenance
        etcd-2: maintenance",
    );
    for pod in 0..3 {
        told(&mut cared, pod, 63);
    }
    let said = cared.turn();
    assert!(said.starts_with("defragment etcd-1"), "{said}");
}

/// A member that was begun with is not given up for what is told meanwhile.
#[test]
fn what_was_begun_is_finished() {
    let mut cared = Cared::asked();
    cared.check(ETCD_1_BEGINS);
    // The second file is being written.
    told(&mut cared, 1, 20);
    cared.check(
        "etcd-0: one_at_a_time
        etcd-1: maintenance
        etcd-2: one_at_a_time",
    );
    assert!(words(&cared, 1).contains("is being defragmented"));
}
