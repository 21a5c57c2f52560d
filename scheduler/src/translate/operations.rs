//! The operations of an ACCEPT, and what becomes of them.

use etcd_launch::PodIndex;
use etcd_planner::event::{OperationStatus, OperationVerdict};
use etcd_planner::offer::{Bundle, OperationId};
use etcd_planner::record::Placement;
use mesos_v1::v1;
use mesos_v1::v1::offer::Operation;

use super::reservations::Reserver;

/// Ends the name of an operation that a resource provider is asked for, where
/// the agent itself is asked for the same.
const OF_PROVIDER: &str = "__of_provider";

/// Whether an agent tells what becomes of operations: only then may they have
/// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// It does.
    Told,
    /// It does not, or that is not known: the next offers show what became of
    /// an operation.
    Untold,
}

/// The operations that reserve a place.
pub fn reserve(
    reserver: &Reserver,
    pod: PodIndex,
    placement: &Placement,
    feedback: Feedback,
) -> Vec<Operation> {
    let id = placement.reserve_operation();
    let resources = reserver.reserved(pod, placement);
    named(resources, Operation::reserve, &id, feedback)
}

/// The operation that makes a place's volume.
pub fn create(
    reserver: &Reserver,
    pod: PodIndex,
    placement: &Placement,
    feedback: Feedback,
) -> Vec<Operation> {
    let id = placement.create_operation();
    let volume = reserver.volume(pod, placement);
    named(vec![volume], Operation::create, &id, feedback)
}

/// The operation that reserves more for a place.
pub fn reserve_more(
    reserver: &Reserver,
    pod: PodIndex,
    (placement, amount): (&Placement, &Bundle),
    id: &OperationId,
    feedback: Feedback,
) -> Vec<Operation> {
    let resources = reserver.amounts(pod, placement, amount);
    named(resources, Operation::reserve, id, feedback)
}

/// The operation that gives back some of what is reserved for a place.
pub fn unreserve_surplus(
    reserver: &Reserver,
    pod: PodIndex,
    (placement, amount): (&Placement, &Bundle),
    id: &OperationId,
    feedback: Feedback,
) -> Vec<Operation> {
    let resources = reserver.amounts(pod, placement, amount);
    named(resources, Operation::unreserve, id, feedback)
}

/// The operations that give a place back: its volume, and what else of it is shown.
pub fn release(
    reserver: &Reserver,
    pod: PodIndex,
    placement: &Placement,
    (has_volume, shown): (bool, &Bundle),
    feedback: Feedback,
) -> Vec<Operation> {
    let mut operations = Vec::new();
    if has_volume {
        let id = OperationId(format!("destroy__{}", placement.volume_id));
        let volume = reserver.volume(pod, placement);
        operations.extend(named(vec![volume], Operation::destroy, &id, feedback));
    }
    let id = placement.unreserve_operation();
    // Of a volume that was never made, the share of the agent's own disk is shown.
    let resources = if has_volume {
        reserver.with_volume(pod, placement, shown)
    } else {
        let mut resources = reserver.amounts(pod, placement, shown);
        if placement.disk.is_some() {
            resources.push(reserver.disk_of_volume(pod, placement));
        }
        resources
    };
    operations.extend(named(resources, Operation::unreserve, &id, feedback));
    operations
}

/// Mesos takes no operation on resources of an agent and of a provider of disks
/// together: one for each.
fn named(
    resources: Vec<v1::Resource>,
    operation: fn(Vec<v1::Resource>) -> Operation,
    id: &OperationId,
    feedback: Feedback,
) -> Vec<Operation> {
    let (of_agent, of_provider): (Vec<_>, Vec<_>) = resources
        .into_iter()
        .partition(|resource| resource.provider_id.is_none());
    [
        (of_agent, id.0.clone()),
        (of_provider, format!("{id}{OF_PROVIDER}")),
    ]
    .into_iter()
    .filter(|(resources, _)| !resources.is_empty())
    .map(|(resources, value)| match feedback {
        Feedback::Told => operation(resources).with_id(v1::OperationId { value }),
        Feedback::Untold => operation(resources),
    })
    .collect()
}

/// Translates a status; none for one of an operation that has no name, or in
/// a state that this release does not know.
pub fn status(status: &v1::OperationStatus) -> Option<OperationStatus> {
    let state = v1::OperationState::try_from(status.state).ok()?;
    let id = &status.operation_id.as_ref()?.value;
    Some(OperationStatus {
        id: OperationId(id.strip_suffix(OF_PROVIDER).unwrap_or(id).to_owned()),
        verdict: verdict(state),
        words: words(status, state),
    })
}

fn verdict(state: v1::OperationState) -> OperationVerdict {
    use v1::OperationState as S;
    match state {
        S::OperationFinished => OperationVerdict::Done,
        S::OperationFailed
        | S::OperationError
        | S::OperationDropped
        | S::OperationGoneByOperator => OperationVerdict::Failed,
        S::OperationUnsupported
        | S::OperationPending
        | S::OperationUnreachable
        | S::OperationRecovering
        // Asked about an operation whose end was acknowledged long ago, the
        // master says the same as about one that never reached it.
        | S::OperationUnknown => OperationVerdict::Open,
    }
}

/// `OPERATION_ERROR: the master's words`.
fn words(status: &v1::OperationStatus, state: v1::OperationState) -> String {
    let name = state.as_str_name();
    match status.message.as_deref() {
        None | Some("") => name.to_owned(),
        Some(message) => format!("{name}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        use v1::OperationState as S;
        let check = |state: S, id: &str, message: &str, expected: &str| {
            let message = v1::OperationStatus {
                operation_id: Some(v1::OperationId { value: id.into() }),
                state: state.into(),
                message: Some(message.into()),
                ..Default::default()
            };
            let status = status(&message).unwrap();
            let found = format!("{}: {:?}, {}", status.id, status.verdict, status.words);
            assert_eq!(found, expected);
        };
        check(
            S::OperationFinished,
            "reserve__1",
            "",
            "reserve__1: Done, OPERATION_FINISHED",
        );
        check(
            S::OperationFailed,
            "create__1__of_provider",
            "no space",
            "create__1: Failed, OPERATION_FAILED: no space",
        );
        check(S::OperationError, "r", "", "r: Failed, OPERATION_ERROR");
        check(S::OperationDropped, "r", "", "r: Failed, OPERATION_DROPPED");
        check(
            S::OperationGoneByOperator,
            "r",
            "",
            "r: Failed, OPERATION_GONE_BY_OPERATOR",
        );
        for state in [
            S::OperationUnsupported,
            S::OperationPending,
            S::OperationUnreachable,
            S::OperationRecovering,
            S::OperationUnknown,
        ] {
            check(state, "r", "", &format!("r: Open, {}", state.as_str_name()));
        }
    }

    #[test]
    fn what_cannot_be_told() {
        let nameless = v1::OperationStatus {
            state: v1::OperationState::OperationFailed.into(),
            ..Default::default()
        };
        assert_eq!(status(&nameless), None);
        let unknown = v1::OperationStatus {
            operation_id: Some(v1::OperationId { value: "r".into() }),
            state: 77,
            ..Default::default()
        };
        assert_eq!(status(&unknown), None);
    }
}
