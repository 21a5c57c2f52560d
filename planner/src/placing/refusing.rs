//! What an offer must have to hold a pod: each rule that it breaks is a
//! refusal.

use etcd_launch::PodIndex;

use crate::constraints::{self, Spot};
use crate::draft::Draft;
use crate::model::Model;
use crate::offer::{Disk, Offer};
use crate::record::Record;
use crate::target::{DiskWish, Target};
use crate::time::Timestamp;
use crate::waiting::OfferRefusal;

/// What offers for one pod are held against.
pub(super) struct Rules<'a> {
    pub(super) target: &'a Target,
    pub(super) others: &'a [Spot<'a>],
    pub(super) record: &'a Record,
    pub(super) pod: PodIndex,
    model: &'a Model,
    now: Timestamp,
    /// The constraints' refusals, made once: there may be thousands of offers.
    constraint_refusals: Vec<OfferRefusal>,
}

impl<'a> Rules<'a> {
    pub(super) fn of(
        draft: &'a Draft<'_>,
        pod: PodIndex,
        others: &'a [Spot<'a>],
    ) -> Self {
        let target = &draft.model.target;
        let constraints = target.placement.constraints();
        Rules {
            target,
            others,
            record: &draft.record,
            pod,
            model: draft.model,
            now: draft.now(),
            constraint_refusals: constraints
                .iter()
                .map(|constraint| OfferRefusal::Constraint {
                    rule: constraint.to_string(),
                })
                .collect(),
        }
    }

    /// The first rule that the offer breaks, if any.
    pub(super) fn first_refusal(&self, offer: &Offer) -> Option<OfferRefusal> {
        self.refusals(offer).next()
    }

    /// Everything that speaks against the offer, in words.
    pub(super) fn all_refusals(&self, offer: &Offer) -> Vec<String> {
        self.refusals(offer)
            .map(|refusal| match self.detail(&refusal, offer) {
                Some(detail) => format!("{refusal}: {detail}"),
                None => refusal.to_string(),
            })
            .collect()
    }

    /// Rules about the agent first: that one has too little memory just now
    /// says nothing if it could not hold the pod in any case.
    fn refusals(&self, offer: &Offer) -> impl Iterator<Item = OfferRefusal> {
        let spot = Spot::from(offer);
        let in_region = is_in_region(self.model, spot);
        let region = (!in_region).then(|| OfferRefusal::Region {
            wanted: self.target.region.clone(),
        });
        let avoided = self
            .record
            .avoided
            .get(&offer.agent_id)
            .filter(|avoided| avoided.until > self.now)
            .map(|_| OfferRefusal::Avoided);
        let constraints = self.target.placement.constraints();
        let broken = constraints
            .iter()
            .zip(&self.constraint_refusals)
            .filter(move |(constraint, _)| {
                constraints::judge(constraint, spot, self.others).is_err()
            })
            .map(|(_, refusal)| refusal.clone());
        region
            .into_iter()
            .chain(broken)
            .chain(avoided)
            .chain(self.lacking_resources(offer).into_iter().flatten())
    }

    fn lacking_resources(&self, offer: &Offer) -> [Option<OfferRefusal>; 6] {
        let (needs, free) = (&self.target.needs, &offer.free);
        let port = |port: u16| {
            (self.target.reserves_ports() && !free.has_port(port))
                .then_some(OfferRefusal::Port { port })
        };
        let wanted_on_root = match self.target.disk {
            DiskWish::Root => needs.total_disk(),
            DiskWish::Path | DiskWish::Mount { .. } => needs.executor_disk,
        };
        let lacks_root = free.disk < wanted_on_root;
        let lacks_disk =
            self.target.disk != DiskWish::Root && disk_for(self.target, offer).is_none();
        [
            port(needs.client_port),
            port(needs.peer_port),
            (free.cpus < needs.total_cpus()).then(|| OfferRefusal::Cpus {
                wanted: needs.total_cpus(),
            }),
            (free.mem < needs.total_mem()).then(|| OfferRefusal::Mem {
                wanted: needs.total_mem(),
            }),
            lacks_root.then_some(OfferRefusal::Disk {
                wanted: wanted_on_root,
            }),
            lacks_disk.then(|| OfferRefusal::NoSuchDisk {
                kind: self.target.disk.to_string(),
                wanted: needs.volume,
            }),
        ]
    }

    /// What exactly is in the way, where the rule does not say it all.
    fn detail(&self, refusal: &OfferRefusal, offer: &Offer) -> Option<String> {
        let spot = Spot::from(offer);
        let free = &offer.free;
        match refusal {
            OfferRefusal::Constraint { rule } => {
                let constraints = self.target.placement.constraints();
                let constraint = constraints
                    .iter()
                    .find(|constraint| constraint.to_string() == *rule)?;
                let broken = constraints::judge(constraint, spot, self.others).err()?;
                Some(broken.words(&constraint.field, spot))
            }
            OfferRefusal::Region { .. } => spot
                .domain
                .map(|domain| format!("it is in {}", domain.region)),
            OfferRefusal::Avoided => {
                let avoided = self.record.avoided.get(&offer.agent_id)?;
                Some(avoided.why.clone())
            }
            OfferRefusal::Cpus { .. } => Some(format!("{} offered", free.cpus)),
            OfferRefusal::Mem { .. } => Some(format!("{} offered", free.mem)),
            OfferRefusal::Disk { .. } => Some(format!("{} offered", free.disk)),
            OfferRefusal::NoSuchDisk { .. } => {
                Some(format!("{} other disks offered", offer.disks.len()))
            }
            OfferRefusal::Port { .. }
            | OfferRefusal::Taken
            | OfferRefusal::HeldByLeaving { .. } => None,
        }
    }
}

/// Whether an agent is in the wanted region: the one of the masters, unless the
/// options name one or a constraint speaks of regions. Agents and masters that
/// do not say where they are count as near.
pub(super) fn is_in_region(model: &Model, spot: Spot<'_>) -> bool {
    let target = &model.target;
    if target.placement.names_region() {
        return true;
    }
    let of_masters = || model.session()?.master_region.clone();
    match (target.region.clone(), spot.domain) {
        (Some(wanted), Some(domain)) => domain.region == wanted,
        // The operator named a region: an agent that does not say where it is
        // cannot be counted to it.
        (Some(_), None) => false,
        (None, Some(domain)) => of_masters().is_none_or(|region| domain.region == region),
        (None, None) => true,
    }
}

/// The disk of an offer that the volume is made on, and how much of it; none
/// for the ROOT disk, or if there is none.
///
/// A whole disk is the smallest that is large enough; of a shared one, the one
/// with the most room.
pub(super) fn disk_for(target: &Target, offer: &Offer) -> Option<Disk> {
    let wanted = target.needs.volume;
    let fits =
        |disk: &&Disk| disk.size >= wanted && target.disk.is_met_by(Some(&disk.source));
    let candidates = offer.disks.iter().filter(fits);
    match target.disk {
        DiskWish::Root => None,
        DiskWish::Path => {
            let disk = candidates.max_by_key(|disk| disk.size)?;
            Some(Disk {
                source: disk.source.clone(),
                size: wanted,
            })
        }
        DiskWish::Mount { .. } => candidates.min_by_key(|disk| disk.size).cloned(),
    }
}
