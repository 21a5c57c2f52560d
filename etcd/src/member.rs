//! A client for one member.
//!
//! Administration needs to know *which* member answers: sizes, hashes and the
//! leader's identity differ from member to member. So there is one client for
//! one client URL, and no balancing. Every call ends within a limit, and a
//! member that is stopped, wedged or unreachable costs no more than that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Certificate, Client, ConnectOptions, GetOptions, Identity,
    MemberAddOptions, TlsOptions,
};

use crate::EtcdError;

/// How long each kind of call may take. Argued at the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// For opening a TCP connection and shaking hands.
    pub connect: Duration,
    /// For what a member answers by itself.
    pub local: Duration,
    /// For what needs the agreement of a quorum.
    pub quorum: Duration,
    /// For reading the whole key space once.
    pub hash: Duration,
}

/// Members sit in one data centre, or a few milliseconds apart; a member that
/// takes two seconds to accept a connection is not one to wait for.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A member answers its status from memory. Three seconds cover a stalled disk
/// or a busy CPU without holding up the round of probes for long.
const LOCAL_LIMIT: Duration = Duration::from_secs(3);
/// etcd gives up on its quorum after five seconds plus two election timeouts
/// (seven seconds by default) and then says why; we wait a little longer, for
/// its words are worth more than our own "no answer".
const QUORUM_LIMIT: Duration = Duration::from_secs(8);
/// Hashing reads every key: about a second a gigabyte, and a suggested maximum
/// of eight gigabytes, on a disk that may be busy.
const HASH_LIMIT: Duration = Duration::from_secs(60);

impl Default for CallLimits {
    fn default() -> Self {
        CallLimits {
            connect: CONNECT_LIMIT,
            local: LOCAL_LIMIT,
            quorum: QUORUM_LIMIT,
            hash: HASH_LIMIT,
        }
    }
}

/// PEM files for a TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that may have signed the member's certificate.
    pub ca: PathBuf,
    /// Our certificate and its key, where the member asks for one.
    pub identity: Option<ClientIdentity>,
}

/// Our certificate for members that check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// What a member says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The cluster that it belongs to.
    pub cluster_id: u64,
    /// Its own id.
    pub member_id: u64,
    /// Its program's version, such as `3.5.30`.
    pub version: String,
    /// The oldest minor version that could read its data, such as `3.6.0`; told from
    /// 3.6 on, and not before the member knows.
    pub storage_version: Option<String>,
    /// To which minor version the cluster is going back, such as `3.5.0`; told from
    /// 3.6 on.
    pub downgrade_to: Option<String>,
    /// Size of the database file, bytes.
    pub db_size: u64,
    /// Bytes of the file that hold data; the rest a defragmentation frees.
    pub db_size_in_use: u64,
    /// Who leads, as far as this member knows; none without quorum.
    pub leader: Option<u64>,
    /// Raft's term as this member knows it.
    pub raft_term: u64,
    /// The last raft entry that this member knows to be committed.
    pub raft_index: u64,
    /// The last raft entry that it has applied.
    pub raft_applied_index: u64,
    /// The newest revision of its key space.
    pub revision: i64,
    /// Whether it has no vote yet.
    pub is_learner: bool,
    /// What it complains of: alarms, no leader.
    pub errors: Vec<String>,
}

impl MemberStatus {
    /// Whether this member leads the cluster.
    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.member_id)
    }
}

/// One entry of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty until the member has started for the first time.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started for the first time.
    pub client_urls: Vec<String>,
    /// Whether it has no vote yet.
    pub is_learner: bool,
}

impl Member {
    /// Whether it has ever started: a member publishes its name when it does.
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }

    fn from_client(member: &etcd_client::Member) -> Self {
        Member {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
            is_learner: member.is_learner(),
        }
    }
}

/// An alarm that is raised until somebody disarms it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// Which member raised it; 0 when etcd cannot tell.
    pub member_id: u64,
    /// Why.
    pub kind: AlarmKind,
}

/// Why an alarm was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AlarmKind {
    /// The database reached its quota; writes are refused.
    NoSpace,
    /// The member's data differs from the others'.
    Corrupt,
}

