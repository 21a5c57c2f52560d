//! What the agent tells the fetcher: the part of Mesos' `FetcherInfo` that we follow.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::LocalError;

/// Mesos: `--fetcher_stall_timeout` of the agent is one minute by default; agents that
/// do not say it get the same.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The first ending that fits counts: `.tar.gz` comes before plain `.gz`.
const ARCHIVES: [(&str, Archive); 9] = [
    (".tar", Archive::Tar),
    (".tar.gz", Archive::Tar),
    (".tgz", Archive::Tar),
    (".tar.bz2", Archive::Tar),
    (".tbz2", Archive::Tar),
    (".tar.xz", Archive::Tar),
    (".txz", Archive::Tar),
    (".zip", Archive::Zip),
    (".gz", Archive::Gzip),
];

/// Checked instructions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FetcherInfo {
    pub(super) sandbox: PathBuf,
    pub(super) uris: Vec<Uri>,
    /// Whose the files shall be.
    pub(super) user: Option<String>,
    pub(super) stall_timeout: Duration,
}

/// Mesos' `CommandInfo.URI`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Uri {
    pub(super) value: String,
    #[serde(default)]
    pub(super) executable: bool,
    #[serde(default = "yes")]
    extract: bool,
    output_file: Option<String>,
}

/// Mesos extracts archives unless told not to.
fn yes() -> bool {
    true
}

/// Where the file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    File(PathBuf),
    Http(&'a str),
}

/// What can be extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archive {
    Tar,
    Zip,
    Gzip,
}

#[derive(Deserialize)]
struct RawInfo {
    sandbox_directory: PathBuf,
    #[serde(default)]
    items: Vec<RawItem>,
    user: Option<String>,
    stall_timeout: Option<RawDuration>,
}

#[derive(Deserialize)]
struct RawItem {
    uri: Uri,
    action: Option<String>,
}

#[derive(Deserialize)]
struct RawDuration {
    nanoseconds: u64,
}

impl FetcherInfo {
    pub(super) fn parse(text: &str) -> Result<Self, LocalError> {
        let wrong = |why| LocalError::FetcherInstructions { why };
        let raw: RawInfo = serde_json::from_str(text)
            .map_err(|error| wrong(format!("is not as expected ({error})")))?;
        let cached = |item: &&RawItem| {
            item.action
                .as_deref()
                .is_some_and(|action| action != "BYPASS_CACHE")
        };
        if let Some(item) = raw.items.iter().find(cached) {
            return Err(LocalError::Fetch {
                uri: item.uri.value.clone(),
                why: "this fetcher has no cache: leave `cache` out of the URI".to_owned(),
            });
        }
        Ok(FetcherInfo {
            sandbox: raw.sandbox_directory,
            uris: raw.items.into_iter().map(|item| item.uri).collect(),
            user: raw.user,
            stall_timeout: raw.stall_timeout.map_or(DEFAULT_STALL_TIMEOUT, |d| {
                Duration::from_nanos(d.nanoseconds)
            }),
        })
    }
}

