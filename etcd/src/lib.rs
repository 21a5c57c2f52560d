//! One etcd member and one etcd cluster, seen from outside: through etcd's
//! API and through a member's data directory.
//!
//! * [`identity`]: who the members of a new cluster will be, before any starts.
//! * [`member`]: a client for exactly one member, every call bounded in time.
//! * [`maintenance`] and [`snapshot`]: what that client can do for a member's
//!   database, a copy of it included.
//! * [`version`] and [`known_bugs`]: what a version can do, which of its bugs
//!   can cost data.
//! * [`data_dir`], [`wal`] and [`wal_end`]: what lies in a data directory, whose
//!   it is and how far its log goes, read without etcd and without changing a
//!   byte.
//!
//! This crate decides nothing: it reports and it does what it is told. Ids
//! are etcd's plain 64-bit numbers; [`format_id`] writes them as etcdctl does.

pub mod data_dir;
mod error;
pub mod identity;
pub mod known_bugs;
pub mod maintenance;
pub mod member;
pub mod snapshot;
pub mod version;
pub mod wal;
pub mod wal_end;

pub use data_dir::DataDir;
pub use error::EtcdError;
pub use identity::{BirthIdentity, format_id, parse_id, static_birth};
pub use known_bugs::{DataBug, free_of_known_bugs, known_data_bugs, not_to_be_chosen};
pub use member::{CallLimits, Member, MemberClient, MemberStatus, TlsFiles};
pub use snapshot::{SnapshotStream, SnapshotSum};
pub use version::EtcdVersion;
pub use wal::{WalIdentity, wal_identity};
pub use wal_end::{LogEnd, log_end};
