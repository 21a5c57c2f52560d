//! How fast the planner's simulated world is.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{Goal, Row};

/// Per scenario; seconds each, enough for a rate.
const SEEDS: &str = "2000";

/// Building included, as the machine may be busy.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Runs the simulation, one scenario at a time, and takes its own word.
pub(crate) async fn rows() -> Result<Vec<Row>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = tokio::process::Command::new(cargo)
        .args([
            "test",
            "--quiet",
            "-p",
            "etcd-planner",
            "--test",
            "simulation",
        ])
        .args(["--", "--nocapture", "--test-threads=1"])
        .env("ETCD_SIMULATION_SEEDS", SEEDS)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output)
        .await
        .context("the simulation takes too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the simulation failed:\n{said}");
    }
    let rows: Vec<Row> = said.lines().filter_map(row).collect();
    if rows.is_empty() {
        bail!("the simulation does not tell its rate:\n{said}");
    }
    Ok(rows)
}

/// Of a line such as `undisturbed: 2000 seeds, 12345 seeds a minute`.
fn row(line: &str) -> Option<Row> {
    // A quiet test harness puts a dot for each test before the next line.
    let (scenario, rest) = line.trim_start_matches('.').split_once(": ")?;
    let rate = rest.strip_suffix(" seeds a minute")?.rsplit(' ').next()?;
    let met = rate.parse::<u64>().ok()? >= 10_000;
    Some(Row {
        figure: format!("simulation, {scenario}"),
        measured: format!("{rate} seeds a minute"),
        goal: Some(Goal {
            text: "10000 seeds a minute",
            met,
        }),
    })
}
