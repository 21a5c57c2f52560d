//! Which etcd a start brings, and whether members may be brought to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_admin::{EtcdVersion, not_to_be_chosen};
use etcd_config::{Options, Refusal, Value};
use etcd_planner::programs::{self, Programs};
use etcd_planner::{Record, versions};
use tracing::warn;

use crate::artifacts::{Artifacts, ETCD_FILES};

/// A program that takes longer to tell its version is no etcd.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// The option that the reasons are about.
const OPTION: &str = "etcd.version";

/// What a start brings for agents to fetch.
#[derive(Clone, Debug)]
pub struct Served {
    /// The programs.
    pub programs: Programs,
    /// What is wrong with the version that they are said to have, if anything is.
    pub contradiction: Option<String>,
}

impl Served {
    /// What these options bring. Runs etcd to hear its version, if we serve it.
    pub async fn with(options: &Options, artifacts: &Artifacts) -> Self {
        let etcd = artifacts.served_etcd();
        Served::asking(artifacts.served().clone(), etcd, options).await
    }

    /// What a start with these options would bring: these programs. Runs etcd where it
    /// lies, unless agents get it from elsewhere.
    pub async fn foreseen(options: &Options, programs: Programs) -> Self {
        let directory = options.scheduler.etcd_dir.as_ref();
        let etcd = directory.map(|directory| directory.join(ETCD_FILES[0]));
        Served::asking(programs, etcd, options).await
    }

    async fn asking(
        programs: Programs,
        etcd: Option<PathBuf>,
        options: &Options,
    ) -> Self {
        let asked = match etcd {
            Some(etcd) => Some(ask(&etcd).await),
            None => None,
        };
        Served::from(programs, asked, options.etcd.version.as_deref())
    }

    fn from(
        mut programs: Programs,
        asked: Option<Result<EtcdVersion, String>>,
        named: Option<&str>,
    ) -> Self {
        let named = named.and_then(programs::EtcdVersion::parse);
        let mut contradiction = None;
        programs.version = match asked {
            Some(Ok(version)) => {
                let found = for_planner(version);
                if let Some(named) = named.filter(|named| *named != found) {
                    contradiction = Some(format!(
                        "scheduler.etcd_dir holds {found}, not {named}; leave \
                         etcd.version empty, or name the directory of {named}"
                    ));
                }
                Some(found)
            }
            // Members may run what this machine cannot.
            Some(Err(why)) => {
                warn!(why, "the etcd that is served does not tell its version");
                named
            }
            None => named,
        };
        Served {
            programs,
            contradiction,
        }
    }
}

/// Asks an etcd for its version.
async fn ask(etcd: &Path) -> Result<EtcdVersion, String> {
    let output = tokio::process::Command::new(etcd)
        .arg("--version")
        .env_clear()
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_LIMIT, output)
        .await
        .map_err(|_| format!("no answer in {VERSION_LIMIT:?}"))?
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        EtcdVersion::from_program_output(&said).map_err(|error| error.to_string())
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let line = complaint.lines().next().unwrap_or_default();
        Err(format!("{}, {line}", output.status))
    }
}

fn for_planner(version: EtcdVersion) -> programs::EtcdVersion {
    programs::EtcdVersion::new(version.major, version.minor, version.patch)
}

fn for_tables(version: programs::EtcdVersion) -> EtcdVersion {
    EtcdVersion::new(version.major, version.minor, version.patch)
}

/// What speaks against a first start with this etcd.
pub fn judge_first(served: &Served, options: &Options) -> Vec<Refusal> {
    let Served {
        programs,
        contradiction,
    } = served;
    let reasons = contradiction.clone().into_iter();
    let mut refusals: Vec<Refusal> = reasons
        .chain(bug_of(programs, options))
        .map(|reason| refusal(None, programs, reason))
        .collect();
    refusals.extend(judge_options(programs, options));
    refusals
}

