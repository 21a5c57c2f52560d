//! A plan as a tree, line for line as the SDK's command line draws it.

use std::fmt::Write;

use etcd_api::PlanInfo;

/// The tree; then, which the SDK has not, what parts of the plan wait for.
pub(crate) fn draw(name: &str, plan: &PlanInfo) -> String {
    let mut tree = String::new();
    let mut line = |text: String| {
        tree.push_str(&text);
        tree.push('\n');
    };
    let head = |name: &str, strategy: &str, status: &str| {
        format!(
            "{} ({} strategy) ({})",
            known(name),
            known(strategy),
            known(status)
        )
    };
    line(head(name, &plan.strategy, &plan.status));
    for (place, phase) in plan.phases.iter().enumerate() {
        let (branch, below) = branch(place, plan.phases.len());
        let text = head(&phase.name, &phase.strategy, &phase.status);
        line(format!("{branch}{text}"));
        for (place, step) in phase.steps.iter().enumerate() {
            let (branch, _) = self::branch(place, phase.steps.len());
            let (name, status) = (known(&step.name), known(&step.status));
            line(format!("{below}{branch}{name} ({status})"));
        }
    }
    list(&mut tree, "Waiting", &waiting(name, plan));
    list(&mut tree, "Errors", &plan.errors);
    tree.truncate(tree.trim_end().len());
    tree
}

/// What a line begins with, and what lines below it begin with.
fn branch(place: usize, of: usize) -> (&'static str, &'static str) {
    if place + 1 == of {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

fn known(text: &str) -> &str {
    if text.is_empty() { "<UNKNOWN>" } else { text }
}

fn waiting(name: &str, plan: &PlanInfo) -> Vec<String> {
    let phases = plan.phases.iter();
    let phases = phases.flat_map(|phase| {
        let steps = phase.steps.iter().map(|step| (&step.name, &step.waiting));
        std::iter::once((&phase.name, &phase.waiting)).chain(steps)
    });
    plan.waiting
        .iter()
        .map(|reason| format!("{name}: {reason}"))
        .chain(phases.filter_map(|(part, reason)| {
            let reason = reason.as_ref()?;
            Some(format!("{part}: {reason}"))
        }))
        .collect()
}

fn list(tree: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(tree, "\n{title}:");
    for line in lines {
        let _ = writeln!(tree, "- {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(plan: serde_json::Value, expected: &str) {
        let plan: PlanInfo = serde_json::from_value(plan).unwrap();
        assert_eq!(draw("deploy", &plan), expected.trim_matches('\n'));
    }

    fn step(name: &str, status: &str) -> serde_json::Value {
        serde_json::json!({"id": "", "name": name, "status": status, "message": ""})
    }

    #[test]
    fn one_phase() {
        check(
            serde_json::json!({
                "strategy": "serial", "status": "IN_PROGRESS", "errors": [],
                "phases": [{
                    "id": "", "name": "agents", "strategy": "parallel",
                    "status": "IN_PROGRESS",
                    "steps": [
                        step("etcd-0:[node]", "COMPLETE"),
                        step("etcd-1:[node]", "STARTING"),
                        step("etcd-2:[node]", ""),
                    ],
                }],
            }),
            "
deploy (serial strategy) (IN_PROGRESS)
└─ agents (parallel strategy) (IN_PROGRESS)
   ├─ etcd-0:[node] (COMPLETE)
   ├─ etcd-1:[node] (STARTING)
   └─ etcd-2:[node] (<UNKNOWN>)
",
        );
    }

    #[test]
    fn more_phases_reasons_and_errors() {
        let phase = |name: &str, waiting: Option<&str>| {
            serde_json::json!({
                "id": "", "name": name, "strategy": "serial", "status": "PENDING",
                "steps": [step("etcd-1:[node]", "PENDING")], "waiting": waiting,
            })
        };
        check(
            serde_json::json!({
                "strategy": "parallel", "status": "WAITING", "errors": ["bad config"],
                "waiting": "alice has paused it",
                "phases": [phase("etcd-1", Some("so it is")), phase("etcd-2", None)],
            }),
            "
deploy (parallel strategy) (WAITING)
├─ etcd-1 (serial strategy) (PENDING)
│  └─ etcd-1:[node] (PENDING)
└─ etcd-2 (serial strategy) (PENDING)
   └─ etcd-1:[node] (PENDING)

Waiting:
- deploy: alice has paused it
- etcd-1: so it is

Errors:
- bad config
",
        );
    }
}
