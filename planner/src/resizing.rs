//! Other amounts of resources for a member that stays where it is.
//!
//! Its turn comes with the update. What it lacks is reserved first, under the id of its
//! place and while it goes on running: so nobody is stopped for resources that might
//! not be there, and nobody else can take them meanwhile. When an offer has shown them
//! the member is stopped, and its next launch uses the new amounts. What is over after
//! that is given back once the member is well.
//!
//! An agent without room is waited for, and the other members go on; or the member
//! moves, where the target lets it and an offer at hand would do for its successor.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::{Draft, DraftAccept};
use crate::effect::Operation;
use crate::model::Model;
use crate::observed::{OfferStream, RoomSeen, TaskState};
use crate::offer::{Bundle, Offer};
use crate::placing;
use crate::quorum;
use crate::record::{Cluster, Exchange, Placement, Pod, Resize, ResizeStage};
use crate::replacing;
use crate::rolling;
use crate::target::Needs;
use crate::time::Timestamp;
use crate::waiting::{self, WaitingReason};

/// An agent whose newest offer is older says nothing about now.
const OFFER_IS_FRESH: Duration = Duration::from_secs(60);

/// An agent that has offered nothing for this long after offers were asked for has
/// nothing: a first request may be lost, and is repeated after 30 seconds.
const NOTHING_OFFERED_AFTER: Duration = Duration::from_secs(40);

/// What offers have not shown for this long was not reserved.
const NOT_RESERVED_AFTER: Duration = Duration::from_secs(10);

/// The same where the agent makes no offer at all.
const SILENT_AFTER: Duration = Duration::from_secs(60);

/// The pause before it is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is over, and has not been offered for this long, is not looked for any more.
const LOOK_FOR_SURPLUS: Duration = Duration::from_secs(300);

/// What a member is to have on its place, if that is not what it has, or gets with its
/// next launch. Size and kind of its disk, and its address, stay those of the place.
pub(crate) fn wanted(model: &Model, pod: &Pod) -> Option<Needs> {
    let is_leaving = pod.leaving_since.is_some();
    let is_formed = matches!(model.record.cluster, Cluster::Formed(_));
    if !is_formed || is_leaving || !rolling::votes(pod) {
        return None;
    }
    let placement = pod.placement.as_ref()?;
    let needs = Needs {
        volume: placement.needs.volume,
        peer_port: placement.needs.peer_port,
        ..model.target.needs
    };
    (needs != placement.needs_of_next_launch()).then_some(needs)
}

/// What has to be reserved for it beside what is.
fn lacking(placement: &Placement, to: &Needs) -> Bundle {
    let amounts = to.beside_volume(placement.takes_ports());
    amounts.without(&placement.amounts())
}

/// What an offer shows of a place, beyond what its next launch takes anyway. While its
/// task runs that is all of it; when the task has ended, nothing can be said before its
/// executor has given the volume back.
fn extra(pod: &Pod, reserved: &Bundle, has_volume: bool) -> Bundle {
    let runs = runs(pod);
    match &pod.placement {
        Some(placement) if has_volume => reserved.without(&placement.amounts()),
        Some(_) if runs => reserved.clone(),
        _ => Bundle::default(),
    }
}

fn runs(pod: &Pod) -> bool {
    let launch = pod.launch.as_ref();
    launch.is_some_and(|launch| launch.end.is_none())
}

/// What the pod's agent has room for.
enum Room {
    Enough,
    /// This much of what is wanted is not there; none where nothing is offered.
    TooLittle(Option<Bundle>),
    /// It has not said yet.
    Unknown,
}

fn room(draft: &Draft<'_>, pod: &Pod, lacking: &Bundle) -> Room {
    let (Some(session), Some(placement)) = (draft.model.session(), &pod.placement) else {
        return Room::Unknown;
    };
    let OfferStream::Flowing { begun, .. } = session.offers else {
        return Room::Unknown;
    };
    let observed = &draft.model.observed;
    let asked = begun.max(observed.target_since);
    let now = draft.now();
    let seen = observed.room.get(&placement.reservation_id);
    let is_fresh =
        |seen: &&RoomSeen| seen.at >= begun && now.since(seen.at) < OFFER_IS_FRESH;
    match seen.filter(is_fresh) {
        Some(seen) => {
            let lacking = lacking.without(&extra(pod, &seen.reserved, seen.has_volume));
            if seen.free.covers(&lacking) {
                Room::Enough
            } else {
                Room::TooLittle(Some(seen.free.clone()))
            }
        }
        None if now.since(asked) >= NOTHING_OFFERED_AFTER => Room::TooLittle(None),
        None => Room::Unknown,
    }
}