/// What speaks against bringing members to this etcd from what they have.
pub fn judge(
    served: &Served,
    present: &Programs,
    record: &Record,
    options: &Options,
) -> Vec<Refusal> {
    let Served {
        programs,
        contradiction,
    } = served;
    let mut reasons: Vec<String> = contradiction.clone().into_iter().collect();
    if !programs.has_same_etcd(present) {
        reasons.extend(bug_of(programs, options));
        match programs.version {
            None => reasons.push(
                "nobody can tell which etcd this is: it does not run where the scheduler \
                 does; name its version by etcd.version"
                    .to_owned(),
            ),
            Some(version) => {
                let running: Vec<programs::EtcdVersion> = record
                    .recipes_in_use()
                    .filter_map(|recipe| recipe.program.version)
                    .collect();
                let judged = versions::judge(&running, version);
                reasons.extend(judged.err().map(|why| why.to_string()));
            }
        }
    }
    let reasons = reasons.into_iter();
    let mut refusals: Vec<Refusal> = reasons
        .map(|reason| refusal(Some(present), programs, reason))
        .collect();
    refusals.extend(judge_options(programs, options));
    refusals
}

/// What this etcd has not got of what the options ask for.
pub fn judge_options(programs: &Programs, options: &Options) -> Vec<Refusal> {
    let version = programs.version.map(for_tables);
    let lacks_v2 = version.filter(|version| !version.accepts_enable_v2());
    let refusal = |version: EtcdVersion| Refusal {
        option: "etcd.enable_v2",
        from: None,
        to: Value::Switch(true),
        reason: format!(
            "etcd {version} has no v2 API, and does not start with its flag; 3.5 was \
             the last that had"
        ),
    };
    let asked_for = options.etcd.enable_v2;
    lacks_v2
        .filter(|_| asked_for)
        .map(refusal)
        .into_iter()
        .collect()
}

/// The bug for which nobody should run this etcd with these options.
fn bug_of(programs: &Programs, options: &Options) -> Option<String> {
    let version = for_tables(programs.version?);
    let members = options.node.count.get();
    let (bug, fixed_in) = not_to_be_chosen(version, members)?;
    Some(format!(
        "etcd {version} can lose or corrupt data: {}, {}; take {fixed_in} or later",
        bug.id, bug.text
    ))
}

