//! Compaction, defragmentation, alarms: what keeps a database from growing over
//! its quota, and what brings it back below. And the way back to the minor version
//! before.
//!
//! The order is for the caller to keep: compact, defragment one member after the
//! other with the leader last, look at all sizes again, and only then disarm.

use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, CompactionOptions, DowngradeOptions,
};

use crate::EtcdError;
use crate::member::{Alarm, AlarmKind, MemberClient};

/// What etcd 3.5 says to the cancelling of a downgrade that there is not.
const NOT_ON_ITS_WAY: &str = "no inflight downgrade job";

impl MemberClient {
    /// Gives the free room inside the member's database file back to its disk. The
    /// member serves nothing meanwhile, and needs free room on its disk for what is
    /// in use.
    ///
    /// etcd goes on when nobody waits any more, and answers nobody meanwhile, so a
    /// limit that is too short ends nothing but our knowledge of it.
    ///
    /// # Errors
    ///
    /// [`EtcdError::TimedOut`]: it may go on all the same. [`EtcdError::Unreachable`].
    pub async fn defragment(&self, limit: Duration) -> Result<(), EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        self.bounded("defragment", limit, maintenance.defragment())
            .await?;
        Ok(())
    }

    /// Forgets what keys were before `revision`, in the whole cluster. Answered when
    /// that is decided; each member frees the room in its own time.
    ///
    /// Watches and backups that have not come so far lose their place.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Compacted`], [`EtcdError::FutureRevision`],
    /// [`EtcdError::NoQuorum`]; see [`EtcdError::may_have_happened`].
    pub async fn compact(&self, revision: i64) -> Result<(), EtcdError> {
        let mut kv = self.client.kv_client();
        let compact = kv.compact(revision, None);
        self.bounded("compact", self.limits.quorum, compact).await?;
        Ok(())
    }

    /// As [`MemberClient::compact`], answered when this member has cleared away what is
    /// forgotten. The others do so at about the same time, and tell nobody.
    ///
    /// # Errors
    ///
    /// As [`MemberClient::compact`], and [`EtcdError::TimedOut`] when the member is still
    /// at it.
    pub async fn compact_and_clear(
        &self,
        revision: i64,
        limit: Duration,
    ) -> Result<(), EtcdError> {
        let mut kv = self.client.kv_client();
        let options = CompactionOptions::new().with_physical();
        let compact = kv.compact(revision, Some(options));
        self.bounded("compact", limit, compact).await?;
        Ok(())
    }

    /// Has the whole cluster go back by one minor version, to `minor`, such as `3.5`:
    /// from then on it works as that one, and every member makes its data ready for
    /// it. What has been done of it is told by [`MemberClient::status`]. Once all
    /// members run the older version, etcd ends the downgrade by itself.
    ///
    /// Works from 3.6 on. 3.5 knows the call, and does not get it done.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Other`] where etcd says no: it goes back by one minor version only,
    /// and not while it is on its way already. [`EtcdError::NoQuorum`], after which it
    /// may be on its way all the same.
    pub async fn enable_downgrade(&self, minor: &str) -> Result<(), EtcdError> {
        self.ask_for_downgrade(DowngradeOptions::Enable(minor.to_owned()))
            .await
    }

    /// Has the cluster go back no further. That it is not on its way is no error. Newer
    /// versions say that it was done although it was not; only [`MemberClient::status`]
    /// tells.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Unreachable`], [`EtcdError::TimedOut`], [`EtcdError::NoQuorum`].
    pub async fn cancel_downgrade(&self) -> Result<(), EtcdError> {
        match self.ask_for_downgrade(DowngradeOptions::Cancel).await {
            Err(EtcdError::Other { message, .. }) if message.contains(NOT_ON_ITS_WAY) => {
                Ok(())
            }
            other => other,
        }
    }

    async fn ask_for_downgrade(&self, what: DowngradeOptions) -> Result<(), EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let ask = maintenance.downgrade(what);
        self.bounded("downgrade", self.limits.quorum, ask).await?;
        Ok(())
    }

    /// Takes back one alarm of one member, and no other: an alarm that is not there
    /// is no error.
    ///
    /// # Errors
    ///
    /// [`EtcdError::NoQuorum`]; see [`EtcdError::may_have_happened`].
    pub async fn disarm(&self, alarm: Alarm) -> Result<(), EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let kind = match alarm.kind {
            AlarmKind::NoSpace => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
        };
        let mut options = AlarmOptions::new();
        options.with_member(alarm.member_id);
        let disarm = maintenance.alarm(AlarmAction::Deactivate, kind, Some(options));
        self.bounded("disarm", self.limits.quorum, disarm).await?;
        Ok(())
    }
}
