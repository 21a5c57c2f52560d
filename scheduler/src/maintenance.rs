//! What is asked of etcd to look after a database.

use std::time::Duration;

use etcd_admin::known_bugs::triggered_by_defragmentation;
use etcd_admin::member::{Alarm, AlarmKind, MemberClient};
use etcd_admin::{EtcdError, EtcdVersion};
use etcd_launch::MemberId;

/// Defragments a member's database, if the member is the one that is meant.
pub(crate) async fn defragment(
    client: &MemberClient,
    member_id: MemberId,
    limit: Duration,
) -> Result<(), String> {
    let status = client.status().await.map_err(|error| error.to_string())?;
    let found = MemberId(status.member_id);
    if found != member_id {
        return Err(format!("{found} answers in its place"));
    }
    let version: Option<EtcdVersion> = status.version.parse().ok();
    if let Some(bug) = version.and_then(triggered_by_defragmentation)
        && !takes_no_writes(client).await
    {
        return Err(format!(
            "etcd {} can damage data meanwhile: {bug}; update etcd first",
            status.version
        ));
    }
    let defragmented = client.defragment(limit).await;
    defragmented.map_err(|error| error.to_string())
}

/// Whether the cluster refuses writes: then nobody falls behind meanwhile, and what the
/// bugs need does not happen.
async fn takes_no_writes(client: &MemberClient) -> bool {
    let alarms: Vec<Alarm> = client.alarms().await.unwrap_or_default();
    alarms.iter().any(|alarm| alarm.kind == AlarmKind::NoSpace)
}

/// Forgets all revisions but the newest ones, and waits until the member that is asked
/// has cleared them away.
pub(crate) async fn compact(
    client: &MemberClient,
    keep_revisions: u64,
    limit: Duration,
) -> Result<(), EtcdError> {
    let newest = client.linearizable_read().await?;
    let keep = i64::try_from(keep_revisions).unwrap_or(i64::MAX);
    let revision = newest.saturating_sub(keep);
    if revision <= 0 {
        return Ok(());
    }
    match client.compact_and_clear(revision, limit).await {
        // Somebody did it before, perhaps this scheduler before it was restarted.
        Ok(()) | Err(EtcdError::Compacted) => Ok(()),
        Err(error) => Err(error),
    }
}
