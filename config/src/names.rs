//! Names that follow from the options.

use std::net::SocketAddr;

use crate::{Options, SchedulerOptions, ServiceOptions};

/// The pod type of members: pods are `etcd-0`, `etcd-1`, ...
const POD_TYPE: &str = "etcd";
/// DC/OS: names below this domain resolve to the agents' or containers' addresses.
const AUTOIP_DOMAIN: &str = "autoip.dcos.thisdcos.directory";
/// DC/OS: names below this domain resolve to virtual addresses that balance load.
const VIP_DOMAIN: &str = "l4lb.thisdcos.directory";

impl ServiceOptions {
    /// The Mesos role of the service's reservations.
    #[must_use]
    pub fn role(&self) -> String {
        self.role
            .clone()
            .unwrap_or_else(|| format!("{}-role", self.name.folders_joined()))
    }

    /// The Mesos principal of the service.
    #[must_use]
    pub fn principal(&self) -> String {
        match &self.principal {
            Some(principal) => principal.clone(),
            None if !self.service_account.is_empty() => self.service_account.clone(),
            None => format!("{}-principal", self.name),
        }
    }
}

impl Options {
    /// The DNS name of a member's task on DC/OS. Dots of the service name become
    /// dashes here, and only here, as with the SDK.
    #[must_use]
    pub fn member_dns_name(&self, pod_index: u64) -> String {
        let service = self.service.name.without_slashes().replace('.', "-");
        format!("{POD_TYPE}-{pod_index}-node.{service}.{AUTOIP_DOMAIN}")
    }

    /// The DNS name of the virtual address that clients on DC/OS use.
    #[must_use]
    pub fn vip_dns_name(&self) -> String {
        format!("api.{}.{VIP_DOMAIN}", self.service.name.without_slashes())
    }
}

impl SchedulerOptions {
    /// The URL under which agents reach the API, without a slash at its end.
    /// `bound` is the address that the API really listens on: it differs from
    /// `listen` where that asks for port 0.
    #[must_use]
    pub fn advertised_url(&self, bound: SocketAddr) -> String {
        match &self.advertise_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_sdk() {
        let mut options = Options::default();
        assert_eq!(options.service.role(), "etcd-role");
        assert_eq!(options.service.principal(), "etcd-principal");
        assert_eq!(
            options.member_dns_name(0),
            "etcd-0-node.etcd.autoip.dcos.thisdcos.directory"
        );
        assert_eq!(options.vip_dns_name(), "api.etcd.l4lb.thisdcos.directory");

        options.service.name = "/team.a/etcd".parse().expect("a good name");
        options.service.service_account = "etcd-account".to_owned();
        assert_eq!(options.service.role(), "team.a__etcd-role");
        assert_eq!(options.service.principal(), "etcd-account");
        assert_eq!(
            options.member_dns_name(2),
            "etcd-2-node.team-aetcd.autoip.dcos.thisdcos.directory"
        );
        assert_eq!(
            options.vip_dns_name(),
            "api.team.aetcd.l4lb.thisdcos.directory"
        );

        options.service.role = Some("slave_public".to_owned());
        options.service.principal = Some("me".to_owned());
        assert_eq!(options.service.role(), "slave_public");
        assert_eq!(options.service.principal(), "me");
    }
}
