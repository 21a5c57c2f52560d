//! A client that writes all the time and tries again at another member when a write
//! fails: for how long is it without an answer at most?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use etcd_client::{Client, ConnectOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A write that takes longer is given up and tried elsewhere. While the lead moves,
/// etcd drops what a follower has passed on, and tells nobody.
const CALL_LIMIT: Duration = Duration::from_millis(250);

const BETWEEN_WRITES: Duration = Duration::from_millis(2);
const AFTER_FAILURE: Duration = Duration::from_millis(5);

/// Fewer writes say nothing about gaps.
const ENOUGH: usize = 100;

/// At work until it is finished.
pub(crate) struct Writer {
    over: watch::Sender<bool>,
    task: JoinHandle<Written>,
}

#[derive(Default)]
struct Written {
    acknowledged: usize,
    longest_gap: Duration,
}

impl Writer {
    /// Begins at the member with this number.
    pub(crate) fn start(urls: Vec<String>, first: usize) -> Self {
        let (over, is_over) = watch::channel(false);
        let task = tokio::spawn(write(urls, first, is_over));
        Writer { over, task }
    }

    /// The longest time between two acknowledged writes.
    pub(crate) async fn finish(self) -> Result<Duration> {
        self.over.send_replace(true);
        let written = self.task.await?;
        let writes = written.acknowledged;
        ensure!(writes >= ENOUGH, "only {writes} writes were acknowledged");
        Ok(written.longest_gap)
    }
}

async fn write(urls: Vec<String>, first: usize, over: watch::Receiver<bool>) -> Written {
    let mut written = Written::default();
    let mut last: Option<Instant> = None;
    let (mut turn, mut member) = (first, None);
    while !*over.borrow() {
        let put = put(&urls[turn % urls.len()], &mut member, written.acknowledged);
        if matches!(timeout(CALL_LIMIT, put).await, Ok(Ok(()))) {
            let now = Instant::now();
            if let Some(last) = last {
                written.longest_gap = written.longest_gap.max(now - last);
            }
            last = Some(now);
            written.acknowledged += 1;
            tokio::time::sleep(BETWEEN_WRITES).await;
        } else {
            member = None;
            turn += 1;
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
    written
}

async fn put(
    url: &str,
    member: &mut Option<Client>,
    number: usize,
) -> Result<(), etcd_client::Error> {
    let client = match member {
        Some(client) => client,
        None => {
            let options = ConnectOptions::new().with_connect_timeout(CALL_LIMIT);
            member.insert(Client::connect([url], Some(options)).await?)
        }
    };
    let key = format!("writer/{}", number % 16);
    client.put(key, number.to_string(), None).await?;
    Ok(())
}
