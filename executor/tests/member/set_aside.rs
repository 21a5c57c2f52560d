//! What was set aside goes once the member votes, and not before.

use std::fs;
use std::os::unix::fs::symlink;

use crate::data::stopped_member;
use crate::executor::{Executor, wait_until};
use crate::sandbox::{Sandbox, aside_name, superseded};

#[test]
fn the_only_voter_needs_no_older_data() {
    let (sandbox, old) = stopped_member("aside-1-old");
    let mut spec = sandbox.spec("aside-1-new");
    spec.history.superseded = vec![superseded(&old.identity)];
    let executor = Executor::answering(&sandbox, &spec);
    assert_eq!(sandbox.get("owner"), "", "a new member knows nothing");
    let aside = sandbox.data().join(aside_name(&old.identity));
    wait_until("the old data is deleted", || !aside.exists());
    assert!(executor.log().contains("data set aside is deleted"));
    sandbox.put("still", "there");
    executor.stop();
    let guard = sandbox.guard().unwrap();
    assert_eq!(guard.identity, spec.identity);
    assert!(guard.wal_seen);
}

/// As when the executor of that life ended before it could delete.
#[test]
fn a_voter_deletes_what_an_earlier_life_has_left() {
    let (sandbox, spec) = stopped_member("aside-2");
    let data = sandbox.data();
    fs::create_dir_all(data.join("aside-c1-b1-1/member/snap")).unwrap();
    fs::write(data.join("aside-c1-b1-1/member/snap/db"), "old").unwrap();
    fs::create_dir(data.join("aside-c1-b1-3")).unwrap();
    // None of these was made by us.
    let elsewhere = sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("kept"), "").unwrap();
    symlink(&elsewhere, data.join("aside-c1-b1-2")).unwrap();
    fs::create_dir(data.join("aside-by-hand")).unwrap();

    let executor = Executor::answering(&sandbox, &spec);
    wait_until("what was left is deleted", || {
        !data.join("aside-c1-b1-1").exists() && !data.join("aside-c1-b1-3").exists()
    });
    assert_eq!(sandbox.get("owner"), "aside-2");
    executor.stop();
    assert!(elsewhere.join("kept").exists());
    assert!(data.join("aside-c1-b1-2").is_symlink());
    assert!(data.join("aside-by-hand").is_dir());
}

#[test]
fn a_learner_keeps_it_until_it_is_promoted() {
    let first = Sandbox::new();
    let spec = first.spec("aside-3");
    let leader = Executor::answering(&first, &spec);
    first.put("owner", "aside-3");

    let (second, old) = stopped_member("aside-3-old");
    let mut added = first.add_member(&spec, &second, true);
    added.history.superseded = vec![superseded(&old.identity)];
    let executor = Executor::answering(&second, &added);
    let aside = second.data().join(aside_name(&old.identity));
    wait_until("the executor has seen it", || {
        executor.log().contains("kept until this member votes")
    });
    // An executor that starts anew goes on keeping it.
    executor.stop();
    let executor = Executor::answering(&second, &added);
    wait_until("the executor has seen it again", || {
        executor.log().contains("kept until this member votes")
    });
    let kept = etcd_admin::wal_identity(&aside).unwrap();
    assert_eq!(kept.member_id, old.identity.member_id.0);

    wait_until("the learner can be promoted", || {
        first.promote(added.identity.member_id)
    });
    wait_until("the old data is deleted", || !aside.exists());
    assert_eq!(second.get("owner"), "aside-3");
    executor.stop();
    leader.stop();
}
