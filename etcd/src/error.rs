//! What can go wrong between us and a member, told apart as callers need it.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// gRPC's number for "the server, or something before it, did not answer".
const GRPC_UNAVAILABLE: i32 = 14;
/// gRPC's number for "you may not".
const GRPC_PERMISSION_DENIED: i32 = 7;
/// gRPC's number for "I do not know who you are".
const GRPC_UNAUTHENTICATED: i32 = 16;
/// gRPC's number for "this server has no such call".
const GRPC_UNIMPLEMENTED: i32 = 12;
/// gRPC's number for "the deadline passed".
const GRPC_DEADLINE_EXCEEDED: i32 = 4;

/// Everything that this crate reports as failed.
///
/// Messages say what to do where that is known. After a change (add, remove,
/// promote, move) look at [`EtcdError::may_have_happened`]: an answer that
/// never came does not mean that nothing was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// No connection: nothing listens, the TLS handshake failed, or the
    /// connection broke.
    #[error("no connection to etcd at {endpoint}: {detail}")]
    Unreachable {
        /// The client URL that was called.
        endpoint: String,
        /// Every cause that the transport named, outermost first.
        detail: String,
    },

    /// The member did not answer within our own limit.
    #[error("etcd at {endpoint} did not answer {call} within {} ms", limit.as_millis())]
    TimedOut {
        /// The client URL that was called.
        endpoint: String,
        /// Which call.
        call: &'static str,
        /// The limit that passed.
        limit: Duration,
    },

    /// The member answers, but the cluster cannot agree on anything now: no
    /// leader, or a leader that lost its followers.
    #[error(
        "etcd at {endpoint} answers but has no quorum behind it: {message}; \
         bring back members until more than half of the voters run"
    )]
    NoQuorum {
        /// The client URL that was called.
        endpoint: String,
        /// etcd's words.
        message: String,
    },

    /// etcd refuses a membership change because too few voters are up, or
    /// have been connected for less than its five seconds.
    #[error(
        "etcd refuses to change the membership: {message}; \
         wait until all voters have been connected for five seconds"
    )]
    UnhealthyCluster {
        /// etcd's words.
        message: String,
    },

    /// The learner lags behind the leader, or has not started yet.
    #[error("the learner has not caught up with the leader yet; promote it later")]
    LearnerNotReady,

    /// The member to promote is a voter already.
    #[error("the member is a voter already; there is nothing to promote")]
    NotALearner,

    /// The cluster has as many learners as it may have.
    #[error("the cluster has a learner already; promote or remove it first")]
    TooManyLearners,

    /// The called member is a learner, which serves only status and
    /// serializable reads.
    #[error("the member at {endpoint} is a learner and cannot answer this; ask a voter")]
    LearnerCannotServe {
        /// The client URL that was called.
        endpoint: String,
    },

    /// Only the leader can do this, and this member is not the leader.
    #[error("the member at {endpoint} is not the leader; send this to the leader")]
    NotLeader {
        /// The client URL that was called.
        endpoint: String,
    },

    /// The leadership cannot go to this member: it is a learner, or unknown.
    #[error("the target cannot become leader: it must be a voter of this cluster")]
    BadTransferTarget,

    /// No member has this id (it may have been removed before).
    #[error("the cluster has no member with this id; list the members again")]
    MemberNotFound,

    /// A member with this peer URL or id exists already.
    #[error("a member with this peer url or id exists already; list the members")]
    MemberExists,

    /// What lies below the revision is gone already.
    #[error("the revision is compacted already; ask for the newest one")]
    Compacted,

    /// The member has not come to this revision yet.
    #[error("the member has not come to this revision yet; ask for the newest one")]
    FutureRevision,

    /// A snapshot came to an end before it was whole, or is not what the member
    /// sent.
    #[error(
        "the snapshot from etcd at {endpoint} is not whole: {problem}; take it again"
    )]
    BadSnapshot {
        /// The client URL that it came from.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },

    /// etcd demands other credentials.
    #[error("etcd refuses the credentials: {message}; check certificate, user and role")]
    Permission {
        /// etcd's words.
        message: String,
    },

    /// This version of etcd does not know the call.
    #[error("this version of etcd does not know the call {call}")]
    NotSupported {
        /// Which call.
        call: &'static str,
    },

    /// A TLS file cannot be read.
    #[error("cannot read the tls file {}: {source}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The client URL or the TLS files cannot be used.
    #[error("cannot make a client for etcd at {endpoint}: {detail}")]
    BadEndpoint {
        /// The client URL.
        endpoint: String,
        /// What is wrong with it.
        detail: String,
    },

    /// A list of founders that etcd would refuse.
    #[error("bad list of founders: {problem}")]
    BadFounders {
        /// What is wrong with it.
        problem: String,
    },

    /// Not a member or cluster id.
    #[error("{text:?} is no etcd id; expected up to 16 hexadecimal digits")]
    BadId {
        /// What was given.
        text: String,
    },

    /// Not a version of etcd.
    #[error("{text:?} names no etcd version; expected a text such as 3.5.30")]
    BadVersion {
        /// What was given.
        text: String,
    },

    /// A data directory cannot be looked at (which says nothing about its
    /// contents).
    #[error("cannot look into {}: {source}", path.display())]
    DataDirUnreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// Anything else that etcd said.
    #[error("etcd at {endpoint} answered {call} with: {message}")]
    Other {
        /// The client URL that was called.
        endpoint: String,
        /// Which call.
        call: &'static str,
        /// etcd's words.
        message: String,
    },
}

