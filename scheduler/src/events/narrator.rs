//! Which differences between two pictures of the service are events.

use std::collections::{BTreeMap, BTreeSet};

use etcd_api::events::What;
use etcd_launch::{MemberId, PodIndex};
use etcd_planner::alarms::megabytes;
use etcd_planner::maintenance::Stage;
use etcd_planner::observed::{MesosLink, TaskSeen};
use etcd_planner::record::{
    Cluster, Launch, Membership, Placement, PlacementStage, Pod, Record, StopCause,
};

use super::Told;
use crate::commands::Actor;
use crate::published::Published;

/// Reasons to wait that say no more than another event did.
const TOLD_OTHERWISE: [&str; 4] =
    ["not_connected", "reconciling", "launching", "stopping"];

/// Compares pictures. What it remembers is only for telling better: a restart
/// of the scheduler loses it without harm.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    last_leader: Option<MemberId>,
    /// Who asked for what is being done to a pod.
    askers: BTreeMap<PodIndex, Actor>,
    /// Reasons that were told since something else happened to the pod, or the
    /// service. Offers come and go all night while a pod waits for a good one;
    /// without this, they would push everything else out of the list.
    told_waits: BTreeMap<Option<PodIndex>, BTreeSet<&'static str>>,
}

impl Narrator {
    /// Remembers who asked for what is about to be done to a pod.
    pub(super) fn note_asker(&mut self, pod: PodIndex, by: Actor) {
        self.askers.insert(pod, by);
    }

    /// Tells what happened between two pictures, causes before what follows
    /// from them.
    pub(super) fn tell(&mut self, before: &Published, after: &Published) -> Vec<Told> {
        let mut told = Vec::new();
        told.extend(link(&before.mesos, &after.mesos, &after.record));
        told.extend(cluster(&before.record.cluster, &after.record.cluster));
        let nobody = Pod::default();
        let pods = before.record.pods.keys().chain(after.record.pods.keys());
        for index in pods.copied().collect::<BTreeSet<PodIndex>>() {
            let was = name_before(index, &before.record, &after.record);
            let old = was.and_then(|was| before.record.pods.get(&was));
            let pod = PodChange {
                index,
                was,
                before: old.unwrap_or(&nobody),
                after: after.record.pods.get(&index).unwrap_or(&nobody),
                asker: self.askers.get(&index.successor()),
            };
            told.extend(pod.name());
            told.extend(pod.place(&after.record));
            told.extend(pod.membership(&after.record));
            told.extend(pod.launch(after));
            told.extend(pod.status(before, after));
        }
        told.extend(defragmented(&before.record, &after.record));
        told.extend(self.leader(after));
        for told in &told {
            self.told_waits.remove(&told.pod);
        }
        told.extend(self.waits(before, after));
        self.forget_askers(after);
        told
    }

    fn leader(&mut self, after: &Published) -> Option<Told> {
        let leader = after.leader?;
        let before = self.last_leader.replace(leader);
        (before != Some(leader)).then(|| {
            Told::of_service(What::LeaderMoved {
                from: before.map(|id| name(&after.record, id)),
                to: name(&after.record, leader),
            })
        })
    }

    fn waits(&mut self, before: &Published, after: &Published) -> Vec<Told> {
        let mut told = Vec::new();
        let pods = before.waiting.keys().chain(after.waiting.keys());
        let pods: BTreeSet<PodIndex> = pods.copied().collect();
        for waiter in [None].into_iter().chain(pods.into_iter().map(Some)) {
            let reason = |view: &Published| match waiter {
                None => view.service_waiting.clone(),
                Some(pod) => view.waiting.get(&pod).cloned(),
            };
            let (old, new) = (reason(before), reason(after));
            let code = new.as_ref().map(|reason| reason.code());
            if old.as_ref().map(|reason| reason.code()) == code {
                continue;
            }
            let is_news = match code {
                Some(code) if TOLD_OTHERWISE.contains(&code) => false,
                Some(code) => self.told_waits.entry(waiter).or_default().insert(code),
                // That a pod waits no more is news even if its last reason was
                // told by other events: it is well.
                None => self.told_waits.remove(&waiter).is_some() || waiter.is_some(),
            };
            if is_news {
                let what = What::WaitingChanged {
                    code: code.map(str::to_owned),
                };
                told.push(Told {
                    pod: waiter,
                    ..Told::of_service(what).because(new.map(|reason| reason.to_string()))
                });
            }
        }
        told
    }

