//! Updates on real Mesos under checked clients while things break: the scheduler is
//! killed at every effect, options do not work, an agent is away, another update comes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use etcd_api::ServiceStatus;
use etcd_api::plans::PlanInfo;
use etcd_api::status::PodStatus;
use etcd_client::{Client, PutOptions};
use etcd_tests::command_line::Ended;
use etcd_tests::service::{has_its_task_of, is_healthy, member_ids, task_ids};
use etcd_tests::{Service, UnderClients, etcd, programs};
use serde_json::json;
use tokio::task::JoinHandle;

/// For this long nothing may happen to members that are to wait.
const QUIET: Duration = Duration::from_secs(6);

/// What the lease outlives without a word of its holder, seconds. A holder that loses
/// its member needs a moment to find another one.
const LEASE_SECONDS: i64 = 10;

async fn update(service: &UnderClients, heartbeat: u64) {
    let ended = send(service, heartbeat).await;
    assert!(ended.out.contains("Update started."), "{ended:?}");
}

/// The same, for when the scheduler may not live to say that it has taken it.
async fn send(service: &UnderClients, heartbeat: u64) -> Ended {
    let file = service.root().join("update.json");
    let options = json!({"etcd": {"heartbeat_interval": heartbeat}});
    fs::write(&file, options.to_string()).unwrap();
    let words = format!("update start --options {}", file.display());
    service.command_line().unwrap().run(&words).await.unwrap()
}

async fn plan(service: &UnderClients) -> PlanInfo {
    let (_, body) = service.get("/v1/plans/update").await.unwrap();
    serde_json::from_str(&body).unwrap()
}

async fn wait_until_complete(service: &UnderClients) {
    let complete = "update (serial strategy) (COMPLETE)";
    let said = service.wait_until_said("plan status update", complete);
    said.await.unwrap();
}

/// The heartbeat of every etcd that runs.
fn heartbeats(service: &UnderClients) -> Vec<String> {
    let etcds = service.processes("etcd").unwrap();
    let heartbeat = |pid: i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        words
            .find_map(|word| Some(word.strip_prefix("--heartbeat-interval=")?.to_owned()))
    };
    let pids = etcds.iter().map(|(pid, _)| pid.as_raw_nonzero().get());
    pids.filter_map(heartbeat).collect()
}

/// Waits until every member was restarted since.
async fn wait_until_rolled(
    service: &mut UnderClients,
    before: &ServiceStatus,
    heartbeat: u64,
) -> ServiceStatus {
    let old = task_ids(before);
    let rolled = |status: &ServiceStatus| {
        let new = task_ids(status);
        is_healthy(status) && new.iter().all(|task| !old.contains(task))
    };
    let what = format!("all run with {heartbeat}");
    let after = service.wait_for(&what, rolled).await.unwrap();
    assert_eq!(member_ids(&after), member_ids(before), "in place");
    wait_until_complete(service).await;
    let found = heartbeats(service);
    assert_eq!(found, vec![heartbeat.to_string(); after.pods.len()]);
    service.status().await.unwrap()
}

/// Somebody who holds a lease and says so every second, at whichever member answers.
struct LeaseHolder {
    id: i64,
    holds: JoinHandle<()>,
}

impl LeaseHolder {
    async fn start(status: &ServiceStatus) -> Self {
        let mut client = etcd::client(status).await.unwrap();
        let lease = client.lease_grant(LEASE_SECONDS, None).await.unwrap();
        let id = lease.id();
        let with_lease = PutOptions::new().with_lease(id);
        client.put("held", "yes", Some(with_lease)).await.unwrap();
        let status = status.clone();
        let holds = tokio::spawn(async move {
            // Ended by its owner.
            loop {
                let _ =
                    tokio::time::timeout(Duration::from_secs(2), keep(&status, id)).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        LeaseHolder { id, holds }
    }

    /// The lease was never lost.
    async fn finish(self, status: &ServiceStatus) {
        self.holds.abort();
        let held = etcd::get(status, "held").await.unwrap();
        assert_eq!(held.as_deref(), Some("yes"), "lease {:x} is gone", self.id);
    }
}

async fn keep(status: &ServiceStatus, id: i64) -> Result<(), etcd_client::Error> {
    let urls = status.pods.iter().filter_map(|pod| pod.client_url.clone());
    let mut client = Client::connect(urls.collect::<Vec<_>>(), None).await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    answers.message().await?;
    Ok(())
}

/// Five members under clients with leases and watches, once in peace, and once with the
/// scheduler killed at every effect.
#[tokio::test]
async fn five_members_though_the_scheduler_is_killed_at_every_effect() {
    let mut service = Service::on_agents(5).await.unwrap();
    service.set_option("node", "count", json!(5));
    service.start_scheduler(None).unwrap();
    let mut service = UnderClients::of(service).await.unwrap();
    let before = service.before.clone();
    let holder = LeaseHolder::start(&before).await;
    let started = Instant::now();
    update(&service, 150).await;
    let after = wait_until_rolled(&mut service, &before, 150).await;
    println!("five members in {:?}", started.elapsed());

    service.kill_scheduler().unwrap();
    for (number, failpoint) in [
        "before-try-recipe",
        "after-try-recipe",
        "before-store-kill",
        "after-store-kill",
        "before-kill",
        "after-kill",
        "before-launch",
        "after-launch",
    ]
    .into_iter()
    .enumerate()
    {
        service.start_scheduler(Some(failpoint)).unwrap();
        if number == 0 {
            service.wait_until_healthy().await.unwrap();
            send(&service, 200).await;
        }
        service.wait_until_scheduler_ends().await.unwrap();
    }
    for failpoint in ["before-move-leader", "after-move-leader"] {
        let is_old = |pod: &PodStatus| has_its_task_of(&after, pod);
        service.crash_at_handover(failpoint, is_old).await.unwrap();
    }
    service.start_scheduler(None).unwrap();
    let last = wait_until_rolled(&mut service, &after, 200).await;
    holder.finish(&last).await;
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
}

/// Three members whose etcd ends at once with a heartbeat of 14 ms, and with one of 13 ms
/// except where it is only tried.
async fn with_an_etcd_that_refuses() -> UnderClients {
    let mut service = Service::on_agents(3).await.unwrap();
    let real = programs::etcd_directory().unwrap();
    let directory = service.root().join("etcd-that-refuses");
    fs::create_dir(&directory).unwrap();
    for program in ["etcdctl", "etcdutl"] {
        if real.join(program).exists() {
            fs::copy(real.join(program), directory.join(program)).unwrap();
        }
    }
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         *heartbeat-interval=14*) echo 'no such heartbeat' >&2; exit 3 ;;\n\
         *initial-cluster-token=trial*) ;;\n\
         *heartbeat-interval=13*) echo 'no such heartbeat' >&2; exit 3 ;;\nesac\n\
         exec {} \"$@\"\n",
        real.join("etcd").display()
    );
    let etcd = directory.join("etcd");
    fs::write(&etcd, script).unwrap();
    fs::set_permissions(&etcd, fs::Permissions::from_mode(0o755)).unwrap();
    service.set_option("scheduler", "etcd_dir", json!(directory));
    service.start_scheduler(None).unwrap();
    UnderClients::of(service).await.unwrap()
}

