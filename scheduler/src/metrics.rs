//! Metrics: counters that the loop raises, and gauges that are read off the
//! published picture at the moment when somebody asks.
//!
//! Names are those of the DC/OS SDK where it has one, with `etcd_scheduler_`
//! before them. The registry belongs to the process and is handed in; nothing
//! here is global.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use etcd_planner::effect::Operation;
use etcd_planner::observed::{MesosLink, OfferStream};
use etcd_planner::plans::Status;
use etcd_planner::{Effect, Outcome};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::published::Published;

/// What every metric's name begins with.
const PREFIX: &str = "etcd_scheduler";

/// Declines for longer than this count as long ones, as in the SDK, whose short
/// ones last 5 seconds and whose long ones two weeks.
const LONG_DECLINE: Duration = Duration::from_secs(60);

/// A turn takes well under a millisecond; one that takes a second holds up
/// everything.
const TURN_BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0];

/// Gauges hold counts, and -1 for a plan with errors.
type Level = Gauge<i64, AtomicI64>;
type One = [(&'static str, String); 1];
type Two = [(&'static str, String); 2];

/// The counters. Cheap to share; raising one takes no lock that anyone holds
/// for long.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    offers_received: Counter,
    offers_processed: Counter,
    revives: Counter,
    suppresses: Counter,
    declines_short: Counter,
    declines_long: Counter,
    operations: Family<One, Counter>,
    task_statuses: Family<One, Counter>,
    mesos_calls: Family<One, Counter>,
    effects: Family<Two, Counter>,
    turns: Histogram,
    store_writes: Counter,
    api_requests: Family<Two, Counter>,
}

impl Metrics {
    /// Registers the counters. Metrics of other parts may already be in the
    /// registry, under prefixes of their own.
    pub fn new(mut registry: Registry) -> Self {
        let ours = registry.sub_registry_with_prefix(PREFIX);
        Metrics {
            offers_received: counter(ours, "offers_received", "Offers that Mesos made"),
            offers_processed: counter(
                ours,
                "offers_processed",
                "Offers that were accepted or declined",
            ),
            revives: counter(ours, "revives", "Times that offers were asked for anew"),
            suppresses: counter(
                ours,
                "suppresses",
                "Times that Mesos was told to send no offers",
            ),
            declines_short: counter(
                ours,
                "declines_short",
                "Offers declined for a minute or less",
            ),
            declines_long: counter(
                ours,
                "declines_long",
                "Offers declined for more than a minute",
            ),
            operations: family(ours, "operation", "Operations on offers, by kind"),
            task_statuses: family(
                ours,
                "task_status",
                "Task statuses from Mesos, by state",
            ),
            mesos_calls: family(ours, "mesos_calls", "Calls sent to Mesos, by type"),
            effects: family(ours, "effects", "Effects, by name and outcome"),
            turns: {
                let turns = Histogram::new(TURN_BUCKETS);
                ours.register(
                    "turn_duration_seconds",
                    "Time for one turn of the event loop, storing included",
                    turns.clone(),
                );
                turns
            },
            store_writes: counter(
                ours,
                "store_writes",
                "Times that the record was stored",
            ),
            api_requests: family(
                ours,
                "api_requests",
                "Requests to the API, by method and status",
            ),
            registry,
        }
    }

    /// Mesos made offers.
    pub fn note_offers(&self, offers: usize) {
        self.offers_received.inc_by(count(offers));
    }

    /// A call was sent to Mesos, for example `ACCEPT`.
    pub fn note_mesos_call(&self, kind: &str) {
        self.mesos_calls.get_or_create(&one("type", kind)).inc();
    }

    /// Mesos told a task's state, for example `TASK_RUNNING`.
    pub fn note_task_status(&self, state: &str) {
        let state = state.to_ascii_lowercase();
        self.task_statuses
            .get_or_create(&one("state", &state))
            .inc();
    }

    /// An effect is issued.
    pub fn note_effect_issued(&self, effect: &Effect) {
        self.effect(effect.name(), "issued");
        match effect {
            Effect::Accept { operations, .. } => {
                self.offers_processed.inc();
                for operation in operations {
                    let kind = operation_name(operation);
                    self.operations.get_or_create(&one("kind", kind)).inc();
                }
            }
            Effect::Decline { offers, refuse } => {
                let offers = count(offers.len());
                self.offers_processed.inc_by(offers);
                if *refuse > LONG_DECLINE {
                    self.declines_long.inc_by(offers);
                } else {
                    self.declines_short.inc_by(offers);
                }
            }
            Effect::Suppress => {
                self.suppresses.inc();
            }
            Effect::Revive => {
                self.revives.inc();
            }
            _ => {}
        }
    }

    /// An effect was carried out, or not.
    pub fn note_effect_done(&self, name: &'static str, outcome: &Outcome) {
        self.effect(
            name,
            match outcome {
                Outcome::Done => "done",
                Outcome::Failed { .. } => "failed",
            },
        );
    }

    fn effect(&self, name: &str, outcome: &str) {
        let labels = [("name", name.to_owned()), ("outcome", outcome.to_owned())];
        self.effects.get_or_create(&labels).inc();
    }

    /// The loop has turned once.
    pub fn note_turn(&self, took: Duration) {
        self.turns.observe(took.as_secs_f64());
    }

    /// The record was stored.
    pub fn note_store_write(&self) {
        self.store_writes.inc();
    }

    /// The API answered a request.
    pub fn note_api_request(&self, method: &str, status: u16) {
        let labels = [
            ("method", method.to_owned()),
            ("status", status.to_string()),
        ];
        self.api_requests.get_or_create(&labels).inc();
    }

    /// Everything in the text form of OpenMetrics, which Prometheus reads.
    ///
    /// # Errors
    ///
    /// Never in practice: writing to a string cannot fail.
    pub fn openmetrics(&self, published: &Published) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)?;
        text::encode_registry(&mut page, &gauges(published))?;
        text::encode_eof(&mut page)?;
        Ok(page)
    }

    /// The SDK's counters by the SDK's names.
    pub fn sdk_counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for (name, counter) in [
            ("offers.received", &self.offers_received),
            ("offers.processed", &self.offers_processed),
            ("revives", &self.revives),
            ("suppresses", &self.suppresses),
            ("declines.short", &self.declines_short),
            ("declines.long", &self.declines_long),
        ] {
            counters.insert(name.to_owned(), counter.get());
        }
        for kind in SDK_OPERATIONS {
            if let Some(counter) = self.operations.get(&one("kind", kind)) {
                counters.insert(format!("operation.{kind}"), counter.get());
            }
        }
        for state in SDK_TASK_STATES {
            if let Some(counter) = self.task_statuses.get(&one("state", state)) {
                counters.insert(format!("task_status.{state}"), counter.get());
            }
        }
        counters
    }
}

