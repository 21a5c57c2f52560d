//! Where masters and agents are: parsing addresses and redirects.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why an address was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not `host:port`.
    #[error("\"{given}\" is not an address: write host:port, for example 10.0.0.1:5050")]
    NotHostAndPort {
        /// What was given.
        given: String,
    },
    /// No address at all.
    #[error("no Mesos master is given: write host:port, several separated by commas")]
    Empty,
    /// A `zk://` address.
    #[error(
        "\"{given}\": finding the leader through ZooKeeper is not supported yet; list \
         the masters as host:port,host:port, any of which redirects to the leader"
    )]
    ZooKeeperUnsupported {
        /// What was given.
        given: String,
    },
    /// A redirect that points nowhere we may go.
    #[error("the redirect to \"{location}\" cannot be followed: {why}")]
    BadRedirect {
        /// The `Location` header.
        location: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Plain or encrypted HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// One HTTP server: scheme, host and port. Displayed as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    /// A name or an address; IPv6 without its brackets.
    host: String,
    port: u16,
}

impl Endpoint {
    /// A server by its parts; an IPv6 host without brackets.
    pub fn new(scheme: Scheme, host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme,
            host: host.into(),
            port,
        }
    }

    /// Plain or encrypted.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of `path`, which starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{self}{path}", self.scheme)
    }

    /// Where a redirect from here leads. Mesos sends scheme-relative locations
    /// (`//leader:5050/api/v1/scheduler`), proxies send whole URLs.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, AddressError> {
        let refuse = |why| AddressError::BadRedirect {
            location: location.to_owned(),
            why,
        };
        let (scheme, rest) = if let Some(rest) = location.strip_prefix("//") {
            (self.scheme, rest)
        } else if let Some(rest) = location.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else if let Some(rest) = location.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else {
            return Err(refuse("it names no host"));
        };
        // A plain hop would show the credentials to the network, and for an
        // encrypted one no certificate authority was chosen.
        if scheme != self.scheme {
            return Err(refuse("it changes between http and https"));
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (host, port) = split_authority(authority, Some(scheme.default_port()))
            .ok_or_else(|| refuse("its host and port cannot be read"))?;
        Ok(Self { scheme, host, port })
    }

    fn parse(scheme: Scheme, text: &str) -> Result<Self, AddressError> {
        let (host, port) =
            split_authority(text, None).ok_or_else(|| AddressError::NotHostAndPort {
                given: text.to_owned(),
            })?;
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = AddressError;

    /// Reads `host:port`, `http://host:port` or `https://host:port`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = split_scheme(text.trim());
        Self::parse(scheme, rest.trim_end_matches('/'))
    }
}

/// Where to look for the leading master.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Masters {
    /// Some or all masters, never empty. They are asked in turn; one that does
    /// not lead redirects to the leader.
    List(Vec<Endpoint>),
}

impl Masters {
    /// One master.
    pub fn one(endpoint: Endpoint) -> Self {
        Self::List(vec![endpoint])
    }

    /// The masters that are known by address.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::List(endpoints) => endpoints,
        }
    }

    /// The scheme of the first: all are expected to have the same.
    pub(crate) fn scheme(&self) -> Scheme {
        self.endpoints()
            .first()
            .map_or(Scheme::Http, Endpoint::scheme)
    }
}

impl fmt::Display for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.endpoints().iter().map(Endpoint::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Masters {
    type Err = AddressError;

    /// Reads `host:port,host:port`, with one `http://` or `https://` before all.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.starts_with("zk://") {
            return Err(AddressError::ZooKeeperUnsupported {
                given: text.to_owned(),
            });
        }
        let (scheme, list) = split_scheme(text);
        list.trim_end_matches('/')
            .split(',')
            .map(|part| Endpoint::parse(scheme, part.trim()))
            .collect::<Result<Vec<_>, _>>()
            .map(Self::List)
    }
}

fn split_scheme(text: &str) -> (Scheme, &str) {
    if let Some(rest) = text.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else {
        (Scheme::Http, text.strip_prefix("http://").unwrap_or(text))
    }
}

/// `host:port` or `[v6]:port`; without a port only where there is a default.
fn split_authority(text: &str, default_port: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, after.strip_prefix(':'))
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            Some(_) => return None,
            None => (text, None),
        }
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || !host.chars().all(legal) {
        return None;
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => default_port?,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_read() {
        let check = |given: &str, expected: &str| {
            let shown = match given.parse::<Masters>() {
                Ok(masters) => format!("{} {masters}", masters.scheme()),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{given}");
        };
        check("10.0.0.1:5050", "http 10.0.0.1:5050");
        check(" a:5050, b:5051 ", "http a:5050,b:5051");
        check("https://leader.mesos:443/", "https leader.mesos:443");
        check("http://[::1]:5050,b:1", "http [::1]:5050,b:1");
        check(
            "",
            "no Mesos master is given: write host:port, several separated by commas",
        );
        let not_an_address = |given: &str, part: &str| {
            check(
                given,
                &format!(
                    "\"{part}\" is not an address: write host:port, for example 10.0.0.1:5050"
                ),
            );
        };
        not_an_address("leader.mesos", "leader.mesos");
        not_an_address("a:5050,", "");
        not_an_address("a:0", "a:0");
        not_an_address("a:70000", "a:70000");
        not_an_address("::1:5050", "::1:5050");
        not_an_address("user@a:5050", "user@a:5050");
        check(
            "zk://z:2181/mesos",
            "\"zk://z:2181/mesos\": finding the leader through ZooKeeper is not supported \
             yet; list the masters as host:port,host:port, any of which redirects to the \
             leader",
        );
    }

    #[test]
    fn redirects_are_read() {
        let check = |from: &str, location: &str, expected: &str| {
            let from: Endpoint = from.parse().unwrap();
            let shown = match from.redirected(location) {
                Ok(endpoint) => format!("{} {endpoint}", endpoint.scheme()),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{location}");
        };
        check("a:5050", "//b:5051/api/v1/scheduler", "http b:5051");
        check(
            "https://a:5050",
            "//b:5051/api/v1/scheduler",
            "https b:5051",
        );
        check("a:5050", "http://[::1]:5050/x?y=//z", "http [::1]:5050");
        check("a:5050", "http://b/api/v1", "http b:80");
        check(
            "a:5050",
            "https://b:5050/",
            "the redirect to \"https://b:5050/\" cannot be followed: it changes between \
             http and https",
        );
        check(
            "a:5050",
            "/master/redirect",
            "the redirect to \"/master/redirect\" cannot be followed: it names no host",
        );
        check(
            "a:5050",
            "//:5050/",
            "the redirect to \"//:5050/\" cannot be followed: its host and port cannot be \
             read",
        );
    }
}