/// A member that is down is brought back first, with what can be had at once.
fn comes_back_first(draft: &Draft<'_>, index: PodIndex) -> bool {
    let has_recipe =
        draft.pod(index).recipe.as_ref() == Some(&draft.model.target.recipe());
    !has_recipe && !quorum::is_healthy_voter_seen(draft.model, index)
}

/// What a member waits for whose agent has no room, or that it does not: it can move.
fn without_room(
    draft: &Draft<'_>,
    index: PodIndex,
    lacking: &Bundle,
    free: Option<&Bundle>,
) -> Result<(), WaitingReason> {
    let hostname = hostname(draft.pod(index));
    let wanted = lacking.to_string();
    let lacking = lacking
        .without(free.unwrap_or(&Bundle::default()))
        .to_string();
    if !draft.model.target.move_on_resize {
        return Err(WaitingReason::NoRoomToGrow {
            pod: index,
            hostname,
            wanted,
            lacking,
        });
    }
    // What speaks against any move is said when it is begun.
    if replacing::judge(draft.model, index, Exchange::JoinFirst).is_err() {
        return Ok(());
    }
    placing::could_move(draft, index).map_err(|refusals| WaitingReason::NoPlaceToMove {
        hostname,
        wanted,
        lacking,
        refusals: waiting::count(&refusals),
    })
}

fn hostname(pod: &Pod) -> crate::offer::Hostname {
    let placement = pod.placement.as_ref();
    placement.map_or_else(crate::offer::Hostname::unknown, |at| at.hostname.clone())
}

/// Why a member is passed over while others go on: its agent cannot give it what it is
/// to have.
pub(crate) fn hold(draft: &Draft<'_>, index: PodIndex) -> Option<WaitingReason> {
    let pod = draft.pod(index);
    let to = wanted(draft.model, pod)?;
    let placement = pod.placement.as_ref()?;
    let lacking = lacking(placement, &to);
    match &placement.resize {
        Some(resize) if resize.to == to => match &resize.stage {
            ResizeStage::Refused { until, why } if *until > draft.now() => {
                let (hostname, why) = (hostname(pod), why.clone());
                return Some(WaitingReason::GrowthRefused { hostname, why });
            }
            ResizeStage::Refused { .. } => {}
            ResizeStage::Asked(_) | ResizeStage::Reserved | ResizeStage::AtNextLaunch => {
                return None;
            }
        },
        _ => {}
    }
    if lacking.is_empty() || comes_back_first(draft, index) {
        return None;
    }
    match room(draft, pod, &lacking) {
        Room::TooLittle(free) => {
            without_room(draft, index, &lacking, free.as_ref()).err()
        }
        Room::Enough | Room::Unknown => None,
    }
}

/// What comes next for a member whose turn it is.
pub(crate) enum Step {
    /// It can be restarted.
    Restart,
    /// It has to wait.
    Wait(WaitingReason),
    /// It has to move.
    Move,
}

/// Reserves what the member lacks. Nothing of it is stopped meanwhile.
pub(crate) fn prepare(draft: &mut Draft<'_>, index: PodIndex) -> Step {
    let pod = draft.pod(index);
    let (Some(to), Some(placement)) = (wanted(draft.model, pod), &pod.placement) else {
        return Step::Restart;
    };
    let lacking = lacking(placement, &to);
    let hostname = hostname(pod);
    let stage = placement.resize.as_ref().filter(|resize| resize.to == to);
    match stage.map(|resize| &resize.stage) {
        Some(ResizeStage::Asked(_)) => {
            let wanted = lacking.to_string();
            return Step::Wait(WaitingReason::Growing { hostname, wanted });
        }
        Some(ResizeStage::Reserved) => return Step::Restart,
        Some(ResizeStage::Refused { .. } | ResizeStage::AtNextLaunch) | None => {}
    }
    if lacking.is_empty() || comes_back_first(draft, index) {
        return Step::Restart;
    }
    match room(draft, pod, &lacking) {
        Room::Enough => ask(draft, index, to),
        Room::Unknown => Step::Wait(WaitingReason::RoomUnknown { hostname }),
        Room::TooLittle(free) => {
            match without_room(draft, index, &lacking, free.as_ref()) {
                Ok(()) => Step::Move,
                Err(reason) => Step::Wait(reason),
            }
        }
    }
}

