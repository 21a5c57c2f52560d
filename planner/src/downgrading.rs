//! etcd's own way back by one minor version.
//!
//! From 3.6 on a cluster can be asked to go back: it works as the minor version before
//! from that moment on, and each member makes its data ready for that one and says so.
//! Only when all have does the first of them get the older etcd, for it would end on
//! data of the newer one. When the last one has it, etcd itself calls the downgrade done.
//!
//! A downgrade that nobody wants any more is taken back: etcd would go on as the older
//! version for ever, although all members have the newer one.

use std::time::Duration;

use etcd_launch::PodIndex;

use crate::draft::Draft;
use crate::effect::Effect;
use crate::model::Model;
use crate::observed::MemberAnswer;
use crate::programs::EtcdVersion;
use crate::quorum;
use crate::record::Cluster;
use crate::time::Timestamp;

/// After a refusal etcd is not asked again at once: it thinks for up to seven seconds
/// about each, and what is in the way (no quorum, a member that cannot be asked) takes
/// its time to end.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Has etcd asked to go back, and tells what members still have to do for it.
pub(crate) fn prepare(draft: &mut Draft<'_>, to: EtcdVersion) -> Option<String> {
    let model = draft.model;
    let mut is_enabled = false;
    let mut behind = None;
    for voter in quorum::voters(&draft.record) {
        let Some(answer) = answer_to_last_question(model, voter) else {
            return Some(format!("{voter} has to tell of which version its data is"));
        };
        is_enabled |= goes_back_to(answer, to);
        if !is_ready(answer, to) {
            behind.get_or_insert(voter);
        }
    }
    if !is_enabled {
        return Some(ask(draft, Effect::EnableDowngrade { to }));
    }
    let (behind, minor) = (behind?, to.minor_version());
    Some(format!("{behind} makes its data ready for etcd {minor}"))
}

/// Why a member's data is not for an etcd that others have already.
pub(crate) fn not_ready(
    model: &Model,
    index: PodIndex,
    to: EtcdVersion,
) -> Option<String> {
    let answer = quorum::fresh_answer(model, index)?;
    let data = answer.storage_version?;
    let is_newer = (data.major, data.minor) > (to.major, to.minor);
    is_newer.then(|| {
        let (data, minor) = (data.minor_version(), to.minor_version());
        format!("the data of {index} is of etcd {data}, and not of {minor} yet")
    })
}

/// Has a downgrade taken back that leads to another minor version than is wanted, once
/// nobody is launched with that one any more: it would find that the cluster has gone on
/// without it. The newer etcd can do with a cluster that works as the older.
pub(crate) fn take_back_the_unwanted(draft: &mut Draft<'_>) {
    let wanted = draft.model.target.program.version;
    let (Some(wanted), Some(to)) = (wanted, is_on_its_way(draft)) else {
        return;
    };
    let is_given = draft.record.recipes().any(|recipe| {
        let given = recipe.program.version;
        given.is_none_or(|given| given.has_same_minor(to))
    });
    if !to.has_same_minor(wanted) && !is_given {
        ask(draft, Effect::CancelDowngrade);
    }
}

/// To which version the cluster is going back.
fn is_on_its_way(draft: &Draft<'_>) -> Option<EtcdVersion> {
    if !matches!(draft.record.cluster, Cluster::Formed(_)) {
        return None;
    }
    let voters = quorum::voters(&draft.record).into_iter();
    let mut answers = voters.filter_map(|it| answer_to_last_question(draft.model, it));
    answers.find_map(|answer| answer.downgrade_to)
}

/// Puts a question to etcd, unless it thinks about one or has just refused it; says
/// which of these it is.
fn ask(draft: &mut Draft<'_>, question: Effect) -> String {
    let is_asked = draft.model.is_in_flight(|effect| {
        matches!(
            effect,
            Effect::EnableDowngrade { .. } | Effect::CancelDowngrade
        )
    });
    if is_asked {
        return format!("etcd is asked to {question}");
    }
    if let Some((at, why)) = &draft.model.observed.downgrade_refused {
        let again = at.plus(TRY_AGAIN_AFTER);
        if again > draft.now() {
            draft.wake_at(again);
            return format!("etcd was asked to {question}, and did not: {why}");
        }
    }
    let said = format!("etcd is to be asked to {question}");
    draft.effects.push(question);
    said
}

/// What a member said after etcd was last asked for something.
fn answer_to_last_question(model: &Model, index: PodIndex) -> Option<&MemberAnswer> {
    let asked: Option<Timestamp> = model.observed.membership_asked;
    let at = model.observed.probes.get(&index)?.at;
    quorum::fresh_answer(model, index).filter(|_| asked.is_none_or(|asked| at > asked))
}

fn goes_back_to(answer: &MemberAnswer, to: EtcdVersion) -> bool {
    let on_its_way = answer.downgrade_to;
    on_its_way.is_some_and(|on_its_way| on_its_way.has_same_minor(to))
}

fn is_ready(answer: &MemberAnswer, to: EtcdVersion) -> bool {
    let data = answer.storage_version;
    data.is_some_and(|data| data.has_same_minor(to))
}