impl EtcdError {
    /// Whether a change that ended with this error may have been made all the
    /// same, or may still be made: the request can have been committed although
    /// the answer was lost. Look at the members before trying again.
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self,
            EtcdError::Unreachable { .. }
                | EtcdError::TimedOut { .. }
                | EtcdError::NoQuorum { .. }
                | EtcdError::Other { .. }
        )
    }

    /// Sorts an error of the client library.
    pub(crate) fn from_client(
        endpoint: &str,
        call: &'static str,
        error: etcd_client::Error,
    ) -> Self {
        let endpoint = endpoint.to_owned();
        match error {
            etcd_client::Error::GRpcStatus(status) => match status.source() {
                // Only a status made on our side has a cause; what the server
                // sent came as text.
                Some(cause) => {
                    let detail = with_causes(status.message(), cause);
                    EtcdError::Unreachable { endpoint, detail }
                }
                None => sort_answer(
                    endpoint,
                    call,
                    status.code() as i32,
                    status.message().to_owned(),
                ),
            },
            etcd_client::Error::TransportError(error) => {
                let detail = with_causes("transport", &error);
                EtcdError::Unreachable { endpoint, detail }
            }
            etcd_client::Error::IoError(error) => {
                let detail = with_causes("connection", &error);
                EtcdError::Unreachable { endpoint, detail }
            }
            other => EtcdError::Other {
                endpoint,
                call,
                message: other.to_string(),
            },
        }
    }
}

/// etcd's words are the only sure sign: several of its answers share one gRPC
/// code. The texts are those of etcd's `rpctypes` package; 3.4 to 3.7 agree on
/// them.
fn sort_answer(
    endpoint: String,
    call: &'static str,
    code: i32,
    message: String,
) -> EtcdError {
    let Some(words) = message.strip_prefix("etcdserver: ") else {
        return sort_by_code(endpoint, call, code, message);
    };
    match words {
        "unhealthy cluster"
        | "re-configuration failed due to not enough started members" => {
            EtcdError::UnhealthyCluster { message }
        }
        "can only promote a learner member which is in sync with leader" => {
            EtcdError::LearnerNotReady
        }
        "can only promote a learner member" => EtcdError::NotALearner,
        "too many learner members in cluster" => EtcdError::TooManyLearners,
        "rpc not supported for learner" => EtcdError::LearnerCannotServe { endpoint },
        "not leader" => EtcdError::NotLeader { endpoint },
        "bad leader transferee" => EtcdError::BadTransferTarget,
        "member not found" => EtcdError::MemberNotFound,
        "member ID already exist" | "Peer URLs already exists" => EtcdError::MemberExists,
        "mvcc: required revision has been compacted" => EtcdError::Compacted,
        "mvcc: required revision is a future revision" => EtcdError::FutureRevision,
        "no leader" | "leader changed" => EtcdError::NoQuorum { endpoint, message },
        // Several endings follow: "possibly due to previous leader failure", ...
        _ if words.starts_with("request timed out") => {
            EtcdError::NoQuorum { endpoint, message }
        }
        "server stopped" => EtcdError::Unreachable {
            endpoint,
            detail: message,
        },
        "permission denied"
        | "invalid auth token"
        | "user name is empty"
        | "authentication failed, invalid user ID or password" => {
            EtcdError::Permission { message }
        }
        _ => EtcdError::Other {
            endpoint,
            call,
            message,
        },
    }
}