/// RESERVE of what is lacking, on an offer that has it. The wish is recorded before
/// the call goes out.
fn ask(draft: &mut Draft<'_>, index: PodIndex, to: Needs) -> Step {
    let now = draft.now();
    let pod = draft.pod(index);
    let hostname = hostname(pod);
    let Some(placement) = pod.placement.clone() else {
        return Step::Restart;
    };
    let lacking = lacking(&placement, &to);
    let offers = draft.untaken_offers();
    let found = offers.into_iter().find_map(|offer| {
        let seen = RoomSeen::of(offer, &placement)?;
        let lacking = lacking.without(&extra(pod, &seen.reserved, seen.has_volume));
        let is_there = seen.free.covers(&lacking);
        (is_there && !draft.accept_in_flight(index)).then_some((offer, lacking))
    });
    let Some((offer, amount)) = found else {
        return Step::Wait(WaitingReason::RoomUnknown { hostname });
    };
    let resize = |stage| Resize {
        to,
        stage,
        missing_since: None,
    };
    if amount.is_empty() {
        // Reserved by an attempt that was given up.
        set_resize(draft, index, Some(resize(ResizeStage::Reserved)));
        return Step::Restart;
    }
    let wanted = amount.to_string();
    draft.accepts.insert(
        index,
        DraftAccept {
            offer_id: offer.id.clone(),
            agent_id: offer.agent_id.clone(),
            operations: vec![Operation::ReserveMore {
                id: placement.grow_operation(now),
                placement: Box::new(placement),
                amount,
            }],
        },
    );
    set_resize(draft, index, Some(resize(ResizeStage::Asked(now))));
    Step::Wait(WaitingReason::Growing { hostname, wanted })
}

fn set_resize(draft: &mut Draft<'_>, index: PodIndex, resize: Option<Resize>) {
    let now = draft.now();
    let Some(placement) = &mut draft.pod_mut(index).placement else {
        return;
    };
    let to = |resize: &Option<Resize>| resize.as_ref().map(|resize| resize.to);
    if placement.resize.is_some() && to(&placement.resize) != to(&resize) {
        // What was reserved for it is not needed any more.
        placement.over_since.get_or_insert(now);
    }
    placement.resize = resize;
}

/// From the next launch on the member has its new amounts, if they are there. What it
/// had before, so that it can go back.
pub(crate) fn begin(draft: &mut Draft<'_>, index: PodIndex) -> Option<Needs> {
    let pod = draft.pod(index);
    let to = wanted(draft.model, pod)?;
    let placement = pod.placement.as_ref()?;
    let is_reserved = placement
        .resize
        .as_ref()
        .is_some_and(|it| it.to == to && it.stage == ResizeStage::Reserved);
    if !is_reserved && !lacking(placement, &to).is_empty() {
        return None;
    }
    let before = placement.needs;
    let stage = ResizeStage::AtNextLaunch;
    let resize = Resize {
        to,
        stage,
        missing_since: None,
    };
    set_resize(draft, index, Some(resize));
    Some(before)
}

/// The member did not become well: its next launch has what it had before, which is
/// given back only once a member is well.
pub(crate) fn go_back(pod: &mut Pod, needs: Option<Needs>) {
    if let (Some(to), Some(placement)) = (needs, &mut pod.placement)
        && to != placement.needs
    {
        placement.resize = Some(Resize {
            to,
            stage: ResizeStage::AtNextLaunch,
            missing_since: None,
        });
    }
}

/// Whether a launch has to wait until it is known what was reserved.
pub(crate) fn is_asked(pod: &Pod) -> bool {
    let resize = pod.placement.as_ref().and_then(|at| at.resize.as_ref());
    resize.is_some_and(|resize| matches!(resize.stage, ResizeStage::Asked(_)))
}