/// A launch is a LAUNCH_GROUP to the SDK's dashboards, whatever Mesos' call is.
const SDK_OPERATIONS: [&str; 3] = ["reserve", "create", "launch_group"];

const SDK_TASK_STATES: [&str; 14] = [
    "task_staging",
    "task_starting",
    "task_running",
    "task_killing",
    "task_finished",
    "task_failed",
    "task_killed",
    "task_error",
    "task_lost",
    "task_dropped",
    "task_unreachable",
    "task_gone",
    "task_gone_by_operator",
    "task_unknown",
];

fn operation_name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Reserve(_) | Operation::ReserveMore { .. } => SDK_OPERATIONS[0],
        Operation::UnreserveSurplus { .. } => "unreserve",
        Operation::CreateVolume(_) => SDK_OPERATIONS[1],
        Operation::Launch(_) => SDK_OPERATIONS[2],
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn family<L>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Counter>
where
    L: Clone
        + std::hash::Hash
        + Eq
        + Send
        + Sync
        + std::fmt::Debug
        + prometheus_client::encoding::EncodeLabelSet
        + 'static,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn one(key: &'static str, value: &str) -> One {
    [(key, value.to_owned())]
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What the picture shows, as gauges. Made anew each time, so that a waiting
/// reason that is over is gone and not left at its last value.
fn gauges(published: &Published) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let mut level = |name: &str, help: &str, value: usize| {
        let gauge = Level::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    level(
        "members",
        "Members that are wanted",
        published.target.members.into(),
    );
    level(
        "healthy_voters",
        "Voters that were just seen in good health",
        published.healthy.len(),
    );
    level(
        "has_leader",
        "Whether members know a leader",
        published.leader.is_some().into(),
    );
    level(
        "connected",
        "Whether there is a subscription at a Mesos master",
        matches!(published.mesos, MesosLink::Connected(_)).into(),
    );
    level(
        "is_suppressed",
        "Whether Mesos was told to send no offers",
        is_suppressed(published).into(),
    );
    level(
        "unknown_reservations",
        "Reservations with our labels that no record knows",
        published.unknown_reservations.len(),
    );

    let plan_status = Family::<One, Level>::default();
    for plan in &published.plans {
        plan_status
            .get_or_create(&one("plan", plan.name))
            .set(plan_status_number(plan.status));
    }
    registry.register(
        "plan_status",
        "-1 error, 0 complete, 1 waiting or pending, 2 active",
        plan_status,
    );

    let waiting = Family::<One, Level>::default();
    let reasons = published.waiting.values().chain(&published.service_waiting);
    for reason in reasons {
        waiting.get_or_create(&one("reason", reason.code())).inc();
    }
    registry.register(
        "waiting",
        "Pods that do not go on, and the service itself, by reason",
        waiting,
    );
    registry
}

/// Whether Mesos was told to send no offers.
pub fn is_suppressed(published: &Published) -> bool {
    match &published.mesos {
        MesosLink::Connected(session) => session.offers == OfferStream::Suppressed,
        MesosLink::Disconnected { .. } => false,
    }
}

/// The SDK's numbers. A delayed plan waits, which the SDK forgot to say.
pub fn plan_status_number(status: Status) -> i64 {
    match status {
        Status::Error => -1,
        Status::Complete => 0,
        Status::Waiting | Status::Pending | Status::Delayed => 1,
        Status::Prepared | Status::Starting | Status::Started | Status::InProgress => 2,
    }
}