/// What a member has in its key space at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    /// The hash. Comparable between members only if the revision and the
    /// compaction revision are the same.
    pub hash: u32,
    /// Everything below this revision is gone.
    pub compact_revision: i64,
    /// The newest revision when the hash was taken.
    pub revision: i64,
}

/// etcd refuses an empty key; this one sorts before every other key and no
/// client of ours writes it. Whether it exists does not matter.
const QUORUM_PROBE_KEY: &[u8] = b"\0";

/// A client for one member. Cheap to clone.
#[derive(Clone)]
pub struct MemberClient {
    endpoint: String,
    pub(crate) limits: CallLimits,
    pub(crate) client: Client,
}

impl std::fmt::Debug for MemberClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberClient")
            .field("endpoint", &self.endpoint)
            .finish()
    }
}

impl MemberClient {
    /// Makes a client for the member at `client_url`, such as
    /// `http://127.0.0.2:2379`. See [`MemberClient::connect_with`].
    ///
    /// # Errors
    ///
    /// As [`MemberClient::connect_with`].
    pub async fn connect(
        client_url: &str,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, EtcdError> {
        Self::connect_with(client_url, tls, CallLimits::default()).await
    }

    /// Makes a client with other limits.
    ///
    /// The connection itself is opened by the first call, and again after it
    /// broke, so a client may be made for a member that is not up yet.
    ///
    /// # Errors
    ///
    /// [`EtcdError::TlsFile`] when a file cannot be read, and
    /// [`EtcdError::BadEndpoint`] when the URL cannot be used, or is `http://`
    /// although TLS files are given, or `https://` although none are.
    pub async fn connect_with(
        client_url: &str,
        tls: Option<&TlsFiles>,
        limits: CallLimits,
    ) -> Result<Self, EtcdError> {
        let bad_endpoint = |detail: String| EtcdError::BadEndpoint {
            endpoint: client_url.to_owned(),
            detail,
        };
        let needs_tls = match client_url.split_once("://") {
            Some(("http", _)) => false,
            Some(("https", _)) => true,
            _ => return Err(bad_endpoint("expected http:// or https://".to_owned())),
        };
        // The library would quietly fall back to the wrong one of the two.
        if needs_tls != tls.is_some() {
            return Err(bad_endpoint(
                "https:// goes with tls files, http:// without".to_owned(),
            ));
        }
        let mut options = ConnectOptions::new().with_connect_timeout(limits.connect);
        if let Some(files) = tls {
            options = options.with_tls(read_tls_files(files).await?);
        }
        let client = Client::connect([client_url], Some(options))
            .await
            .map_err(|error| bad_endpoint(error.to_string()))?;
        Ok(MemberClient {
            endpoint: client_url.to_owned(),
            limits,
            client,
        })
    }

    /// The client URL that this client calls.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the member says about itself. Needs no quorum.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Unreachable`], [`EtcdError::TimedOut`].
    pub async fn status(&self) -> Result<MemberStatus, EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let answer = self
            .bounded("status", self.limits.local, maintenance.status())
            .await?;
        let header = answer.header().ok_or_else(|| self.no_header("status"))?;
        let storage_version = Some(answer.storage_version()).filter(|it| !it.is_empty());
        let downgrade = answer.downgrade_info().filter(|it| it.enabled());
        Ok(MemberStatus {
            cluster_id: header.cluster_id(),
            member_id: header.member_id(),
            version: answer.version().to_owned(),
            storage_version: storage_version.map(str::to_owned),
            downgrade_to: downgrade.map(|it| it.target_version().to_owned()),
            db_size: byte_count(answer.db_size()),
            db_size_in_use: byte_count(answer.raft_used_db_size()),
            leader: Some(answer.leader()).filter(|id| *id != 0),
            raft_term: answer.raft_term(),
            raft_index: answer.raft_index(),
            raft_applied_index: answer.raft_applied_index(),
            revision: header.revision(),
            is_learner: answer.is_learner(),
            errors: answer.errors().to_vec(),
        })
    }