/// The member is launched with its new amounts.
pub(crate) fn take_up(draft: &mut Draft<'_>, index: PodIndex) {
    let now = draft.now();
    let Some(placement) = &mut draft.pod_mut(index).placement else {
        return;
    };
    let before = placement.amounts();
    if placement.next_launch_resizes()
        && let Some(resize) = placement.resize.take()
    {
        placement.needs = resize.to;
        if !placement.amounts().covers(&before) {
            placement.over_since.get_or_insert(now);
        }
    }
}

/// What was reserved does not show up in an offer that has all else: in the end the
/// member is launched as it was.
pub(crate) fn note_missing(draft: &mut Draft<'_>, index: PodIndex, offered: Timestamp) {
    let pod = draft.pod_mut(index);
    let Some(resize) = pod.placement.as_mut().and_then(|at| at.resize.as_mut()) else {
        return;
    };
    let since = *resize.missing_since.get_or_insert(offered);
    if offered.since(since) >= NOT_RESERVED_AFTER {
        if let Some(updating) = &mut pod.updating {
            updating.needs = None;
        }
        refuse(
            draft,
            index,
            "what was reserved for it is not there any more",
        );
    }
}

/// It came to nothing, and is tried again later.
fn refuse(draft: &mut Draft<'_>, index: PodIndex, why: &str) {
    let now = draft.now();
    if let Some(placement) = &mut draft.pod_mut(index).placement {
        note_refused(placement, why.to_owned(), now);
    }
}

pub(crate) fn note_refused(placement: &mut Placement, why: String, now: Timestamp) {
    let until = now.plus(TRY_AGAIN_AFTER);
    if let Some(resize) = &mut placement.resize {
        resize.stage = ResizeStage::Refused { until, why };
        resize.missing_since = None;
    }
    // Who knows what was reserved all the same.
    placement.over_since.get_or_insert(now);
}

/// Takes note of what offers show of amounts that were asked for, and forgets those
/// that are not wanted any more.
pub(crate) fn look_for_reserved(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        let pod = draft.pod(index);
        let wanted = wanted(draft.model, pod);
        let Some(resize) = pod.placement.as_ref().and_then(|at| at.resize.clone()) else {
            continue;
        };
        if resize.stage == ResizeStage::AtNextLaunch {
            continue;
        }
        if wanted != Some(resize.to) {
            set_resize(draft, index, None);
        } else if let ResizeStage::Asked(asked) = resize.stage
            && !draft.accept_in_flight(index)
        {
            look_for_one(draft, index, &resize, asked);
        } else if let ResizeStage::Refused { until, .. } = resize.stage
            && until > draft.now()
        {
            draft.wake_at(until);
        }
    }
}

fn look_for_one(
    draft: &mut Draft<'_>,
    index: PodIndex,
    resize: &Resize,
    asked: Timestamp,
) {
    let pod = draft.pod(index);
    let Some(placement) = &pod.placement else {
        return;
    };
    let lacking = lacking(placement, &resize.to);
    let mut newest = None;
    for offer in draft.untaken_offers() {
        let Some(seen) = RoomSeen::of(offer, placement) else {
            continue;
        };
        if extra(pod, &seen.reserved, seen.has_volume).covers(&lacking) {
            let resize = Resize {
                stage: ResizeStage::Reserved,
                missing_since: None,
                ..resize.clone()
            };
            set_resize(draft, index, Some(resize));
            return;
        }
        // While a task ends, its place is not seen as a whole.
        let says_all = runs(pod) || seen.has_volume;
        if says_all && offer.received > asked {
            newest = newest.max(Some(offer.received));
        }
    }
    let missing_since = resize.missing_since.or(newest);
    if resize.missing_since != missing_since {
        let resize = Resize {
            missing_since,
            ..resize.clone()
        };
        set_resize(draft, index, Some(resize));
    }
    if let (Some(since), Some(newest)) = (missing_since, newest)
        && newest.since(since) >= NOT_RESERVED_AFTER
    {
        let session = draft.model.session();
        if session.is_some_and(|session| asked < session.since) {
            // The scheduler may have died before Mesos heard of it: asked for again.
            set_resize(draft, index, None);
        } else {
            refuse(draft, index, "its agent did not reserve it");
        }
    } else if draft.now().since(asked) >= SILENT_AFTER {
        refuse(draft, index, "its agent has not shown that it is reserved");
    } else {
        draft.wake_at(asked.plus(SILENT_AFTER));
    }
}