    /// What was asked for a pod has been done once the pod is well again.
    fn forget_askers(&mut self, after: &Published) {
        self.askers.retain(|index, _| {
            after.record.pods.get(index).is_some_and(|pod| {
                let stops = live(pod).is_some_and(|launch| launch.stop_asked.is_some());
                pod.restart_asked || stops || !after.healthy.contains(index)
            })
        });
    }
}

fn link(before: &MesosLink, after: &MesosLink, record: &Record) -> Option<Told> {
    match (before, after) {
        (MesosLink::Connected(_), MesosLink::Disconnected { why }) => {
            Some(Told::of_service(What::SubscriptionLost).because(Some(why)))
        }
        (MesosLink::Connected(old), MesosLink::Connected(new))
            if old.epoch == new.epoch =>
        {
            None
        }
        (_, MesosLink::Connected(_)) => {
            let framework_id = record.framework_id.as_ref().map(|id| id.0.clone());
            Some(Told::of_service(What::SubscriptionGained { framework_id }))
        }
        (MesosLink::Disconnected { .. }, MesosLink::Disconnected { .. }) => None,
    }
}

/// Whether nobody is this member any more. One that leaves for its successor goes on
/// under another name, and the ids of a birth that failed never were members.
fn has_left(member_id: MemberId, record: &Record) -> bool {
    let mut pods = record.pods.values();
    matches!(record.cluster, Cluster::Formed(_))
        && pods.all(|pod| pod.membership.member_id() != Some(member_id))
}

/// Databases whose new size was seen.
fn defragmented(before: &Record, after: &Record) -> Vec<Told> {
    let sizes = |record: &Record| {
        let round = record.maintenance.round.iter();
        let steps = round.flat_map(|round| &round.steps);
        let done = steps.filter_map(|(pod, step)| match step.stage {
            Stage::Done {
                at,
                size_before,
                size_after: Some(size_after),
            } => Some((*pod, at, size_before, size_after)),
            _ => None,
        });
        done.collect::<Vec<_>>()
    };
    let known = sizes(before);
    let new = sizes(after).into_iter().filter(|it| !known.contains(it));
    new.map(|(pod, _, bytes_before, bytes_after)| {
        let what = What::Defragmented {
            bytes_before,
            bytes_after,
        };
        Told::of_pod(pod, what)
    })
    .collect()
}

fn cluster(before: &Cluster, after: &Cluster) -> Option<Told> {
    if before == after {
        return None;
    }
    match after {
        Cluster::Unborn => None,
        Cluster::Forming(incarnation) => {
            let cluster_id = incarnation.cluster_id.to_string();
            Some(Told::of_service(What::ClusterForming { cluster_id }))
        }
        Cluster::Abandoning { incarnation, why } => {
            let cluster_id = incarnation.cluster_id.to_string();
            let what = What::BirthAbandoned { cluster_id };
            Some(Told::of_service(what).because(Some(why)))
        }
        Cluster::Formed(incarnation) => {
            let cluster_id = incarnation.cluster_id.to_string();
            Some(Told::of_service(What::ClusterFormed { cluster_id }))
        }
    }
}

/// Under which name a pod was known before; none for one that begins anew. A member that
/// leaves once its successor has joined takes everything along to a name of its own.
fn name_before(index: PodIndex, before: &Record, after: &Record) -> Option<PodIndex> {
    let successor = index.successor();
    let goes_on = |record: &Record| record.pods.contains_key(&successor.leaving());
    let is_renamed = goes_on(after) && !goes_on(before);
    match (is_renamed, index.is_leaving()) {
        (false, _) => Some(index),
        (true, true) => Some(successor),
        (true, false) => None,
    }
}

/// One pod in both pictures.
struct PodChange<'a> {
    index: PodIndex,
    /// Its name in the first one, if it is there.
    was: Option<PodIndex>,
    before: &'a Pod,
    after: &'a Pod,
    asker: Option<&'a Actor>,
}

