//! What the master is asked when it tells that an agent or an executor is no more.

use etcd_planner::Effect;
use etcd_planner::event::{TaskStatus, TaskVerdict};

use super::changes::settle;
use super::*;

/// Which tasks the master is asked about in the next turn.
fn asked_about(model: &Model) -> Vec<String> {
    let turn = Turn {
        now: NOW,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let effects = plan(model, &turn).effects;
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::Reconcile { tasks } => Some(tasks.iter().map(|(id, _)| id.0.clone())),
        _ => None,
    });
    asked.flatten().collect()
}

#[track_caller]
fn check_failure(agent: &str, executor: Option<&str>, expected: &[&str]) {
    let mut model = service(Parallel, 3);
    settle(&mut model);
    if let MesosLink::Connected(session) = &mut model.observed.mesos {
        // Asked a moment ago: nothing else would ask now.
        session.reconciled = Some((NOW, 9));
    }
    assert_eq!(asked_about(&model), [""; 0]);
    let failure = Event::Failure {
        agent_id: AgentId(agent.into()),
        executor_id: executor.map(|id| ExecutorId(id.into())),
    };
    model.apply(failure, NOW);
    assert_eq!(asked_about(&model), expected, "{agent} {executor:?}");
}

#[test]
fn failures_are_asked_about_at_once() {
    check_failure("agent-1", None, &["task-1"]);
    check_failure("agent-1", Some("executor-1"), &["task-1"]);
    check_failure("agent-1", Some("of-another-framework"), &[]);
    check_failure("agent-9", None, &[]);
}

#[test]
fn an_answer_ends_the_doubt() {
    let mut model = service(Parallel, 3);
    settle(&mut model);
    let agent_id = AgentId("agent-1".into());
    model.apply(
        Event::Failure {
            agent_id: agent_id.clone(),
            executor_id: None,
        },
        NOW,
    );
    let answer = TaskStatus {
        task_id: TaskId("task-1".into()),
        agent_id: Some(agent_id),
        verdict: TaskVerdict::Alive(TaskState::Running),
        words: "TASK_RUNNING".into(),
        report: None,
    };
    model.apply(Event::TaskStatus(answer), NOW);
    assert_eq!(asked_about(&model), [""; 0]);
}
