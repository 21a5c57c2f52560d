//! `update start`: the options that are sent, and what is told of the change.

use std::fs;
use std::io::Read;
use std::path::Path;

use etcd_api::configurations::{OptionChange, TargetChange};

use crate::arguments::UpdateStart;
use crate::failure::Failure;
use crate::output::{Paint, one_line};
use crate::request::Request;
use crate::table::{self, Cell};
use crate::tree;

/// As the SDK has it: options from the standard input.
const STANDARD_INPUT: [&str; 2] = ["stdin", "-"];

/// The request that `update start` comes down to.
///
/// # Errors
///
/// When the options cannot be read.
pub(crate) fn request(arguments: &UpdateStart) -> Result<Request, Failure> {
    if arguments.package_version.is_some() {
        return Err(Failure::Usage(
            "--package-version is for services that DC/OS has installed; here, start \
             the other scheduler in place of the present one"
                .to_owned(),
        ));
    }
    let Some(path) = &arguments.options else {
        return Err(Failure::Usage(
            "Either --options and/or --package-version must be specified".to_owned(),
        ));
    };
    let on = |switch: bool| switch.then_some("true");
    let request = Request::put(&["v1", "configurations", "target"])
        .with("replace", on(arguments.replace))
        .with("dry_run", on(arguments.dry_run))
        .with_body(read(path)?);
    Ok(match &arguments.if_match {
        Some(id) => request.only_if(id),
        None => request,
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let named = path.to_str().unwrap_or_default();
    let text = if STANDARD_INPUT.contains(&named) {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| {
        Failure::Usage(format!(
            "cannot read the options {}: {error}",
            path.display()
        ))
    })
}

/// What is told of a change that was taken, or would be.
pub(crate) fn told(change: &TargetChange, typed: &str, paint: Paint) -> String {
    let mut text = String::new();
    if change.changes.is_empty() {
        text.push_str(
            "Nothing changes: the service is brought to these options already.",
        );
    } else {
        text.push_str(&changes(&change.changes, paint));
    }
    if change.restarts_members && !change.order.is_empty() {
        let order = change.order.join(", ");
        text.push_str(&format!(
            "\n\nMembers in the order of their restarts: {order}"
        ));
    }
    let warnings: Vec<String> =
        change.warnings.iter().map(|line| one_line(line)).collect();
    if !warnings.is_empty() {
        text.push('\n');
        text.push_str(tree::listed("Warnings", &warnings).trim_end());
    }
    if change.dry_run {
        text.push_str("\n\nThis is what would be; nothing was changed.");
    } else if !change.changes.is_empty() {
        text.push_str(&format!(
            "\n\nUpdate started. Please use `{typed} update status` to view progress."
        ));
    }
    text
}

/// The table of changes.
pub(crate) fn changes(changes: &[OptionChange], paint: Paint) -> String {
    let rows: Vec<[Cell; 4]> = changes
        .iter()
        .map(|change| {
            [
                Cell::plain(&change.option),
                Cell::plain(change.from.to_string()),
                Cell::plain(change.to.to_string()),
                Cell::plain(one_line(&change.meaning)),
            ]
        })
        .collect();
    let heads = ["option", "from", "to", "what it means"];
    table::drawn(heads, &rows, paint).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(dry_run: bool, options: &[(&str, u64, u64)]) -> TargetChange {
        TargetChange {
            target_id: "b".into(),
            previous_id: "a".into(),
            dry_run,
            changes: options
                .iter()
                .map(|(option, from, to)| OptionChange {
                    option: (*option).to_owned(),
                    from: (*from).into(),
                    to: (*to).into(),
                    class: "rolling_restart".into(),
                    meaning: "members are restarted".into(),
                })
                .collect(),
            restarts_members: !options.is_empty(),
            order: vec!["etcd-1".into(), "etcd-2".into(), "etcd-0".into()],
            warnings: Vec::new(),
        }
    }

    #[test]
    fn what_is_told() {
        #[track_caller]
        fn check(change: &TargetChange, expected: &[&str]) {
            let told = told(change, "dcos etcd", Paint::Plain);
            let lines: Vec<&str> = told.lines().map(str::trim_end).collect();
            assert_eq!(lines, expected);
        }
        let mem = [("node.mem", 1024, 2048)];
        check(
            &change(false, &mem),
            &[
                "option    from  to    what it means",
                "node.mem  1024  2048  members are restarted",
                "",
                "Members in the order of their restarts: etcd-1, etcd-2, etcd-0",
                "",
                "Update started. Please use `dcos etcd update status` to view progress.",
            ],
        );
        let mut tried = change(true, &mem);
        tried.restarts_members = false;
        tried.warnings = vec!["node.mem: much".into()];
        check(
            &tried,
            &[
                "option    from  to    what it means",
                "node.mem  1024  2048  members are restarted",
                "",
                "Warnings:",
                "- node.mem: much",
                "",
                "This is what would be; nothing was changed.",
            ],
        );
        check(
            &change(false, &[]),
            &["Nothing changes: the service is brought to these options already."],
        );
    }
}