fn sort_by_code(
    endpoint: String,
    call: &'static str,
    code: i32,
    message: String,
) -> EtcdError {
    match code {
        GRPC_PERMISSION_DENIED | GRPC_UNAUTHENTICATED => {
            EtcdError::Permission { message }
        }
        GRPC_UNIMPLEMENTED => EtcdError::NotSupported { call },
        // etcd 3.4 and 3.5 let Go's own words through when their inner limit
        // passes while they wait for the quorum.
        GRPC_DEADLINE_EXCEEDED => EtcdError::NoQuorum { endpoint, message },
        _ if message.contains("context deadline exceeded") => {
            EtcdError::NoQuorum { endpoint, message }
        }
        GRPC_UNAVAILABLE => EtcdError::Unreachable {
            endpoint,
            detail: message,
        },
        _ => EtcdError::Other {
            endpoint,
            call,
            message,
        },
    }
}

/// What happened and why in one line, without saying the same twice in a row.
fn with_causes(what: &str, cause: &(dyn std::error::Error + 'static)) -> String {
    let mut text = what.to_owned();
    let mut last = text.clone();
    let mut next = Some(cause);
    while let Some(error) = next {
        let said = error.to_string();
        if !last.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        last = said;
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: i32, message: &str) -> String {
        let error = sort_answer(
            "http://x:1".to_owned(),
            "member add",
            code,
            message.to_owned(),
        );
        let kind = format!("{error:?}");
        kind.split([' ', '{']).next().unwrap().to_owned()
    }

    /// Codes and texts as etcd sends them.
    #[test]
    fn etcds_answers_are_sorted() {
        #[track_caller]
        fn check(code: i32, message: &str, expected: &str) {
            assert_eq!(sorted(code, message), expected, "{message}");
        }
        check(14, "etcdserver: unhealthy cluster", "UnhealthyCluster");
        check(
            9,
            "etcdserver: re-configuration failed due to not enough started members",
            "UnhealthyCluster",
        );
        check(
            9,
            "etcdserver: can only promote a learner member which is in sync with leader",
            "LearnerNotReady",
        );
        check(
            9,
            "etcdserver: can only promote a learner member",
            "NotALearner",
        );
        check(
            9,
            "etcdserver: too many learner members in cluster",
            "TooManyLearners",
        );
        check(
            14,
            "etcdserver: rpc not supported for learner",
            "LearnerCannotServe",
        );
        check(
            9,
            "etcdserver: rpc not supported for learner",
            "LearnerCannotServe",
        );
        check(9, "etcdserver: not leader", "NotLeader");
        check(9, "etcdserver: bad leader transferee", "BadTransferTarget");
        check(5, "etcdserver: member not found", "MemberNotFound");
        check(9, "etcdserver: member ID already exist", "MemberExists");
        check(9, "etcdserver: Peer URLs already exists", "MemberExists");
        check(14, "etcdserver: no leader", "NoQuorum");
        check(14, "etcdserver: leader changed", "NoQuorum");
        check(14, "etcdserver: request timed out", "NoQuorum");
        check(
            14,
            "etcdserver: request timed out, possibly due to previous leader failure",
            "NoQuorum",
        );
        check(4, "context deadline exceeded", "NoQuorum");
        check(2, "context deadline exceeded", "NoQuorum");
        check(14, "etcdserver: server stopped", "Unreachable");
        check(14, "connection closed", "Unreachable");
        check(7, "etcdserver: permission denied", "Permission");
        check(16, "etcdserver: invalid auth token", "Permission");
        check(3, "etcdserver: user name is empty", "Permission");
        check(16, "whatever", "Permission");
        check(12, "unknown method Downgrade", "NotSupported");
        check(8, "etcdserver: mvcc: database space exceeded", "Other");
        check(15, "etcdserver: corrupt cluster", "Other");
        check(13, "boom", "Other");
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Middle);
        #[derive(Debug, thiserror::Error)]
        #[error("same words")]
        struct Middle(#[source] io::Error);
        let error = Outer(Middle(io::Error::other("same words")));
        assert_eq!(
            with_causes("transport", &error),
            "transport: outer: same words"
        );
    }
}
