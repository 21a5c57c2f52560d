//! Where the scheduler's API is, and what opens it.

use std::fmt;
use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::arguments::Common;
use crate::called_as::Call;
use crate::failure::Failure;

/// Where the scheduler's API is, and what opens it.
#[derive(Debug)]
pub(crate) struct Address {
    /// What all paths are below.
    pub(crate) base: Url,
    /// The value of the header `Authorization`.
    pub(crate) authorization: Option<Secret>,
    /// Who stands in between.
    pub(crate) through: Through,
    /// Whose certificates are believed.
    pub(crate) trust: Trust,
}

/// Who stands between us and the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// Nobody.
    Scheduler,
    /// DC/OS' Admin Router.
    AdminRouter {
        /// The service's name on DC/OS.
        service: String,
    },
}

impl Through {
    /// What to do about a token that is missing or wrong.
    pub(crate) fn token_hint(&self) -> &'static str {
        match self {
            Through::Scheduler => {
                "Bad auth token? Give one by --token-file, --token or ETCDFW_TOKEN"
            }
            Through::AdminRouter { .. } => {
                "Bad auth token? Run 'dcos auth login' to log in"
            }
        }
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those that the system believes.
    System,
    /// Those in this file.
    File(PathBuf),
    /// Any, as the operator told DC/OS' command line.
    Anything,
}

/// Something that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads variables of the environment; those that are empty count as not set.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables that name the API and its token, the first that is set counts.
const URL_VARIABLES: [&str; 2] = ["ETCDFW_URL", "SCHEDULER_URL"];
const TOKEN_VARIABLES: [&str; 2] = ["ETCDFW_TOKEN", "SCHEDULER_TOKEN"];

/// Finds the API.
///
/// `--url` counts most. Called by `dcos`, the cluster that `dcos` is attached to
/// comes next, and otherwise the variables of our own; a variable that was left
/// over in a shell must not lead `dcos etcd` to another cluster.
///
/// # Errors
///
/// When nothing says where it is, or what does cannot be understood.
pub(crate) fn find(
    common: &Common,
    call: &Call,
    environment: Environment<'_>,
) -> Result<Address, Failure> {
    let direct = || first(environment, &URL_VARIABLES);
    let dcos = || environment("DCOS_URL");
    if let Some(url) = &common.url {
        return of_scheduler(url, common, environment);
    }
    let by_dcos = call.module.is_some() || common.name.is_some();
    let (direct, dcos) = if by_dcos {
        let dcos = dcos();
        (if dcos.is_none() { direct() } else { None }, dcos)
    } else {
        let direct = direct();
        let dcos = if direct.is_none() { dcos() } else { None };
        (direct, dcos)
    };
    match (direct, dcos) {
        (Some(url), _) => of_scheduler(&url, common, environment),
        (None, Some(url)) => of_admin_router(&url, common, call, environment),
        (None, None) => Err(Failure::NoAddress),
    }
}

fn first(environment: Environment<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| environment(name))
}

fn of_scheduler(
    url: &str,
    common: &Common,
    environment: Environment<'_>,
) -> Result<Address, Failure> {
    let token = match given_token(common)? {
        None => first(environment, &TOKEN_VARIABLES),
        given => given,
    };
    Ok(Address {
        base: parse(url)?,
        authorization: token.map(|token| Secret(format!("Bearer {token}"))),
        through: Through::Scheduler,
        trust: Trust::System,
    })
}

fn of_admin_router(
    url: &str,
    common: &Common,
    call: &Call,
    environment: Environment<'_>,
) -> Result<Address, Failure> {
    let service = common
        .name
        .clone()
        .or_else(|| environment(&call.service_name_variable()))
        .unwrap_or_else(|| call.usual_service().to_owned());
    let service = service.trim_matches('/').to_owned();
    let parts: Vec<&str> = service.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(Failure::Usage(format!("{service:?} is no service name")));
    }
    let mut base = parse(url)?;
    // Fails for addresses without a host, which `parse` does not let pass.
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().push("service").extend(parts);
    }
    let token = match given_token(common)? {
        None => environment("DCOS_ACS_TOKEN"),
        given => given,
    };
    let insecure = environment("DCOS_TLS_INSECURE").is_some_and(|value| value == "1");
    let trust = match environment("DCOS_TLS_CA_PATH") {
        _ if insecure => Trust::Anything,
        Some(file) => Trust::File(file.into()),
        None => Trust::System,
    };
    Ok(Address {
        base,
        // Admin Router has a scheme of its own.
        authorization: token.map(|token| Secret(format!("token={token}"))),
        through: Through::AdminRouter { service },
        trust,
    })
}

fn parse(text: &str) -> Result<Url, Failure> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let wrong =
        |why: &str| Failure::Usage(format!("{text:?} is no address of an API: {why}"));
    let mut url = Url::parse(&whole).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // It would be shown in every message.
        return Err(Failure::Usage(
            "an address must hold no password; give a token by --token-file".to_owned(),
        ));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn given_token(common: &Common) -> Result<Option<String>, Failure> {
    if let Some(file) = &common.token_file {
        return token_in(file).map(Some);
    }
    Ok(common.token.clone().filter(|token| !token.is_empty()))
}

fn token_in(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let file = file.display();
        Failure::Usage(format!("the token file {file} cannot be read: {error}"))
    })?;
    best_token(&text).map(str::to_owned).ok_or_else(|| {
        Failure::Usage(format!("the token file {} holds no token", file.display()))
    })
}

/// The first token that may write, else the first. The scheduler's own file has
/// lines like `write:TOKEN alice`; a file with nothing but a token will do, too.
fn best_token(text: &str) -> Option<&str> {
    let mut reads = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let word = line.split_whitespace().next()?;
        match word.strip_prefix("read:") {
            Some(token) => reads = reads.or(Some(token)),
            None => return Some(word.strip_prefix("write:").unwrap_or(word)),
        }
    }
    reads
}

#[cfg(test)]
mod tests;
