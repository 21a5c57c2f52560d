//! Clients that make one request after the other, as applications do: what fails is
//! tried once more at the next member, and then given up. How many are given up?

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::{Client, ConnectOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a request may take before it is tried elsewhere. A member that was just stopped
/// refuses at once; one that loses the lead may say nothing.
const FIRST_LIMIT: Duration = Duration::from_secs(1);

/// What it may take there. An election takes less than two seconds.
const AGAIN_LIMIT: Duration = Duration::from_secs(3);

/// Between the end of a request and the next one.
const PAUSE: Duration = Duration::from_millis(10);

/// Fewer say nothing.
const ENOUGH: usize = 100;

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// All of them.
    pub(crate) requests: usize,
    /// Those that had to be tried once more.
    pub(crate) again: usize,
    /// Those that failed then, too.
    pub(crate) failed: usize,
}

impl AddAssign for Asked {
    fn add_assign(&mut self, other: Asked) {
        self.requests += other.requests;
        self.again += other.again;
        self.failed += other.failed;
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked {
            requests,
            again,
            failed,
        } = self;
        write!(f, "{failed} of {requests} ({again} tried again)")
    }
}

/// At work until they are finished.
pub(crate) struct Requests {
    over: watch::Sender<bool>,
    clients: JoinSet<Asked>,
}

impl Requests {
    /// One client for each member, which asks that one first: writes and linearizable
    /// reads by turns.
    pub(crate) fn start(urls: &[String]) -> Self {
        let (over, is_over) = watch::channel(false);
        let mut clients = JoinSet::new();
        for first in 0..urls.len() {
            clients.spawn(ask_on(urls.to_vec(), first, is_over.clone()));
        }
        Requests { over, clients }
    }

    /// What became of all that was asked.
    pub(crate) async fn finish(self) -> Result<Asked> {
        self.over.send_replace(true);
        let mut all = Asked::default();
        for asked in self.clients.join_all().await {
            all += asked;
        }
        ensure!(all.requests >= ENOUGH, "only {} requests", all.requests);
        Ok(all)
    }
}

async fn ask_on(urls: Vec<String>, first: usize, over: watch::Receiver<bool>) -> Asked {
    let mut members: Vec<Member> = urls.into_iter().map(Member::at).collect();
    members.rotate_left(first);
    let key = format!("requests/{first}");
    let mut asked = Asked::default();
    while !*over.borrow() {
        let number = asked.requests;
        let [own, next, ..] = members.as_mut_slice() else {
            break;
        };
        // Large ones, of etcd's client: not on the stack.
        let first = Box::pin(timeout(FIRST_LIMIT, own.ask(&key, number)));
        let again = Box::pin(timeout(AGAIN_LIMIT, next.ask(&key, number)));
        asked += once_more(first, again).await;
        tokio::time::sleep(PAUSE).await;
    }
    asked
}

/// One request: what fails or takes too long is asked once more.
async fn once_more<Late, Failed>(
    first: impl Future<Output = Result<Result<(), Failed>, Late>>,
    again: impl Future<Output = Result<Result<(), Failed>, Late>>,
) -> Asked {
    let is_answered = |answer| matches!(answer, Ok(Ok(())));
    let mut asked = Asked {
        requests: 1,
        ..Asked::default()
    };
    if !is_answered(first.await) {
        asked.again = 1;
        asked.failed = usize::from(!is_answered(again.await));
    }
    asked
}

/// A member, and the connection to it while it is good.
struct Member {
    url: String,
    connection: Option<Client>,
}

impl Member {
    fn at(url: String) -> Self {
        Member {
            url,
            connection: None,
        }
    }

    async fn ask(&mut self, key: &str, number: usize) -> Result<(), etcd_client::Error> {
        // A connection that fails, or is given up on the way, is not used again.
        let mut client = match self.connection.take() {
            Some(client) => client,
            None => {
                let options = ConnectOptions::new().with_connect_timeout(FIRST_LIMIT);
                Client::connect([&self.url], Some(options)).await?
            }
        };
        if number.is_multiple_of(2) {
            client.put(key, number.to_string(), None).await?;
        } else {
            client.get(key, None).await?;
        }
        self.connection = Some(client);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Result<Result<(), ()>, ()>;

    #[tokio::test]
    async fn what_counts_as_failed() {
        async fn check(first: Answer, again: Answer, expected: &str) {
            let asked = once_more(async { first }, async { again }).await;
            assert_eq!(asked.to_string(), expected);
        }
        let (good, fails, late) = (Ok(Ok(())), Ok(Err(())), Err(()));
        check(good, fails, "0 of 1 (0 tried again)").await;
        check(fails, good, "0 of 1 (1 tried again)").await;
        check(late, good, "0 of 1 (1 tried again)").await;
        check(fails, fails, "1 of 1 (1 tried again)").await;
        check(late, late, "1 of 1 (1 tried again)").await;
    }

    #[tokio::test]
    async fn clients_without_anybody_to_ask_count_it() {
        // Nobody listens on these.
        let urls = [
            "http://127.0.0.1:1".to_owned(),
            "http://127.0.0.1:2".to_owned(),
        ];
        let (over, is_over) = watch::channel(false);
        let asking = tokio::spawn(ask_on(urls.to_vec(), 1, is_over));
        tokio::time::sleep(PAUSE * 10).await;
        over.send_replace(true);
        let asked = asking.await.unwrap();
        assert!(asked.requests > 0, "{asked}");
        assert_eq!(
            (asked.again, asked.failed),
            (asked.requests, asked.requests)
        );
    }
}
