//! How long the replacement of a dead follower takes, from the call to the new one's
//! vote: ours, and by hand with etcdctl and a bare etcd.
//!
//! Both die by SIGKILL some time before, so that everybody knows that they are dead,
//! and both clusters have a host to spare. With the small database both are there at
//! the same time, by turns; with the large one they come one after the other, since
//! every copy takes its room on the disk. Spare hosts have been there for long.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use etcd_api::status::{PodStatus, ServiceStatus};
use etcd_client::{Client, ConnectOptions};
use etcd_local::cluster::{ClusterOptions, Host};
use etcd_tests::service::is_healthy;
use etcd_tests::witness::client_urls;
use etcd_tests::{Service, service};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bare_etcd::SMALL_QUOTA_MB;
use crate::birth::LOOK_AGAIN;
use crate::by_hand::{self, ByHand, Replaced};
use crate::gaps::{REST, post};
use crate::{Goal, Row, median, shown};

/// Each takes a host that is not there any more then.
const SMALL_ROUNDS: u8 = 7;
const LARGE_ROUNDS: u8 = 3;

/// Without those that are to spare.
const MEMBERS: u8 = 3;

/// A follower is dead for so long before it is replaced by hand. Mesos needs as long
/// to be sure.
const DOWN_FOR: Duration = Duration::from_secs(3);

/// A small one may take so much longer than by hand.
const ALLOWED: Duration = Duration::from_secs(2);

/// A large one so many times as long.
const ALLOWED_TIMES: f64 = 1.3;

const LARGE_MB: u64 = 1024;
const LARGE_QUOTA_MB: u64 = 2048;
const LARGE_VOLUME_MB: u32 = 6000;
const VALUE_BYTES: u64 = 16 * 1024;
const WRITERS: u64 = 32;

/// Both databases.
pub(crate) async fn rows() -> Result<Vec<Row>> {
    let mut rows = small().await?;
    rows.extend(large().await?);
    Ok(rows)
}

/// A small database.
pub(crate) async fn small() -> Result<Vec<Row>> {
    let mut service = Service::on_agents(MEMBERS + SMALL_ROUNDS).await?;
    service.start_scheduler(None)?;
    service.wait_until_healthy().await?;
    let mut bare = ByHand::founded(&service, SMALL_QUOTA_MB).await?;
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..SMALL_ROUNDS {
        by_hand.push(bare.replace_a_follower(DOWN_FOR).await?);
        ours.push(replace_by_service(&mut service).await?);
        told("small", &ours, &by_hand);
    }
    let allowed = median(by_hand.iter().map(|it: &Replaced| it.votes)) + ALLOWED;
    let goal = Goal {
        text: "at most by hand + 2 s",
        met: median(ours.iter().map(|it: &Replaced| it.votes)) <= allowed,
    };
    let mut found = rows_of("small database", &ours, &by_hand);
    found[0].goal = Some(goal);
    Ok(found)
}

/// A database of 1 GB.
pub(crate) async fn large() -> Result<Vec<Row>> {
    let host = Host::new().root_disk(LARGE_VOLUME_MB + 2048);
    let hosts = std::iter::repeat_n(host, usize::from(MEMBERS + LARGE_ROUNDS));
    let mut service = Service::on(ClusterOptions::of(hosts)).await?;
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    let mut bare = ByHand::founded(&service, LARGE_QUOTA_MB).await?;
    fill(&bare.urls()).await?;
    for _ in 0..LARGE_ROUNDS {
        by_hand.push(bare.replace_a_follower(DOWN_FOR).await?);
        told("large", &ours, &by_hand);
    }
    drop(bare);
    service.set_option("etcd", "quota", json!(LARGE_QUOTA_MB));
    service.set_option("node", "disk", json!(LARGE_VOLUME_MB));
    service.set_option("node", "mem", json!(2048));
    service.start_scheduler(None)?;
    let status = service.wait_until_healthy().await?;
    fill(&client_urls(&status)).await?;
    for _ in 0..LARGE_ROUNDS {
        ours.push(replace_by_service(&mut service).await?);
        told("large", &ours, &by_hand);
    }
    let mut found = rows_of("1 GB", &ours, &by_hand);
    let of = |times: &[Replaced]| {
        let votes = median(times.iter().map(|it| it.votes));
        let healthy = median(times.iter().map(|it| it.healthy));
        [votes, healthy].map(|time| time.as_secs_f64())
    };
    let (ours, by_hand) = (of(&ours), of(&by_hand));
    for (number, what) in ["vote", "health"].into_iter().enumerate() {
        let ratio = ours[number] / by_hand[number];
        found.push(Row {
            figure: format!("the same until its {what}: ours against by hand"),
            measured: format!("{ratio:.2} times"),
            goal: Some(Goal {
                text: "at most 1.3 times",
                met: ratio <= ALLOWED_TIMES,
            }),
        });
    }
    Ok(found)
}

