//! Checks of a whole configuration: each option by its row of the table, then
//! options against each other.

mod etcd;
mod members;
mod resources;
mod scheduler;

use std::collections::BTreeSet;
use std::fmt;

use crate::Options;
use crate::table::{Value, find_option, option_table};

/// Why a configuration is refused: one option, or one beside others.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The option to change.
    pub option: &'static str,
    /// Its value.
    pub value: Value,
    /// The other options that the problem depends on.
    pub beside: Vec<&'static str>,
    /// What is allowed, or what is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} = {} is refused: {}",
            self.option, self.value, self.message
        )
    }
}

/// Something that works and is probably not what the operator wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// The option to look at.
    pub option: &'static str,
    /// What may happen, and what to do about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.option, self.message)
    }
}

impl Options {
    /// Judges this configuration: what refuses it, and what the operator should
    /// know. Whether a running cluster may change to it is not asked here.
    #[must_use]
    pub fn check(&self) -> (Vec<Problem>, Vec<Warning>) {
        self.check_except(&BTreeSet::new())
    }

    /// As [`Options::check`], without the problems and warnings that depend on an
    /// option in `known_bad`: its value here is only a stand-in.
    pub(crate) fn check_except(
        &self,
        known_bad: &BTreeSet<&str>,
    ) -> (Vec<Problem>, Vec<Warning>) {
        let mut findings = Findings {
            options: self,
            bad: known_bad.iter().copied().collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        findings.single_options();
        findings.not_built_yet();
        findings.etcd();
        findings.disk();
        findings.memory();
        findings.members();
        findings.replacing();
        findings.placement();
        findings.scheduler_artifacts();
        findings.etcd_version();
        findings.scheduler_network();
        (findings.problems, findings.warnings)
    }
}

/// What was found so far.
struct Findings<'a> {
    options: &'a Options,
    /// Options that were refused by themselves; nothing else is said about them.
    bad: BTreeSet<&'a str>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Findings<'_> {
    /// Notes a problem, unless it follows from one that is noted already.
    fn refuse(&mut self, option: &'static str, beside: &[&'static str], message: String) {
        if self.bad.contains(option) || beside.iter().any(|name| self.bad.contains(name))
        {
            return;
        }
        let value =
            find_option(option).map_or(Value::Unset, |row| (row.value)(self.options));
        self.problems.push(Problem {
            option,
            value,
            beside: beside.to_vec(),
            message,
        });
    }

    fn warn(&mut self, option: &'static str, message: String) {
        if !self.bad.contains(option) {
            self.warnings.push(Warning { option, message });
        }
    }

    /// Each option by itself, against its row of the table.
    fn single_options(&mut self) {
        for row in option_table() {
            let value = (row.value)(self.options);
            if !row.kind.accepts(&value) {
                self.refuse(row.name, &[], format!("allowed: {}", row.kind.allowed()));
                self.bad.insert(row.name);
            }
        }
    }

    /// Options of the original package whose work is still to come. To ignore one
    /// in silence would give an operator a cluster without the TLS they asked for.
    fn not_built_yet(&mut self) {
        let options = self.options;
        let asked_for = [
            (
                options.etcd.tls_enabled,
                "etcd.tls_enabled",
                "false until TLS is built",
            ),
            (
                options.etcd.use_auto_tls,
                "etcd.use_auto_tls",
                "false until TLS is built",
            ),
        ];
        for (asked, option, allowed) in asked_for {
            if asked {
                self.refuse(option, &[], format!("allowed: {allowed}"));
            }
        }
        if !options.service.update_strategy.is_serial() {
            self.warn(
                "service.update_strategy",
                "members are updated one at a time all the same, so that the cluster \
                 keeps its quorum"
                    .to_owned(),
            );
        }
    }
}
