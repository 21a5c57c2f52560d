//! Asking the master, again and again, which agents it has.
//!
//! Offers show only agents that have something to give. What the planner says
//! of places that cannot be had, and whether operations may have names, needs
//! them all.

use std::sync::Arc;
use std::time::Duration;

use etcd_planner::observed::MesosLink;
use etcd_planner::{Event, WaitingReason};
use mesos_v1::OperatorClient;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::published::Published;
use crate::translate::agents;

/// Pause between two questions while all members have their places: an agent
/// comes or goes seldom, and the answer of a large cluster has megabytes.
const AT_REST: Duration = Duration::from_secs(30);

/// The same while a member waits for a place: what an operator reads about the
/// agents should be of now.
const WHILE_WAITING: Duration = Duration::from_secs(10);

/// The same while the master does not answer, as between two leaders.
const WHILE_SILENT: Duration = Duration::from_secs(2);

/// Asks until the loop is gone.
pub async fn ask_for_agents(
    master: OperatorClient,
    mut published: watch::Receiver<Arc<Published>>,
    results: mpsc::UnboundedSender<Event>,
) {
    let mut silent = false;
    loop {
        let due = match master.get_agents().await {
            Ok(answer) => {
                if std::mem::take(&mut silent) {
                    info!("the master tells its agents again");
                }
                let agents = agents::agents(&answer);
                if results.send(Event::Agents(agents)).is_err() {
                    return;
                }
                Due {
                    earliest: WHILE_WAITING,
                    latest: AT_REST,
                }
            }
            Err(error) => {
                // Before the first subscription that is no news.
                if !std::mem::replace(&mut silent, true) && is_connected(&published) {
                    warn!(%error, "the master does not tell its agents");
                }
                Due {
                    earliest: WHILE_SILENT,
                    latest: if is_connected(&published) {
                        WHILE_WAITING
                    } else {
                        WHILE_SILENT
                    },
                }
            }
        };
        if due.pass(&mut published).await.is_err() {
            return;
        }
    }
}

/// When the next question is due: at the latest moment, or from the earliest on
/// as soon as a member waits for a place.
#[derive(Clone, Copy, Debug)]
struct Due {
    earliest: Duration,
    latest: Duration,
}

impl Due {
    async fn pass(
        self,
        published: &mut watch::Receiver<Arc<Published>>,
    ) -> Result<(), watch::error::RecvError> {
        tokio::time::sleep(self.earliest).await;
        let waits = published.wait_for(|published| waits_for_place(published));
        match tokio::time::timeout(self.latest - self.earliest, waits).await {
            Ok(Err(gone)) => Err(gone),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

fn is_connected(published: &watch::Receiver<Arc<Published>>) -> bool {
    matches!(published.borrow().mesos, MesosLink::Connected(_))
}

fn waits_for_place(published: &Published) -> bool {
    published.waiting.values().any(|reason| {
        matches!(
            reason,
            WaitingReason::NoOffer { .. }
                | WaitingReason::CollectingOffers { .. }
                | WaitingReason::NoSuitableOffer { .. }
                | WaitingReason::CannotBePlaced { .. }
        )
    })
}
