//! Plans and pods as the trees that the SDK's CLI draws.

use etcd_api::{PlanInfo, PodInstance, ServicePods, StepInfo};

use crate::output::{Paint, one_line};

/// What the SDK's CLI shows where a status is missing.
const UNKNOWN: &str = "<UNKNOWN>";

/// A line and what hangs below it.
struct Branch {
    line: String,
    below: Vec<Branch>,
}

/// A plan with its phases and steps, line for line as the SDK's CLI draws it. Then,
/// which the SDK has not, what its parts wait for; then the plan's errors.
pub(crate) fn plan(name: &str, plan: &PlanInfo, paint: Paint) -> String {
    let titled = |name: &str, strategy: &str, status: &str| {
        let (strategy, status) = (known(strategy), paint.status(known(status)));
        format!("{} ({strategy} strategy) ({status})", known(name))
    };
    let step = |step: &StepInfo| Branch {
        line: format!(
            "{} ({})",
            known(&step.name),
            paint.status(known(&step.status))
        ),
        below: Vec::new(),
    };
    let phases = plan.phases.iter().map(|phase| Branch {
        line: titled(&phase.name, &phase.strategy, &phase.status),
        below: phase.steps.iter().map(step).collect(),
    });
    let mut text = drawn(&Branch {
        line: titled(name, &plan.strategy, &plan.status),
        below: phases.collect(),
    });
    text.push_str(&listed("Waiting", &waiting(name, plan)));
    let errors: Vec<String> = plan.errors.iter().map(|error| one_line(error)).collect();
    text.push_str(&listed("Errors", &errors));
    text
}

fn known(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

fn waiting(name: &str, plan: &PlanInfo) -> Vec<String> {
    let parts = plan.phases.iter().flat_map(|phase| {
        let steps = phase.steps.iter().map(|step| (&step.name, &step.waiting));
        std::iter::once((&phase.name, &phase.waiting)).chain(steps)
    });
    let whole = plan.waiting.iter().map(|reason| (name, reason));
    whole
        .chain(parts.filter_map(|(part, reason)| Some((part.as_str(), reason.as_ref()?))))
        .map(|(part, reason)| format!("{part}: {}", one_line(reason)))
        .collect()
}

/// A list under a title; nothing if there is none.
pub(crate) fn listed(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("- {line}\n")).collect();
    format!("\n{title}:\n{lines}")
}

/// All pods with their tasks.
pub(crate) fn pods(service: &ServicePods, paint: Paint) -> String {
    let kinds = service.pods.iter().map(|kind| Branch {
        line: kind.name.clone(),
        below: kind
            .instances
            .iter()
            .map(|pod| instance(pod, paint))
            .collect(),
    });
    drawn(&Branch {
        line: service.service.clone(),
        below: kinds.collect(),
    })
}

/// One pod with its tasks.
pub(crate) fn pod(pod: &PodInstance, paint: Paint) -> String {
    drawn(&instance(pod, paint))
}

fn instance(pod: &PodInstance, paint: Paint) -> Branch {
    let tasks = pod.tasks.iter().map(|task| {
        let status = paint.status(task.status.as_deref().unwrap_or(UNKNOWN));
        Branch {
            line: format!("{} ({status})", task.name),
            below: Vec::new(),
        }
    });
    Branch {
        line: pod.name.clone(),
        below: tasks.collect(),
    }
}

fn drawn(root: &Branch) -> String {
    let mut text = format!("{}\n", root.line);
    draw_below(&root.below, "", &mut text);
    text
}

/// As deep as a plan is: three.
fn draw_below(branches: &[Branch], margin: &str, text: &mut String) {
    for (place, branch) in branches.iter().enumerate() {
        let is_last = place + 1 == branches.len();
        let (sign, further) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        text.push_str(&format!("{margin}{sign}{}\n", branch.line));
        draw_below(&branch.below, &format!("{margin}{further}"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans() {
        #[track_caller]
        fn check(json: &str, expected: &str) {
            let info: PlanInfo = serde_json::from_str(json).unwrap();
            assert_eq!(plan("deploy", &info, Paint::Plain), expected);
        }
        check(
            r#"{"phases": [{"id": "1", "name": "agents", "steps": [
                {"id": "2", "status": "COMPLETE", "name": "etcd-0:[node]", "message": ""},
                {"id": "3", "status": "STARTING", "name": "etcd-1:[node]", "message": ""},
                {"id": "4", "status": "", "name": "etcd-2:[node]", "message": ""}
                ], "strategy": "parallel", "status": "IN_PROGRESS"}],
                "errors": [], "strategy": "serial", "status": "IN_PROGRESS"}"#,
            "\
deploy (serial strategy) (IN_PROGRESS)
└─ agents (parallel strategy) (IN_PROGRESS)
   ├─ etcd-0:[node] (COMPLETE)
   ├─ etcd-1:[node] (STARTING)
   └─ etcd-2:[node] (<UNKNOWN>)
",
        );
        check(
            r#"{"phases": [
                {"id": "1", "name": "first", "steps": [
                {"id": "2", "status": "DELAYED", "name": "etcd-0:[node]", "message": "",
                 "waiting": "launches failed:\n exit 1"}],
                "strategy": "serial", "status": "DELAYED"},
                {"id": "3", "name": "second", "steps": [], "strategy": "serial",
                 "status": "WAITING", "waiting": "interrupted by alice"}],
                "errors": ["bad config", "worse"], "strategy": "serial",
                "status": "ERROR", "waiting": "it is paused", "later": 1}"#,
            "\
deploy (serial strategy) (ERROR)
├─ first (serial strategy) (DELAYED)
│  └─ etcd-0:[node] (DELAYED)
└─ second (serial strategy) (WAITING)

Waiting:
- deploy: it is paused
- etcd-0:[node]: launches failed: exit 1
- second: interrupted by alice

Errors:
- bad config
- worse
",
        );
        check(
            r#"{"phases": [], "errors": [], "strategy": "parallel", "status": "COMPLETE"}"#,
            "deploy (parallel strategy) (COMPLETE)\n",
        );
    }

    #[test]
    fn pods_and_one_pod() {
        let json = r#"{"service": "etcd", "pods": [{"name": "etcd", "instances": [
            {"name": "etcd-0", "tasks": [
                {"id": "a", "name": "etcd-0-node", "status": "RUNNING"}]},
            {"name": "etcd-1", "tasks": [{"id": "b", "name": "etcd-1-node"}]},
            {"name": "etcd-2", "tasks": []}]}]}"#;
        let all: ServicePods = serde_json::from_str(json).unwrap();
        assert_eq!(
            pods(&all, Paint::Plain),
            "\
etcd
└─ etcd
   ├─ etcd-0
   │  └─ etcd-0-node (RUNNING)
   ├─ etcd-1
   │  └─ etcd-1-node (<UNKNOWN>)
   └─ etcd-2
"
        );
        let first = &all.pods[0].instances[0];
        let expected = "etcd-0\n└─ etcd-0-node (RUNNING)\n";
        assert_eq!(pod(first, Paint::Plain), expected);
    }
}
