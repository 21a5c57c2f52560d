//! May this voter stop now?

use etcd_launch::PodIndex;

use crate::model::Model;

/// Stub.
pub fn is_healthy_voter_seen(_model: &Model, _index: PodIndex) -> bool {
    false
}
