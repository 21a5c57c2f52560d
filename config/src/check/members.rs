//! How many members, and where.

use super::Findings;

impl Findings<'_> {
    pub(super) fn members(&mut self) {
        let node = &self.options.node;
        if node.count.get() == 1 {
            self.warn(
                "node.count",
                "one member: the cluster stops whenever that member does, and its disk is \
                 the only copy of the data"
                    .to_owned(),
            );
        } else if node.placement_constraint.constraints().is_empty() {
            self.warn(
                "node.placement_constraint",
                "members may share a host, and the loss of that host may then cost the \
                 quorum"
                    .to_owned(),
            );
        }
    }
}
