//! `GET /v1/snapshot`: a copy of a member's database, with what is known of it in
//! headers.
//!
//! The body is what etcd sends: the database file, and behind it the SHA-256 of all
//! of it in 32 bytes, as `etcdctl snapshot save` writes it. The scheduler sends
//! those 32 bytes only when they are right, and otherwise breaks the answer off.

/// A revision that the snapshot has surely come to; it may hold newer ones.
pub const REVISION_HEADER: &str = "etcd-snapshot-revision";

/// The id of the member that it was taken from, as etcdctl writes it.
pub const MEMBER_HEADER: &str = "etcd-snapshot-member";

/// That member's pod.
pub const POD_HEADER: &str = "etcd-snapshot-pod";

/// That member's version of etcd, which is the one to restore it with.
pub const VERSION_HEADER: &str = "etcd-snapshot-version";