/// Tasks that are others than before.
fn others(status: &ServiceStatus, before: &ServiceStatus) -> usize {
    let old = task_ids(before);
    let new = task_ids(status).into_iter();
    new.filter(|task| !old.contains(task)).count()
}

#[tokio::test]
async fn what_goes_wrong_and_what_comes_between() {
    let mut service = with_an_etcd_that_refuses().await;
    let before = service.before.clone();
    options_that_etcd_does_not_take(&service, &before).await;
    options_that_do_not_work(&mut service, &before).await;
    let healed = service.wait_until_healthy().await.unwrap();
    an_agent_is_away(&mut service, &healed).await;
    let (_, longest_gap) = service.wait_until_well().await.unwrap();
    println!("longest gap {} ms", longest_gap.as_millis());
}

/// That is found out beside the first member, and nobody is touched.
async fn options_that_etcd_does_not_take(service: &UnderClients, before: &ServiceStatus) {
    update(service, 14).await;
    let words = "tried before it was touched: etcd exited with code 3: no such heartbeat";
    let said = service.wait_until_said("plan status update", words).await;
    println!("{}", said.unwrap());
    assert_eq!(plan(service).await.status, "ERROR");
    let status = service.status().await.unwrap();
    assert_eq!(task_ids(&status), task_ids(before), "nobody was touched");
}

/// The first member fails and goes back; the others are not touched; setting the old
/// options heals.
async fn options_that_do_not_work(service: &mut UnderClients, before: &ServiceStatus) {
    update(service, 13).await;
    let stopped = "does not run with the new target";
    let said = service.wait_until_said("plan status update", stopped).await;
    println!("{}", said.unwrap());
    assert_eq!(plan(service).await.status, "ERROR");
    let back = service
        .wait_for("the one that failed is back", is_healthy)
        .await
        .unwrap();
    assert_eq!(others(&back, before), 1, "the others were not touched");
    assert_eq!(heartbeats(service), ["100"; 3]);
    let (code, health) = service.get("/v1/health?verbose").await.unwrap();
    assert_eq!(code.as_u16(), 500, "{health}");

    update(service, 100).await;
    wait_until_complete(service).await;
    let healed = service.wait_until_healthy().await.unwrap();
    assert_eq!(task_ids(&healed), task_ids(&back), "nothing is to be done");
    assert!(plan(service).await.errors.is_empty());
}

/// An update waits for it and says so. Another one that comes meanwhile takes its place:
/// members go to the newest options at once.
async fn an_agent_is_away(service: &mut UnderClients, before: &ServiceStatus) {
    let away = before.pods.iter().find(|pod| !pod.leader).unwrap();
    let agent = service.agent_of(before, &away.name).unwrap();
    let name = away.name.clone();
    service.cluster.agents()[agent].host_reboot().unwrap();
    let is_away = |status: &ServiceStatus| {
        status.pods.iter().any(|pod| {
            let waiting = pod.waiting.as_ref();
            pod.name == name && waiting.is_some_and(|why| why.code == "agent_unreachable")
        })
    };
    service
        .wait_for("its agent is away", is_away)
        .await
        .unwrap();
    update(service, 150).await;
    let waits = format!("{name}:[node]: the master cannot reach the agent on");
    let said = service.wait_until_said("plan status update", &waits).await;
    println!("{}", said.unwrap());
    let waited = Instant::now();
    while waited.elapsed() < QUIET {
        let status = service.status().await.unwrap();
        let old = task_ids(before);
        let new = task_ids(&status).into_iter();
        let mut touched = new.filter(|task| task.0 != name && !old.contains(task));
        assert_eq!(touched.next(), None, "it did not wait");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    update(service, 200).await;
    service.cluster.agents()[agent].start_again().unwrap();
    wait_until_rolled(service, before, 200).await;
}