fn rows_of(what: &str, ours: &[Replaced], by_hand: &[Replaced]) -> Vec<Row> {
    let row = |until: &str, who: &str, times: Vec<Duration>| Row {
        figure: format!("a dead follower replaced, {what}, until its {until}: {who}"),
        measured: shown(&times),
        goal: None,
    };
    [("ours", ours), ("by hand", by_hand)]
        .into_iter()
        .flat_map(|(who, times)| {
            let votes = times.iter().map(|it| it.votes).collect();
            let healthy = times.iter().map(|it| it.healthy).collect();
            [row("vote", who, votes), row("health", who, healthy)]
        })
        .collect()
}

fn told(what: &str, ours: &[Replaced], by_hand: &[Replaced]) {
    let newest = |times: &[Replaced]| {
        let newest = times.last().map(|it| [it.votes, it.healthy]);
        newest.map(|times| times.map(|time| time.as_millis()))
    };
    eprintln!(
        "replacement, {what}, ms until vote and health: by hand {:?}, ours {:?}",
        newest(by_hand),
        newest(ours)
    );
}

/// Kills a follower's host for good, waits until Mesos has given it up, and replaces it.
async fn replace_by_service(service: &mut Service) -> Result<Replaced> {
    let rests = |status: &ServiceStatus| is_healthy(status) && status.leader.is_some();
    service.wait_for("all are well and led", rests).await?;
    tokio::time::sleep(REST).await;
    let before = service.wait_for("they are at rest", rests).await?;
    let (dead, others): (Vec<&PodStatus>, _) = {
        let follower = before.pods.iter().find(|pod| !pod.leader);
        let name = &follower.context("no follower")?.name;
        before.pods.iter().partition(|pod| pod.name == *name)
    };
    let (name, member_id) = (&dead[0].name, dead[0].member_id.as_deref());
    let dead_id = u64::from_str_radix(member_id.context("no member id")?, 16)?;
    let survivor = others[0].client_url.clone().context("no client URL")?;
    let agents = service.hosts_of(&before);
    let number = before.pods.iter().position(|pod| pod.name == *name);
    let agent = *number
        .and_then(|number| agents.get(number))
        .context("it is on no agent")?;
    service.cluster.agents()[agent].host_reboot()?;
    let given_up = |status: &ServiceStatus| {
        service::pod(status, name).is_ok_and(|pod| {
            let waiting = pod.waiting.as_ref();
            waiting.is_some_and(|waiting| waiting.code == "agent_unreachable")
        })
    };
    service.wait_for("its agent is given up", given_up).await?;

    let options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
    let mut client = Client::connect([survivor], Some(options)).await?;
    let started = Instant::now();
    post(service, &format!("/v1/pod/{name}/replace")).await?;
    let votes = loop {
        let answer = client.member_list().await;
        let voters = answer.as_ref().map_or(0, |list| {
            let members = list.members().iter();
            members
                .filter(|member| !member.is_learner() && member.id() != dead_id)
                .count()
        });
        if voters == before.pods.len() {
            break started.elapsed();
        }
        if started.elapsed() > service::PATIENCE {
            bail!("it was not replaced\n{}", service.end_of_log());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let url = new_member(&mut client, &before).await?;
    by_hand::wait_until_healthy(&reqwest::Client::new(), url.parse()?).await?;
    let healthy = started.elapsed();
    // Such a host has taken its data with it.
    let lost = service.root().join(format!("mesos-agent-{}", agent + 1));
    fs::remove_dir_all(lost)?;
    Ok(Replaced { votes, healthy })
}

/// Where the member is that was not there before.
async fn new_member(client: &mut Client, before: &ServiceStatus) -> Result<String> {
    let old: Vec<&str> = before
        .pods
        .iter()
        .filter_map(|pod| pod.client_url.as_deref())
        .collect();
    let list = client.member_list().await?;
    let mut urls = list.members().iter().flat_map(|it| it.peer_urls());
    let host = |url: &str| {
        let host = url.strip_prefix("http://")?.strip_suffix(":2380")?;
        Some(host.to_owned())
    };
    urls.find_map(|url| {
        let host = host(url)?;
        let known = old.iter().any(|old| *old == format!("http://{host}:2379"));
        (!known).then_some(host)
    })
    .context("no new member is in the list")
}

/// Writes so much that learners get the database as a whole, and not the log.
async fn fill(urls: &[String]) -> Result<()> {
    let started = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let url = urls[usize::try_from(writer)? % urls.len()].clone();
        writers.spawn(async move {
            let options = ConnectOptions::new().with_timeout(Duration::from_secs(30));
            let mut client = Client::connect([url], Some(options)).await?;
            let value = vec![b'x'; usize::try_from(VALUE_BYTES)?];
            let values = (LARGE_MB << 20) / VALUE_BYTES / WRITERS;
            for number in 0..values {
                let key = format!("fill/{writer}/{number}");
                client.put(key, value.clone(), None).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let mut client = Client::connect([&urls[0]], None).await?;
    let bytes = client.status().await?.db_size();
    let seconds = started.elapsed().as_secs();
    eprintln!("a database of {} MB, in {seconds} s", bytes >> 20);
    ensure!(
        u64::try_from(bytes)? >= LARGE_MB << 20,
        "a database of {bytes} bytes is too small"
    );
    Ok(())
}