fn refusal(present: Option<&Programs>, wanted: &Programs, reason: String) -> Refusal {
    let value = |version: Option<programs::EtcdVersion>| {
        version.map_or(Value::Unset, |version| Value::Text(version.to_string()))
    };
    Refusal {
        option: OPTION,
        from: present.map(|present| value(present.version)),
        to: value(wanted.version),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// Which etcd is meant is told apart by its checksum.
    fn programs(version: Option<&str>) -> Programs {
        let sum = version.unwrap_or("unknown").bytes();
        let sum: String = sum.map(|byte| format!("{byte:02x}")).collect();
        let sum = format!("{sum:0>64}").parse().unwrap();
        Programs {
            checksums: [("etcd".to_owned(), sum)].into(),
            version: version.map(|text| programs::EtcdVersion::parse(text).unwrap()),
            ..samples::target().program
        }
    }

    fn served(version: Option<&str>) -> Served {
        Served {
            programs: programs(version),
            contradiction: None,
        }
    }

    fn told(refusals: &[Refusal]) -> String {
        let told: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
        match told.is_empty() {
            true => "taken".to_owned(),
            false => told.join("\n"),
        }
    }

    #[test]
    fn what_a_first_start_may_bring() {
        #[track_caller]
        fn check(version: Option<&str>, members: u64, v2: bool, expected: &str) {
            let mut options = samples::options();
            options.node.count = members.try_into().unwrap();
            options.etcd.enable_v2 = v2;
            let found = told(&judge_first(&served(version), &options));
            assert!(found.contains(expected), "{version:?}: {found}");
        }
        check(Some("3.5.30"), 3, true, "taken");
        check(Some("3.4.23"), 1, false, "taken");
        check(None, 3, true, "taken");
        // The one that Python's package index has.
        check(
            Some("3.5.1"),
            3,
            false,
            "Field: 'etcd.version'; Value: '\"3.5.1\"'; Message: 'etcd 3.5.1 can lose or \
             corrupt data: etcd#13766, a member that crashes under load can come back \
             with other data than its peers and serve it; take 3.5.3 or later'; \
             Fatal: false",
        );
        check(Some("3.5.4"), 3, false, "taken");
        check(Some("3.5.4"), 1, false, "etcd#14370");
        check(
            Some("3.6.14"),
            3,
            true,
            "Field: 'etcd.enable_v2'; Value: 'true'; Message: 'etcd 3.6.14 has no v2 API",
        );
        check(Some("3.6.14"), 3, false, "taken");
    }

    #[test]
    fn what_members_may_be_brought_to() {
        #[track_caller]
        fn check(running: &[&str], present: &str, wanted: Option<&str>, expected: &str) {
            let mut record = samples::formed_record();
            for (pod, version) in record.pods.values_mut().zip(running) {
                pod.recipe.as_mut().unwrap().program = programs(Some(version));
            }
            let present = programs(Some(present));
            let options = samples::options();
            let refusals = judge(&served(wanted), &present, &record, &options);
            let found = told(&refusals);
            assert!(found.contains(expected), "{running:?} {wanted:?}: {found}");
        }
        let old = ["3.4.23"; 3];
        check(&old, "3.4.23", Some("3.4.23"), "taken");
        check(&old, "3.4.23", Some("3.5.30"), "taken");
        check(&old, "3.4.23", Some("3.5.1"), "take 3.5.3 or later");
        check(
            &old,
            "3.4.23",
            Some("3.6.14"),
            "Field: 'etcd.version'; Transition: '\"3.4.23\"' => '\"3.6.14\"'; Message: 'etcd goes \
             up one minor version at a time",
        );
        check(&old, "3.4.23", None, "name its version by etcd.version");
        let new = ["3.5.30"; 3];
        check(&new, "3.5.30", Some("3.5.16"), "taken");
        check(&new, "3.5.30", Some("3.4.23"), "cannot go back to 3.4");
        let half = ["3.5.30", "3.4.23", "3.4.23"];
        check(&half, "3.5.30", Some("3.4.23"), "taken");
        check(
            &half,
            "3.5.30",
            Some("3.6.14"),
            "one minor version at a time",
        );
        // What runs already goes on to run.
        check(&["3.5.1"; 3], "3.5.1", Some("3.5.1"), "taken");
    }

    #[test]
    fn the_program_itself_knows_best() {
        #[track_caller]
        fn check(
            asked: Option<Result<&str, &str>>,
            named: Option<&str>,
            expected: (Option<&str>, bool),
        ) {
            let asked = asked.map(|asked| {
                let version = asked.map(|text| text.parse().unwrap());
                version.map_err(str::to_owned)
            });
            let served = Served::from(programs(None), asked, named);
            let version = served.programs.version.map(|it| it.to_string());
            let found = (version.as_deref(), served.contradiction.is_some());
            assert_eq!(found, expected);
        }
        check(Some(Ok("3.5.30")), None, (Some("3.5.30"), false));
        check(Some(Ok("3.5.30")), Some("3.5.30"), (Some("3.5.30"), false));
        check(Some(Ok("3.5.30")), Some("3.5.16"), (Some("3.5.30"), true));
        check(
            Some(Err("no libc")),
            Some("3.5.16"),
            (Some("3.5.16"), false),
        );
        check(Some(Err("no libc")), None, (None, false));
        check(None, Some("3.5.16"), (Some("3.5.16"), false));
    }

    #[tokio::test]
    async fn programs_that_do_not_tell() {
        let directory = tempfile::tempdir().unwrap();
        let etcd = directory.path().join("etcd");
        let check = async |script: &str, expected: &str| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&etcd, format!("#!/bin/sh\n{script}\n")).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&etcd, mode).unwrap();
            let told = ask(&etcd).await;
            let told = told.map_or_else(|why| why, |version| version.to_string());
            assert!(told.contains(expected), "{told}");
        };
        check("echo etcd Version: 3.5.30", "3.5.30").await;
        check("echo hello", "names no etcd version").await;
        check("echo broken >&2; exit 3", "exit status: 3, broken").await;
        std::fs::remove_file(&etcd).unwrap();
        assert!(ask(&etcd).await.unwrap_err().contains("No such file"));
    }
}
