//! Asking an agent's etcd whether it takes the wanted options, before the member that
//! runs there is touched for them.
//!
//! The executor of the running member tries them beside it ([`etcd_launch::trial`]).
//! Requests and answers are messages that can be lost, and are known to this life of the
//! scheduler only: what is not known is asked again.

use std::time::Duration;

use etcd_launch::{PodIndex, TrialAnswer, TrialVerdict};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::model::Model;
use crate::observed::TaskState;
use crate::restarting;
use crate::time::Timestamp;
use crate::waiting::WaitingReason;

/// A trial takes seconds, of which most go to fetching another etcd.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// An executor that does not answer for so long cannot, and the update goes on: it
/// stops at its first member in any case.
const GO_ON_AFTER: Duration = Duration::from_secs(180);

/// For how long a refusal holds. Whoever asks for another try later gets one.
const REFUSAL_HOLDS_FOR: Duration = Duration::from_secs(30);

/// What is known of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Of which target, in which life of the pod.
    pub id: String,
    /// When it was first asked for.
    pub first_asked: Timestamp,
    /// When it was last asked for.
    pub last_asked: Timestamp,
    /// The newest answer.
    pub verdict: Option<TrialVerdict>,
}

/// Whether a member may be touched for the target's recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// As far as can be found out.
    GoOn,
    /// Its agent has been asked.
    Waits,
    /// Its agent's etcd ended over it.
    Refused(String),
}

/// Has the target's recipe tried beside a running member.
pub(crate) fn try_recipe(draft: &mut Draft<'_>, index: PodIndex) -> Tried {
    let Some(request) = request(draft, index) else {
        return Tried::GoOn;
    };
    let now = draft.now();
    let known = draft.model.observed.trials.get(&index);
    let known = known.filter(|known| known.id == request.id).cloned();
    let ask_again_at = match &known {
        None => now,
        Some(trial) => {
            let gives_up = now.since(trial.first_asked) >= GO_ON_AFTER;
            let holds = now.since(trial.last_asked) < REFUSAL_HOLDS_FOR;
            match &trial.verdict {
                Some(TrialVerdict::Taken | TrialVerdict::NotTried { .. }) => {
                    return Tried::GoOn;
                }
                Some(TrialVerdict::Refused { why }) if holds => {
                    return Tried::Refused(why.clone());
                }
                Some(TrialVerdict::Refused { .. }) => now,
                None if gives_up => return Tried::GoOn,
                // What cannot be had now could not be had after the stop either.
                Some(TrialVerdict::NotHad { .. }) | None => {
                    trial.last_asked.plus(ASK_AGAIN_AFTER)
                }
            }
        }
    };
    let not_had = known.and_then(|trial| match trial.verdict {
        Some(TrialVerdict::NotHad { why }) => Some(why),
        _ => None,
    });
    draft.wait(index, WaitingReason::TryingOptions { not_had });
    draft.wake_at(ask_again_at.max(now.plus(Duration::from_secs(1))));
    if ask_again_at <= now {
        draft.effects.push(request.effect);
    }
    Tried::Waits
}

struct Request {
    id: String,
    effect: Effect,
}

/// What is to be asked, and of whom; none if there is nothing new, or nobody to ask.
fn request(draft: &Draft<'_>, index: PodIndex) -> Option<Request> {
    let pod = draft.pod(index);
    let recipe = draft.model.target.recipe();
    let launch = pod.launch.as_ref().filter(|launch| {
        launch.end.is_none() && launch.stop_asked.is_none() && !launch.paused
    })?;
    let seen = draft.model.task(index)?;
    let present = pod.recipe.as_ref();
    let is_same_etcd =
        present.is_some_and(|it| it.program.has_same_etcd(&recipe.program));
    let is_same_tuning = present.is_some_and(|it| it.tuning == recipe.tuning);
    let is_new = !is_same_etcd || !is_same_tuning;
    if !is_new
        || seen.state != TaskState::Running
        || restarting::runs_no_etcd(draft, index)
    {
        return None;
    }
    let id = format!("{}/{}", draft.model.target_id.0, pod.generation.0);
    let effect = Effect::TryRecipe {
        pod: index,
        agent_id: launch.agent_id.clone(),
        executor_id: launch.executor_id.clone(),
        id: id.clone(),
        program: (!is_same_etcd).then_some(recipe.program),
        tuning: recipe.tuning,
    };
    Some(Request { id, effect })
}

/// Takes note of a request that is being sent.
pub(crate) fn note_asked(model: &mut Model, index: PodIndex, id: &str, now: Timestamp) {
    let known = model.observed.trials.remove(&index);
    let trial = match known.filter(|trial| trial.id == id) {
        Some(trial) => Trial {
            last_asked: now,
            verdict: trial
                .verdict
                .filter(|verdict| matches!(verdict, TrialVerdict::NotHad { .. })),
            ..trial
        },
        None => Trial {
            id: id.to_owned(),
            first_asked: now,
            last_asked: now,
            verdict: None,
        },
    };
    model.observed.trials.insert(index, trial);
}

/// Takes note of an answer. One about something else came too late.
pub(crate) fn note_answer(model: &mut Model, answer: TrialAnswer) {
    let pod = model.record.pods.get(&answer.pod);
    let is_present = pod.is_some_and(|pod| pod.generation == answer.generation);
    if let Some(trial) = model.observed.trials.get_mut(&answer.pod)
        && trial.id == answer.id
        && is_present
    {
        trial.verdict = Some(answer.verdict);
    }
}