impl Uri {
    pub(super) fn source(&self) -> Result<Source<'_>, String> {
        let file = |path: &str| {
            // Mesos would take a relative one from `--frameworks_home`, which we never
            // set.
            if Path::new(path).is_absolute() {
                Ok(Source::File(PathBuf::from(path)))
            } else {
                Err("a path must be absolute".to_owned())
            }
        };
        match self.value.split_once("://") {
            None => file(&self.value),
            Some(("file", path)) => file(path),
            Some(("http" | "https", _)) => Ok(Source::Http(&self.value)),
            Some(_) => Err(
                "only paths, file://, http:// and https:// can be fetched on \
                            one machine"
                    .to_owned(),
            ),
        }
    }

    /// Where in the sandbox the file goes: `output_file`, else the last part of the
    /// URI's path. Never out of the sandbox.
    pub(super) fn file_name(&self) -> Result<PathBuf, String> {
        let name = match &self.output_file {
            Some(name) => name.as_str(),
            None => {
                let after_scheme =
                    self.value.split_once("://").map_or("", |(_, rest)| rest);
                let path = if after_scheme.is_empty() {
                    &self.value
                } else {
                    after_scheme
                };
                let end = path.find(['?', '#']).unwrap_or(path.len());
                let Some((_, name)) = path[..end].rsplit_once('/') else {
                    return Err("it has no path".to_owned());
                };
                name
            }
        };
        let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if name.is_empty() || !Path::new(name).components().all(stays) {
            return Err(format!("{name:?} is no name for a file in the sandbox"));
        }
        Ok(PathBuf::from(name))
    }

    /// How to extract it, if it is to be extracted. Like Mesos: an executable never is.
    pub(super) fn archive(&self) -> Option<Archive> {
        if self.executable || !self.extract {
            return None;
        }
        let name = self.file_name().ok()?;
        let name = name.to_str()?;
        let known = ARCHIVES.iter().find(|(ending, _)| name.ends_with(ending));
        known.map(|(_, archive)| *archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> Uri {
        Uri {
            value: value.to_owned(),
            executable: false,
            extract: true,
            output_file: None,
        }
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        let check = |value: &str, expected: Result<&str, &str>| {
            let found = uri(value).file_name();
            let found = found.as_ref().map(|name| name.to_str().unwrap());
            assert_eq!(found.map_err(String::as_str), expected, "{value}");
        };
        check("http://h:1/a/etcd.tar.gz?x=/y", Ok("etcd.tar.gz"));
        check("file:///opt/etcd", Ok("etcd"));
        check("/opt/etcd", Ok("etcd"));
        check("http://h", Err("it has no path"));
        check(
            "http://h/",
            Err("\"\" is no name for a file in the sandbox"),
        );
        check(
            "http://h/..",
            Err("\"..\" is no name for a file in the sandbox"),
        );
    }

    #[test]
    fn an_output_file_stays_in_the_sandbox() {
        let check = |name: &str, expected: bool| {
            let uri = Uri {
                output_file: Some(name.to_owned()),
                ..uri("/a")
            };
            assert_eq!(uri.file_name().is_ok(), expected, "{name}");
        };
        check("bin/etcd", true);
        check("./etcd", true);
        check("../etcd", false);
        check("a/../../etcd", false);
        check("/etc/passwd", false);
    }

    #[test]
    fn archives_are_known_by_their_ending() {
        let check = |name: &str, expected| {
            assert_eq!(
                uri(&format!("http://h/{name}")).archive(),
                expected,
                "{name}"
            );
        };
        check("a.tar.gz", Some(Archive::Tar));
        check("a.txz", Some(Archive::Tar));
        check("a.gz", Some(Archive::Gzip));
        check("a.zip", Some(Archive::Zip));
        check("etcd", None);
        let executable = Uri {
            executable: true,
            ..uri("http://h/a.zip")
        };
        assert_eq!(executable.archive(), None);
        let kept = Uri {
            extract: false,
            ..uri("http://h/a.zip")
        };
        assert_eq!(kept.archive(), None);
    }

    #[test]
    fn instructions_of_a_real_agent_are_read() {
        let text = r#"{"cache_directory":"/c","items":[{"action":"BYPASS_CACHE",
            "uri":{"value":"http://h/x","executable":true,"extract":true,"cache":false}}],
            "sandbox_directory":"/s","stall_timeout":{"nanoseconds":60000000000},
            "user":"root"}"#;
        let expected = FetcherInfo {
            sandbox: "/s".into(),
            uris: vec![Uri {
                executable: true,
                ..uri("http://h/x")
            }],
            user: Some("root".to_owned()),
            stall_timeout: Duration::from_secs(60),
        };
        assert_eq!(FetcherInfo::parse(text).unwrap(), expected);
    }

    #[test]
    fn wrong_instructions_say_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let error = FetcherInfo::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("", "is not as expected");
        check("{}", "missing field `sandbox_directory`");
        check(
            r#"{"sandbox_directory":"/s","items":[{"action":"DOWNLOAD_AND_CACHE",
                "uri":{"value":"http://h/x"}}]}"#,
            "could not fetch http://h/x: this fetcher has no cache",
        );
    }
}