impl PodChange<'_> {
    fn told(&self, what: What) -> Told {
        Told::of_pod(self.index, what)
    }

    fn name(&self) -> Option<Told> {
        let was = self.was.filter(|was| *was != self.index)?;
        let goes_on = Told::of_pod(
            was,
            What::MemberLeaves {
                goes_on_as: self.index.to_string(),
            },
        );
        Some(Told {
            asked_by: self.asker.cloned(),
            ..goes_on
        })
    }

    fn place(&self, record: &Record) -> Vec<Told> {
        let (old, new) = (&self.before.placement, &self.after.placement);
        let id = |place: &Option<Placement>| {
            place.as_ref().map(|place| place.reservation_id.clone())
        };
        if id(old) == id(new) {
            return Vec::new();
        }
        let lost = old.as_ref().map(|place| self.place_lost(place, record));
        let chosen = new.as_ref().map(|place| {
            self.told(What::PlacementChosen {
                agent_id: place.agent_id.0.clone(),
                host: place.hostname.0.clone(),
            })
        });
        lost.into_iter().chain(chosen).collect()
    }

    /// A place that was never seen since it was asked for could not be had.
    fn place_lost(&self, place: &Placement, record: &Record) -> Told {
        let agent_id = place.agent_id.0.clone();
        let host = place.hostname.0.clone();
        let left = record
            .abandoned
            .iter()
            .find(|left| left.placement.reservation_id == place.reservation_id)
            .map(|left| &left.why);
        let avoided = record.avoided.get(&place.agent_id);
        if matches!(place.stage, PlacementStage::Requested(_)) {
            let why = avoided.map(|avoided| &avoided.why).or(left);
            self.told(What::ReservationFailed { agent_id, host })
                .because(why)
        } else {
            self.told(What::PlacementLost { agent_id, host })
                .because(left)
        }
    }

    fn membership(&self, record: &Record) -> Vec<Told> {
        let (old, new) = (&self.before.membership, &self.after.membership);
        let mut told = Vec::new();
        let id = |id: &MemberId| id.to_string();
        if let Some(member_id) = old.member_id()
            && has_left(member_id, record)
        {
            let member_id = id(&member_id);
            told.push(self.told(What::MemberRemoved { member_id }));
        }
        match new {
            Membership::Founder(enrolled) | Membership::Learner(enrolled)
                if old.member_id() != Some(enrolled.member_id) =>
            {
                let member_id = id(&enrolled.member_id);
                told.push(self.told(What::MemberAdded { member_id }));
            }
            Membership::Voter(enrolled) if !matches!(old, Membership::Voter(_)) => {
                let member_id = id(&enrolled.member_id);
                told.push(self.told(What::MemberPromoted { member_id }));
            }
            Membership::Lost { member_id, why }
                if !matches!(old, Membership::Lost { .. }) =>
            {
                let member_id = id(member_id);
                let told_lost = self.told(What::MemberLost { member_id });
                told.push(told_lost.because(Some(why)));
            }
            _ => {}
        }
        told
    }

    /// The newest launch, that it is to stop, and its end.
    fn launch(&self, after: &Published) -> Vec<Told> {
        let Some(launch) = &self.after.launch else {
            return Vec::new();
        };
        let task_id = &launch.task_id;
        let before = self.before.launch.as_ref();
        let before = before.filter(|before| before.task_id == *task_id);
        let mut told = Vec::new();
        if before.is_none() {
            let place = self.after.placement.as_ref();
            told.push(Told {
                asked_by: self.asker.cloned(),
                ..self.told(What::Launched {
                    task_id: task_id.0.clone(),
                    host: place
                        .map(|place| place.hostname.0.clone())
                        .unwrap_or_default(),
                })
            });
        }
        let was_asked = before.and_then(|before| before.stop_asked);
        if let (None, Some(cause)) = (was_asked, launch.stop_asked) {
            let what = What::StopAsked {
                task_id: task_id.0.clone(),
            };
            told.push(Told {
                asked_by: self.asker_of_stop(launch),
                ..self.told(what).because(Some(words(cause)))
            });
        }
        let had_ended = before.is_some_and(|before| before.end.is_some());
        if let (false, Some(end)) = (had_ended, &launch.end) {
            let what = What::TaskStatus {
                task_id: task_id.0.clone(),
                state: after.task_state(self.index).unwrap_or_default().to_owned(),
                reported: None,
            };
            told.push(Told {
                asked_by: self.asker_of_stop(launch),
                ..self.told(what).because(said(&end.why, None))
            });
        }
        told
    }

    fn asker_of_stop(&self, launch: &Launch) -> Option<Actor> {
        match launch.stop_asked? {
            StopCause::Restart
            | StopCause::Replace
            | StopCause::Pause
            | StopCause::Roll => self.asker.cloned(),
            StopCause::AbandonedBirth => None,
        }
    }

    /// The newest word on a task that lives. Mesos repeats states; a repetition
    /// is no event.
    fn status(&self, before: &Published, after: &Published) -> Option<Told> {
        let launch = live(self.after)?;
        let seen = after.tasks.get(&self.index)?;
        let same_task = |view: &&TaskSeen| view.task_id == seen.task_id;
        let old = self.was.and_then(|was| before.tasks.get(&was));
        let old = old.filter(same_task);
        let phase = |seen: &TaskSeen| {
            let report = seen.report.as_ref();
            report.map(|report| report.phase.to_string())
        };
        let reported = phase(seen);
        let why = said(&seen.words, reported.as_deref());
        let is_old =
            old.is_some_and(|old| old.state == seen.state && phase(old) == reported);
        if is_old || seen.task_id != launch.task_id {
            return None;
        }
        let state = after.task_state(self.index)?;
        let what = What::TaskStatus {
            task_id: seen.task_id.0.clone(),
            state: state.to_owned(),
            reported,
        };
        Some(self.told(what).because(why))
    }
}

