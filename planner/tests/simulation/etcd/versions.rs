//! Which minor version a cluster works as, and for which one its members' data is.
//!
//! A cluster works as the oldest of its members does, and goes up when all run a newer
//! one. It goes back only when it is asked to, by one, and its members then make their
//! data ready for that, each in its own time. A program that is older than what its
//! cluster works as, or than its data, ends at once, in real life; here that is an
//! error of whoever started it.

use etcd_planner::programs::EtcdVersion;

use super::{Cluster, Member};

/// How many ticks pass before a member's data follows.
const DATA_FOLLOWS_WITHIN: u64 = 4;

/// What a cluster has agreed on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Agreed {
    /// As which minor version it works.
    pub(crate) works_as: u16,
    /// To which it is going back.
    pub(crate) downgrade_to: Option<u16>,
}

impl Cluster {
    /// Whether this program may be started on data of this minor version.
    pub(super) fn check_start(
        &self,
        version: EtcdVersion,
        data: u16,
    ) -> Result<(), String> {
        let oldest = self.agreed.works_as.max(data);
        if version.minor < oldest {
            return Err(format!(
                "etcd {version} was started on data of 3.{data} in a cluster that works \
                 as 3.{}",
                self.agreed.works_as
            ));
        }
        Ok(())
    }

    /// What the leader and the members do about versions.
    pub(super) fn agree(&mut self, tick: u64) {
        let all_run = self.members.values().all(|it| it.running.is_some());
        let minors = self.members.values().map(|member| member.version.minor);
        if let (true, Some(oldest)) = (all_run, minors.min()) {
            let agreed = &mut self.agreed;
            match agreed.downgrade_to {
                Some(to) if agreed.works_as == to + 1 && oldest == to + 1 => {
                    agreed.works_as = to;
                }
                Some(_) => {}
                None => agreed.works_as = agreed.works_as.max(oldest),
            }
        }
        let (agreed, is_downgraded) = (self.agreed, self.has_downgraded());
        let members = self.members.iter_mut();
        for (id, member) in members.filter(|(_, member)| member.running.is_some()) {
            if tick % DATA_FOLLOWS_WITHIN == id.0 % DATA_FOLLOWS_WITHIN {
                member.data = agreed.works_as;
            }
        }
        if is_downgraded {
            self.agreed.downgrade_to = None;
        }
    }

    fn has_downgraded(&self) -> bool {
        let mut members = self.members.values();
        self.agreed.downgrade_to.is_some_and(|to| {
            members.all(|it| it.running.is_some() && it.version.minor == to)
        })
    }

    pub(crate) fn enable_downgrade(&mut self, to: EtcdVersion) -> Result<(), String> {
        if self.agreed.downgrade_to.is_some() {
            return Err("cluster has a downgrade job in progress".into());
        }
        if self.agreed.works_as != to.minor + 1 {
            return Err("invalid downgrade target version".into());
        }
        self.agreed.downgrade_to = Some(to.minor);
        Ok(())
    }
}

impl Member {
    /// What its status says of its data, and of a downgrade: 3.6 was the first to tell.
    pub(crate) fn tells(
        &self,
        agreed: Agreed,
    ) -> (Option<EtcdVersion>, Option<EtcdVersion>) {
        let tells = |minor: Option<u16>| {
            let minor = minor.filter(|_| self.version.minor >= 6);
            minor.map(|minor| EtcdVersion::new(3, minor, 0))
        };
        (tells(Some(self.data)), tells(agreed.downgrade_to))
    }
}
