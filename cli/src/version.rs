//! `version`: of this program, and of the scheduler if one is known.

use std::collections::BTreeSet;

use etcd_api::ServiceStatus;
use serde::Serialize;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;
use crate::{pretty, status_request};

#[derive(Debug, Serialize)]
struct Versions {
    /// This program's.
    dcos_etcd: &'static str,
    /// The scheduler's.
    scheduler: Option<String>,
    /// Those that members run; two or more during an update.
    etcd: BTreeSet<String>,
}

/// Shows versions. Without an address of a scheduler, our own is all there is.
///
/// # Errors
///
/// When an address is known and the scheduler does not answer. Our own version is
/// shown before.
pub(crate) async fn show(
    client: Result<Client, Failure>,
    output: &Output,
    json: bool,
) -> Result<(), Failure> {
    let mut versions = Versions {
        dcos_etcd: env!("CARGO_PKG_VERSION"),
        scheduler: None,
        etcd: BTreeSet::new(),
    };
    if !json {
        output.print(&format!("dcos-etcd {}", versions.dcos_etcd))?;
    }
    let asked = match client {
        Ok(client) => client
            .read::<ServiceStatus>(&status_request())
            .await
            .map(Some),
        Err(Failure::NoAddress) => Ok(None),
        Err(failure) => Err(failure),
    };
    if let Ok(Some(status)) = &asked {
        versions.scheduler = Some(status.version.clone());
        let of_members = status
            .pods
            .iter()
            .filter_map(|pod| pod.etcd_version.clone());
        versions.etcd = of_members.collect();
    }
    if json {
        output.print(&pretty(&versions)?)?;
    } else if let Some(scheduler) = &versions.scheduler {
        let etcd: Vec<&str> = versions.etcd.iter().map(String::as_str).collect();
        let etcd = if etcd.is_empty() {
            "not known".to_owned()
        } else {
            etcd.join(", ")
        };
        output.print(&format!("scheduler {scheduler}\netcd {etcd}"))?;
    }
    asked.map(|_| ())
}