/// What Mesos said of a task beside its state, which stands before it, and
/// beside what the executor reported, which Mesos passes on.
fn said<'a>(words: &'a str, reported: Option<&str>) -> Option<&'a str> {
    let end_of_state = words.find([',', ':'])?;
    let said = words[end_of_state..].trim_start_matches([',', ':', ' ']);
    (!said.is_empty() && Some(said) != reported).then_some(said)
}

/// The newest launch, unless it has ended.
fn live(pod: &Pod) -> Option<&Launch> {
    pod.launch.as_ref().filter(|launch| launch.end.is_none())
}

/// The pod of a member, or the id of one that is none of ours.
fn name(record: &Record, member_id: MemberId) -> String {
    record
        .pods
        .iter()
        .find(|(_, pod)| pod.membership.member_id() == Some(member_id))
        .map_or_else(|| member_id.to_string(), |(index, _)| index.to_string())
}

fn words(cause: StopCause) -> &'static str {
    match cause {
        StopCause::Restart => "a restart was asked for",
        StopCause::Roll => "all members are restarted, one after the other",
        StopCause::Pause => "it is paused, or goes on after a pause",
        StopCause::Replace => "another member takes its place",
        StopCause::AbandonedBirth => "the cluster could not form and starts over",
    }
}

/// What happened, in one sentence for people.
pub(super) fn sentence(pod: Option<PodIndex>, what: &What) -> String {
    let subject = pod.map_or_else(|| "the service".to_owned(), |pod| pod.to_string());
    match what {
        What::SchedulerStarted { version } => format!("scheduler {version} started"),
        What::SubscriptionGained { .. } => "subscribed at a Mesos master".to_owned(),
        What::SubscriptionLost => "the subscription at the Mesos master ended".to_owned(),
        What::OperatorRequest { request, taken } => {
            let verdict = if *taken { "taken" } else { "refused" };
            format!("request {verdict}: {request}")
        }
        What::PlacementChosen { host, .. } => format!("{subject} is placed on {host}"),
        What::ReservationFailed { host, .. } => {
            format!("{subject} could not get its place on {host}")
        }
        What::PlacementLost { host, .. } => {
            format!("{subject} has lost its place on {host}")
        }
        What::Launched { host, .. } => format!("{subject} is launched on {host}"),
        What::StopAsked { .. } => format!("{subject} is to stop"),
        What::TaskStatus {
            state,
            reported: Some(reported),
            ..
        } => format!("{subject}: {state}, {reported}"),
        What::TaskStatus { state, .. } => format!("{subject}: {state}"),
        What::MemberAdded { member_id } => format!("{subject} is member {member_id}"),
        What::MemberPromoted { member_id } => {
            format!("{subject} (member {member_id}) is a voter")
        }
        What::MemberLeaves { goes_on_as } => {
            format!("{subject} gets another member; the present one is {goes_on_as} now")
        }
        What::MemberLost { member_id } => {
            format!("{subject} has lost the data of member {member_id}")
        }
        What::MemberRemoved { member_id } => {
            format!("{subject} is member {member_id} no more")
        }
        What::Defragmented {
            bytes_before,
            bytes_after,
        } => format!(
            "{subject} was defragmented: its database had {} MB and has {} MB",
            megabytes(*bytes_before),
            megabytes(*bytes_after)
        ),
        What::LeaderMoved { from, to } => match from {
            Some(from) => format!("{to} leads after {from}"),
            None => format!("{to} leads"),
        },
        What::WaitingChanged { code: Some(code) } => format!("{subject} waits ({code})"),
        What::WaitingChanged { code: None } => {
            format!("{subject} waits for nothing more")
        }
        What::ClusterForming { cluster_id } => {
            format!("cluster {cluster_id} is being founded")
        }
        What::ClusterFormed { cluster_id } => format!("cluster {cluster_id} has formed"),
        What::BirthAbandoned { cluster_id } => {
            format!("cluster {cluster_id} could not form; a new one is begun")
        }
        // Only readers make it.
        What::Unknown => "something happened".to_owned(),
    }
}