    /// The members of the cluster, no older than the moment of the call.
    ///
    /// etcd 3.4 answers from the member's own copy, and the client library
    /// asks newer versions for that too. A linearizable read from the same
    /// member goes before it: once that is answered, the member has applied
    /// all that was committed, membership changes included. It is what newer
    /// versions do inside when asked for a linearizable list.
    ///
    /// # Errors
    ///
    /// [`EtcdError::NoQuorum`] or [`EtcdError::TimedOut`] when the member
    /// cannot know, [`EtcdError::LearnerCannotServe`] from a learner.
    pub async fn members(&self) -> Result<Vec<Member>, EtcdError> {
        self.linearizable_read().await?;
        self.members_as_this_one_knows().await
    }

    /// The members as this member's own copy of the list has them, which may
    /// be old. Needs no quorum.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Unreachable`], [`EtcdError::TimedOut`],
    /// [`EtcdError::LearnerCannotServe`].
    pub async fn members_as_this_one_knows(&self) -> Result<Vec<Member>, EtcdError> {
        let mut cluster = self.client.cluster_client();
        let answer = self
            .bounded("member list", self.limits.local, cluster.member_list())
            .await?;
        Ok(answer.members().iter().map(Member::from_client).collect())
    }

    /// Reads a key that is not there, linearizably: proof that the member can
    /// reach a quorum. Gives the newest revision of the key space.
    ///
    /// # Errors
    ///
    /// [`EtcdError::NoQuorum`] or [`EtcdError::TimedOut`] without a quorum.
    pub async fn linearizable_read(&self) -> Result<i64, EtcdError> {
        let mut kv = self.client.kv_client();
        let read = kv.get(QUORUM_PROBE_KEY, Some(GetOptions::new().with_count_only()));
        let answer = self
            .bounded("linearizable read", self.limits.quorum, read)
            .await?;
        let header = answer
            .header()
            .ok_or_else(|| self.no_header("linearizable read"))?;
        Ok(header.revision())
    }

    /// Adds a member without a vote, which is to be reached at `peer_url`.
    ///
    /// # Errors
    ///
    /// [`EtcdError::UnhealthyCluster`], [`EtcdError::TooManyLearners`],
    /// [`EtcdError::MemberExists`]; see [`EtcdError::may_have_happened`].
    pub async fn add_learner(&self, peer_url: &str) -> Result<Member, EtcdError> {
        let mut cluster = self.client.cluster_client();
        let options = MemberAddOptions::new().with_is_learner();
        let add = cluster.member_add([peer_url.to_owned()], Some(options));
        let answer = self.bounded("member add", self.limits.quorum, add).await?;
        let member = answer
            .member()
            .ok_or_else(|| self.no_header("member add"))?;
        Ok(Member::from_client(member))
    }

    /// Removes a member for good: its id never comes back.
    ///
    /// # Errors
    ///
    /// [`EtcdError::MemberNotFound`] when it is gone already,
    /// [`EtcdError::UnhealthyCluster`] when the rest would be too few; see
    /// [`EtcdError::may_have_happened`].
    pub async fn remove(&self, member_id: u64) -> Result<(), EtcdError> {
        let mut cluster = self.client.cluster_client();
        let remove = cluster.member_remove(member_id);
        self.bounded("member remove", self.limits.quorum, remove)
            .await?;
        Ok(())
    }

    /// Gives a learner its vote.
    ///
    /// # Errors
    ///
    /// [`EtcdError::LearnerNotReady`] while it lags,
    /// [`EtcdError::NotALearner`] when it votes already,
    /// [`EtcdError::MemberNotFound`]; see [`EtcdError::may_have_happened`].
    pub async fn promote(&self, member_id: u64) -> Result<(), EtcdError> {
        let mut cluster = self.client.cluster_client();
        let promote = cluster.member_promote(member_id);
        self.bounded("member promote", self.limits.quorum, promote)
            .await?;
        Ok(())
    }

