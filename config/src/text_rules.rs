//! Which texts the options take, beyond those with a type of their own.

use std::net::SocketAddr;

use crate::table::TextRule;
use crate::{PlacementConstraints, PluginLabels, ServiceName};

pub(crate) const SERVICE_NAME: TextRule = TextRule {
    allowed: ServiceName::ALLOWED,
    type_name: "string",
    accepts: ServiceName::accepts,
};

pub(crate) const PLACEMENT: TextRule = TextRule {
    allowed: PlacementConstraints::ALLOWED,
    type_name: "string",
    accepts: |text| text.parse::<PlacementConstraints>().is_ok(),
};

pub(crate) const USER: TextRule = TextRule {
    allowed: "the name of a user on the agents, without spaces, ':' and '/'",
    type_name: "string",
    accepts: |text| {
        let strange = |c: char| c.is_whitespace() || c.is_control() || ":/".contains(c);
        !text.is_empty() && !text.starts_with('-') && !text.contains(strange)
    },
};

/// Mesos: the rules of `roles::validate` in the master, and no reservation can be
/// made for the role `*`.
pub(crate) const ROLE: TextRule = TextRule {
    allowed: "a Mesos role other than *: parts separated by '/', none empty, '.', '..' \
        or beginning with '-', without spaces",
    type_name: "string",
    accepts: |text| {
        let part = |part: &str| !matches!(part, "" | "." | ".." | "*");
        text.split('/').all(part)
            && text.split('/').all(|part| !part.starts_with('-'))
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    },
};

pub(crate) const ONE_LINE: TextRule = TextRule {
    allowed: "one line of text",
    type_name: "string",
    accepts: |text| !text.contains(char::is_control),
};

pub(crate) const NETWORK_NAME: TextRule = TextRule {
    allowed: "the name of a network, without spaces",
    type_name: "string",
    accepts: |text| {
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    },
};

pub(crate) const LABELS: TextRule = TextRule {
    allowed: PluginLabels::ALLOWED,
    type_name: "string",
    accepts: |text| text.parse::<PluginLabels>().is_ok(),
};

/// Mesos: names of regions are plain texts.
pub(crate) const REGION: TextRule = TextRule {
    allowed: "the name of a region, without control characters",
    type_name: "string",
    accepts: |text| !text.is_empty() && !text.contains(char::is_control),
};

/// RFC 1035: labels of letters, digits and dashes with dots between them.
pub(crate) const DOMAIN: TextRule = TextRule {
    allowed: "a DNS domain, like autoip.dcos.thisdcos.directory",
    type_name: "string",
    accepts: |text| {
        text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    },
};

pub(crate) const PROFILE: TextRule = TextRule {
    allowed: "the name of a disk profile, without spaces and commas",
    type_name: "string",
    accepts: |text| {
        let strange = |c: char| c.is_whitespace() || c.is_control() || c == ',';
        !text.is_empty() && !text.contains(strange)
    },
};

/// etcd takes any token; ours goes into file names, logs and commands too.
pub(crate) const TOKEN_PREFIX: TextRule = TextRule {
    allowed: "1 to 64 letters, digits, dots, dashes and underscores",
    type_name: "string",
    accepts: |text| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    },
};

pub(crate) const MASTER: TextRule = TextRule {
    allowed: "host:port of a Mesos master, like 10.0.0.1:5050 (a zk:// address is not \
        understood yet: list the masters)",
    type_name: "string",
    accepts: is_host_and_port,
};

pub(crate) const LISTEN: TextRule = TextRule {
    allowed: "an IP address and port, like 127.0.0.1:8080 or [::1]:8080 (port 0 takes a \
        free one)",
    type_name: "address",
    accepts: |text| text.parse::<SocketAddr>().is_ok(),
};

pub(crate) const URL: TextRule = TextRule {
    allowed: "a URL that begins with http:// or https://",
    type_name: "url",
    accepts: |text| {
        ["http://", "https://"].iter().any(|scheme| {
            text.strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        }) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    },
};

pub(crate) const PATH: TextRule = TextRule {
    allowed: "a path",
    type_name: "path",
    accepts: |text| !text.is_empty() && !text.contains('\0'),
};

pub(crate) const SHA256: TextRule = TextRule {
    allowed: "a SHA-256 sum: 64 hexadecimal digits",
    type_name: "string",
    accepts: |text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
};

pub(crate) const VERSION: TextRule = TextRule {
    allowed: "a release of etcd as three numbers, such as 3.5.30",
    type_name: "string",
    accepts: |text| {
        let mut numbers = text.split('.');
        let is_number = |number: &str| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && number.parse::<u16>().is_ok()
        };
        numbers.clone().count() == 3 && numbers.all(is_number)
    },
};

/// Whether a text is `host:port`: a name or address without a scheme, and a port.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_is_plain = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    };
    host_is_plain && port.parse::<u16>().is_ok_and(|port| port != 0)
}
