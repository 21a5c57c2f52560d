//! Databases on real Mesos with real etcd: filled, emptied and defragmented under
//! checked clients; filled up to their quota, and given room again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_api::plans::PlanInfo;
use etcd_api::{EventList, ServiceStatus, What};
use etcd_client::{Client, CompactionOptions, DeleteOptions, Error};
use etcd_tests::service::PATIENCE;
use etcd_tests::{UnderClients, etcd};
use serde_json::json;

/// One value, bytes: large enough that a few hundred fill the tests' quota of 64 MB.
const VALUE: usize = 400 * 1024;

const MIB: u64 = 1 << 20;

/// How often databases are looked at: no shorter time is allowed.
const EVERY_SECONDS: u64 = 60;

async fn fill(client: &mut Client, keys: usize) -> Result<(), Error> {
    for key in 0..keys {
        let value = vec![u8::try_from(key % 251).unwrap(); VALUE];
        client.put(format!("fill/{key}"), value, None).await?;
    }
    Ok(())
}

/// Deletes what was filled in, and has it forgotten once clients are well beyond it: a
/// watch that lost its member may be some revisions behind.
async fn empty(client: &mut Client) {
    let all = DeleteOptions::new().with_prefix();
    let deleted = client.delete("fill/", Some(all)).await.unwrap();
    let deleted = deleted.header().unwrap().revision();
    let started = Instant::now();
    loop {
        let newest = client.get("fill/", None).await.unwrap();
        if newest.header().unwrap().revision() > deleted + 200 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "clients write nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let clear = CompactionOptions::new().with_physical();
    client.compact(deleted, Some(clear)).await.unwrap();
}

fn sizes(status: &ServiceStatus) -> Vec<(u64, u64)> {
    let pods = status.pods.iter();
    pods.map(|pod| {
        (
            pod.db_size_bytes.unwrap_or(u64::MAX),
            pod.db_size_in_use_bytes.unwrap_or(u64::MAX),
        )
    })
    .collect()
}

async fn plan(service: &UnderClients) -> PlanInfo {
    let (_, body) = service.get("/v1/plans/maintenance").await.unwrap();
    serde_json::from_str(&body).unwrap()
}

async fn wait_until_plan_is(service: &UnderClients, status: &str) {
    let words = format!("maintenance (serial strategy) ({status})");
    let said = service
        .wait_until_said("plan status maintenance", &words)
        .await;
    println!("{}", said.unwrap());
}

async fn wait_until_there_is_free_room(service: &mut UnderClients) {
    let is_empty = |status: &ServiceStatus| {
        let mut sizes = sizes(status).into_iter();
        // Executors have told by then how much room there is on the disks.
        let mut pods = status.pods.iter();
        let is_told = pods.all(|pod| pod.disk_free_bytes.is_some_and(|free| free > MIB));
        is_told
            && sizes.all(|(size, in_use)| {
                in_use < 10 * MIB && size > 28 * MIB && size < u64::MAX
            })
    };
    let what = "the room is free, and the files are large";
    let emptied = service.wait_for(what, is_empty).await.unwrap();
    println!("sizes before: {:?}", sizes(&emptied));
}

async fn wait_until_files_are_small(service: &mut UnderClients) {
    let given_back = |status: &ServiceStatus| {
        let mut sizes = sizes(status).into_iter();
        sizes.all(|(size, _)| size < 14 * MIB)
    };
    let what = "the files are small";
    let after = service.wait_for(what, given_back).await.unwrap();
    println!("sizes after: {:?}", sizes(&after));
}

/// Pods in the order in which this scheduler has defragmented them, each with the pod
/// that led before the lead was last seen to move.
async fn defragmented(service: &UnderClients) -> Vec<(String, Option<String>)> {
    let (_, body) = service.get("/v1/events").await.unwrap();
    let list: EventList = serde_json::from_str(&body).unwrap();
    let mut done = Vec::new();
    let (mut led, mut leads) = (None, None);
    for event in list.events {
        println!("{}", event.text);
        match (event.what, event.pod) {
            (What::LeaderMoved { from, to }, _) => (led, leads) = (from, Some(to)),
            (What::Defragmented { .. }, Some(pod)) => {
                assert_ne!(leads.as_ref(), Some(&pod), "{pod} led meanwhile");
                done.push((pod, led.clone()));
            }
            _ => {}
        }
    }
    done
}

/// Begins when its time has come. Members that were not worth it at that moment have
/// their turn a minute later.
async fn nobody_asks_and_the_leader_comes_last(
    service: &mut UnderClients,
    before: usize,
) {
    wait_until_files_are_small(service).await;
    wait_until_plan_is(service, "COMPLETE").await;
    let done = defragmented(service).await.split_off(before);
    println!("when its time had come: {done:?}");
    let pods: BTreeSet<&String> = done.iter().map(|(pod, _)| pod).collect();
    assert_eq!((pods.len(), done.len()), (3, 3), "{done:?}");
    let (last, led) = done.last().unwrap();
    assert_eq!(led.as_ref(), Some(last), "the lead was moved away before");
    let file = service.root().join("never.json");
    std::fs::write(&file, r#"{"etcd": {"defragment_every": 0}}"#).unwrap();
    let words = format!("update start --options {}", file.display());
    service.dcos_etcd(&words).await.unwrap();
}

#[tokio::test]
async fn databases_are_given_room() {
    let mut service = UnderClients::on_agents(3).await.unwrap();
    let before = service.before.clone();
    let mut client = etcd::client(&before).await.unwrap();
    fill(&mut client, 75).await.unwrap();
    empty(&mut client).await;
    wait_until_there_is_free_room(&mut service).await;
    a_quota_below_it_is_refused(&service).await;

    // The scheduler is killed while the second one is at it. From now on databases are
    // looked at every minute, too; there is time until then.
    service.kill_scheduler().unwrap();
    service.set_option("etcd", "defragment_every", json!(EVERY_SECONDS));
    service.set_option("etcd", "defragment_from", json!(20));
    let failpoint = Some("after-defragment:2");
    service.start_scheduler(failpoint).unwrap();
    service.wait_until_healthy().await.unwrap();
    assert_eq!(plan(&service).await.status, "WAITING");
    let said = service.dcos_etcd("defragment").await.unwrap();
    assert!(
        said.contains("\"maintenance\" plan has been started."),
        "{said}"
    );
    service.wait_until_scheduler_ends().await.unwrap();
    service.start_scheduler(None).unwrap();
    wait_until_plan_is(&service, "COMPLETE").await;

    wait_until_files_are_small(&mut service).await;
    let done = defragmented(&service).await;
    println!("after the scheduler was killed: {done:?}");
    assert_eq!(done.len(), 2, "the one that was begun, and the last");

    fill(&mut client, 75).await.unwrap();
    empty(&mut client).await;
    wait_until_there_is_free_room(&mut service).await;
    nobody_asks_and_the_leader_comes_last(&mut service, done.len()).await;
    let (last, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
    a_full_database_is_given_room(&mut service, &last).await;
}

/// The files have 29 MB or so.
async fn a_quota_below_it_is_refused(service: &UnderClients) {
    let file = service.root().join("quota.json");
    std::fs::write(&file, r#"{"etcd": {"quota": 16}}"#).unwrap();
    let words = format!("update start --options {}", file.display());
    let refused = service.refused(&words).await.unwrap();
    println!("{refused}");
    assert!(refused.contains("Transition: '64' => '16'"), "{refused}");
    assert!(refused.contains("a database has "), "{refused}");
}

/// Old revisions of few keys fill it; what is live is small.
async fn a_full_database_is_given_room(
    service: &mut UnderClients,
    status: &ServiceStatus,
) {
    let mut client = etcd::client(status).await.unwrap();
    let started = Instant::now();
    let why = loop {
        // Several rounds over the same few keys.
        if let Err(error) = fill(&mut client, 10).await {
            break error.to_string();
        }
        assert!(started.elapsed() < PATIENCE, "the quota is not reached");
    };
    assert!(why.contains("database space exceeded"), "{why}");
    let is_told = |status: &ServiceStatus| {
        let waiting = status.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.code == "no_space")
    };
    let full = service.wait_for("it is told", is_told).await.unwrap();
    let told = &full.waiting.as_ref().unwrap().text;
    println!("{told}");
    assert!(told.contains("MB of 64 MB"), "{told}");
    let (code, health) = service.get("/v1/health?verbose").await.unwrap();
    assert_eq!(code.as_u16(), 207, "{health}");
    assert!(health.contains("defragment --free-space"), "{health}");
    let health = service.command_line().unwrap().run("health").await.unwrap();
    assert_eq!(health.code, 1, "{health:?}");
    assert!(health.out.contains("alarm NOSPACE of member"), "{health:?}");

    service.dcos_etcd("defragment --free-space").await.unwrap();
    wait_until_plan_is(service, "COMPLETE").await;
    let has_room = |status: &ServiceStatus| {
        let alarms = status.pods.iter().any(|pod| !pod.alarms.is_empty());
        let large = sizes(status).iter().any(|(size, _)| *size > 14 * MIB);
        status.waiting.is_none() && !alarms && !large
    };
    let after = service.wait_for("there is room", has_room).await.unwrap();
    println!("sizes after: {:?}", sizes(&after));
    client.put("again", "written", None).await.unwrap();
    assert!(plan(service).await.errors.is_empty());
}