    /// Records other peer URLs for a member. (Before 3.5.31 and 3.6.12 this
    /// gave a learner its vote: do not use it on one there.)
    ///
    /// # Errors
    ///
    /// [`EtcdError::MemberNotFound`], [`EtcdError::MemberExists`] when another
    /// member has the URL; see [`EtcdError::may_have_happened`].
    pub async fn update_peer_urls(
        &self,
        member_id: u64,
        peer_urls: &[String],
    ) -> Result<(), EtcdError> {
        let mut cluster = self.client.cluster_client();
        let update = cluster.member_update(member_id, peer_urls);
        self.bounded("member update", self.limits.quorum, update)
            .await?;
        Ok(())
    }

    /// Hands the leadership from this member, which must be the leader, to
    /// another voter. Answered when the target leads.
    ///
    /// # Errors
    ///
    /// [`EtcdError::NotLeader`], [`EtcdError::BadTransferTarget`],
    /// [`EtcdError::NoQuorum`] when the target does not take it in time.
    pub async fn move_leader(&self, target_member_id: u64) -> Result<(), EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let transfer = maintenance.move_leader(target_member_id);
        self.bounded("move leader", self.limits.quorum, transfer)
            .await?;
        Ok(())
    }

    /// The alarms of the whole cluster, as this member has applied them.
    ///
    /// # Errors
    ///
    /// [`EtcdError::NoQuorum`]: the question goes through raft.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let ask = maintenance.alarm(AlarmAction::Get, AlarmType::None, None);
        let answer = self.bounded("alarm list", self.limits.quorum, ask).await?;
        let mut alarms: Vec<Alarm> = answer
            .alarms()
            .iter()
            .filter_map(|alarm| {
                let kind = match alarm.alarm() {
                    AlarmType::Nospace => AlarmKind::NoSpace,
                    AlarmType::Corrupt => AlarmKind::Corrupt,
                    AlarmType::None => return None,
                };
                Some(Alarm {
                    member_id: alarm.member_id(),
                    kind,
                })
            })
            .collect();
        alarms.sort_unstable();
        Ok(alarms)
    }

    /// Hashes the member's key space up to `revision`; 0 means the newest.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Compacted`], [`EtcdError::FutureRevision`].
    pub async fn hash_kv(&self, revision: i64) -> Result<KvHash, EtcdError> {
        let mut maintenance = self.client.maintenance_client();
        let hash = maintenance.hash_kv(revision);
        let answer = self.bounded("hash kv", self.limits.hash, hash).await?;
        let header = answer.header().ok_or_else(|| self.no_header("hash kv"))?;
        Ok(KvHash {
            hash: answer.hash(),
            compact_revision: answer.compact_version(),
            revision: header.revision(),
        })
    }

    /// Runs one call within its limit and sorts its error.
    pub(crate) async fn bounded<Answer>(
        &self,
        call: &'static str,
        limit: Duration,
        answer: impl Future<Output = Result<Answer, etcd_client::Error>>,
    ) -> Result<Answer, EtcdError> {
        // The futures of generated code are large; on the heap they cost the
        // callers' futures nothing.
        match tokio::time::timeout(limit, Box::pin(answer)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(EtcdError::from_client(&self.endpoint, call, error)),
            Err(_) => {
                let endpoint = self.endpoint.clone();
                Err(EtcdError::TimedOut {
                    endpoint,
                    call,
                    limit,
                })
            }
        }
    }

    fn no_header(&self, call: &'static str) -> EtcdError {
        EtcdError::Other {
            endpoint: self.endpoint.clone(),
            call,
            message: "an answer without the header that says who answers".to_owned(),
        }
    }
}

/// etcd sends sizes as signed numbers, though none is negative.
fn byte_count(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

async fn read_tls_files(files: &TlsFiles) -> Result<TlsOptions, EtcdError> {
    let mut options = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(read_pem(&files.ca).await?));
    if let Some(identity) = &files.identity {
        let certificate = read_pem(&identity.certificate).await?;
        let key = read_pem(&identity.key).await?;
        options = options.identity(Identity::from_pem(certificate, key));
    }
    Ok(options)
}

async fn read_pem(path: &Path) -> Result<Vec<u8>, EtcdError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| EtcdError::TlsFile {
            path: path.to_owned(),
            source,
        })
}