/// Gives back what is reserved for members beyond what they use. While a task runs,
/// offers show exactly that.
pub(crate) fn give_back_what_is_over(draft: &mut Draft<'_>) {
    for index in draft.recorded_pods() {
        let Some(since) = surely_runs_since(draft, index) else {
            continue;
        };
        let Some(placement) = draft.pod(index).placement.clone() else {
            continue;
        };
        let offers = draft.untaken_offers();
        let mut could_show: Vec<&Offer> = offers
            .into_iter()
            .filter(|offer| placement.would_be_in(offer) && offer.received > since)
            .collect();
        could_show.retain(|offer| {
            let reserved = offer.reserved.get(&placement.reservation_id);
            reserved.is_none_or(|reserved| reserved.volumes.is_empty())
        });
        let over = could_show.iter().find_map(|offer| {
            let reserved = offer.reserved.get(&placement.reservation_id)?;
            Some((*offer, reserved.resources.clone()))
        });
        let now = draft.now();
        if let Some((offer, amount)) = over {
            let accept = DraftAccept {
                offer_id: offer.id.clone(),
                agent_id: offer.agent_id.clone(),
                operations: vec![Operation::UnreserveSurplus {
                    id: placement.shrink_operation(now),
                    placement: Box::new(placement),
                    amount,
                }],
            };
            draft.accepts.insert(index, accept);
            set_over(draft, index, Some(now));
        } else if let Some(looked_since) = placement.over_since {
            let newest = could_show.iter().map(|offer| offer.received).max();
            let is_gone = newest.is_some_and(|newest| newest > looked_since);
            if is_gone || now.since(looked_since) >= LOOK_FOR_SURPLUS {
                set_over(draft, index, None);
            } else {
                draft.wake_at(looked_since.plus(LOOK_FOR_SURPLUS));
            }
        }
    }
}

fn set_over(draft: &mut Draft<'_>, index: PodIndex, since: Option<Timestamp>) {
    if let Some(placement) = &mut draft.pod_mut(index).placement {
        placement.over_since = since;
    }
}

/// Since when a member's task is known to run with what its place is said to have, and
/// nothing else is under way there.
fn surely_runs_since(draft: &Draft<'_>, index: PodIndex) -> Option<Timestamp> {
    let pod = draft.pod(index);
    let launch = pod.launch.as_ref()?;
    let seen = draft.model.task(index)?;
    let at_work = draft.accept_in_flight(index)
        || draft.accepts.contains_key(&index)
        || pod.updating.is_some()
        || launch.end.is_some()
        || launch.stop_asked.is_some();
    let is_up = matches!(seen.state, TaskState::Starting | TaskState::Running);
    let resize = pod.placement.as_ref()?.resize.as_ref();
    let is_resized =
        resize.is_some_and(|resize| !matches!(resize.stage, ResizeStage::Refused { .. }));
    (is_up && !at_work && !is_resized).then(|| seen.at.max(launch.issued))
}

/// Whether offers of the pod's agent are wanted: to see what room it has, or what it
/// has reserved.
pub(crate) fn looks_for_room(draft: &Draft<'_>, index: PodIndex) -> bool {
    let says_so = matches!(
        draft.waiting.get(&index),
        Some(
            WaitingReason::NoRoomToGrow { .. }
                | WaitingReason::NoPlaceToMove { .. }
                | WaitingReason::RoomUnknown { .. }
                | WaitingReason::Growing { .. }
        )
    );
    says_so || is_asked(draft.pod(index))
}

/// Whether offers are wanted in order to give back what is over.
pub(crate) fn looks_for_surplus(draft: &Draft<'_>, index: PodIndex) -> bool {
    let placement = draft.pod(index).placement.as_ref();
    placement.is_some_and(|placement| placement.over_since.is_some())
        && surely_runs_since(draft, index).is_some()
}
