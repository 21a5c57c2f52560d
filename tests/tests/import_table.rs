//! Who may import whom: the table of ARCHITECTURE.md, held against what
//! `cargo metadata` says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The rows of the section "Import table".
fn allowed() -> Arrows {
    let text = std::fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).unwrap();
    let section = text
        .split("## Import table")
        .nth(1)
        .expect("a section Import table");
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| part "))
        .map(|line| {
            let cells: Vec<&str> =
                line.trim_matches('|').split('|').map(str::trim).collect();
            let name = cells[0].trim_matches('`').to_owned();
            let uses = cells[1]
                .split(',')
                .map(|part| part.trim().trim_matches('`').to_owned())
                .filter(|part| !part.is_empty())
                .collect();
            (name, uses)
        })
        .collect()
}

/// Arrows between parts, by directory; development dependencies too, except
/// that of a part on itself.
fn actual() -> Arrows {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let directory = |package: &Value| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        manifest
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let parts: BTreeMap<&str, String> = packages
        .iter()
        .map(|package| (package["name"].as_str().unwrap(), directory(package)))
        .collect();
    packages
        .iter()
        .map(|package| {
            let own = directory(package);
            let uses = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|dependency| parts.get(dependency["name"].as_str()?))
                .filter(|used| **used != own)
                .cloned()
                .collect();
            (own, uses)
        })
        .collect()
}

#[test]
fn no_arrow_that_is_not_in_the_table() {
    let allowed = allowed();
    for (part, uses) in actual() {
        let may_use = allowed
            .get(&part)
            .unwrap_or_else(|| panic!("{part} is missing in the import table"));
        for used in uses {
            assert!(
                may_use.contains(&used),
                "{part} imports {used}, which the import table does not allow"
            );
        }
    }
}

/// Crates that would let the outside world into decisions.
#[test]
fn the_planner_stays_pure() {
    let forbidden = [
        "tokio",
        "rand",
        "uuid",
        "tracing",
        "log",
        "reqwest",
        "prost",
        "axum",
        "redb",
        "figment",
        "chrono",
        "jiff",
        "mesos-v1",
        "etcd-admin",
    ];
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "etcd-planner",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--offline",
        ])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("etcd-launch"), "{tree}");
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(!forbidden.contains(&name), "the planner depends on {name}");
    }
}
