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
        let [present, next, ..] = members.as_mut_slice() else {
            break;
        };
        let urls = (present.url.clone(), next.url.clone());
        let answer = once_more(
            present.ask_within(FIRST_LIMIT, &key, number),
            next.ask_within(AGAIN_LIMIT, &key, number),
        )
        .await;
        asked += answer.counted();
        if let Answer::Failed { first, again } = &answer {
            eprintln!("request failed: {}: {first}; {}: {again}", urls.0, urls.1);
        }
        if answer != Answer::AtOnce {
            // Whoever did not answer is not asked first again.
            members.rotate_left(1);
        }
        tokio::time::sleep(PAUSE).await;
    }
    asked
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    AtOnce,
    Again,
    /// Why, both times.
    Failed {
        first: String,
        again: String,
    },
}

impl Answer {
    fn counted(&self) -> Asked {
        Asked {
            requests: 1,
            again: usize::from(*self != Answer::AtOnce),
            failed: usize::from(matches!(self, Answer::Failed { .. })),
        }
    }
}

/// One request: what fails or takes too long is asked once more.
async fn once_more(
    first: impl Future<Output = Result<(), String>>,
    again: impl Future<Output = Result<(), String>>,
) -> Answer {
    let Err(first) = first.await else {
        return Answer::AtOnce;
    };
    match again.await {
        Ok(()) => Answer::Again,
        Err(again) => Answer::Failed { first, again },
    }
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

    /// Asks, and says why there was no answer in time.
    async fn ask_within(
        &mut self,
        limit: Duration,
        key: &str,
        number: usize,
    ) -> Result<(), String> {
        // A large future, of etcd's client: not on the stack.
        let asked = timeout(limit, Box::pin(self.ask(key, number))).await;
        let late = |_| format!("no answer within {limit:?}");
        asked.map_err(late)?.map_err(|error| error.to_string())
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

    #[tokio::test]
    async fn what_counts_as_failed() {
        async fn check(first: Option<&str>, again: Option<&str>, expected: &str) {
            let answer =
                |why: Option<&str>| why.map_or(Ok(()), |why| Err(why.to_owned()));
            let (first, again) = (answer(first), answer(again));
            let answered = once_more(async { first }, async { again }).await;
            assert_eq!(answered.counted().to_string(), expected);
        }
        check(None, None, "0 of 1 (0 tried again)").await;
        check(None, Some("late"), "0 of 1 (0 tried again)").await;
        check(Some("late"), None, "0 of 1 (1 tried again)").await;
        check(Some("late"), Some("refused"), "1 of 1 (1 tried again)").await;
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
