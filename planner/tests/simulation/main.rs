//! The planner in a simulated world: whatever breaks, and wherever the
//! scheduler crashes, nothing acknowledged is lost, and in the end all is well.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chance;
mod etcd;
mod world;

use etcd_config::DeployStrategy;
use world::{Faults, Service, World};

/// After the faults end, the world must be well within this many seconds.
const RECOVERS_WITHIN: u64 = 1_500;

fn run(seed: u64, service: Service, faults: Faults) -> Result<(), String> {
    let faults_until = faults.until;
    let mut world = World::new(seed, service, faults);
    let tracing = tracing();
    world.tracing = tracing;
    let result = run_world(&mut world, faults_until);
    if tracing {
        println!("{}", world.trace.join("\n"));
    }
    result.map_err(|error| {
        let decision = world.decide();
        format!(
            "seed {seed}: {error}\n{decision}record: {:?}\netcd: {:?}\n",
            world.model.record, world.etcd.clusters
        )
    })
}

fn run_world(world: &mut World, faults_until: u64) -> Result<(), String> {
    let mut well_for = 0;
    for tick in 0..faults_until + RECOVERS_WITHIN {
        world.step()?;
        well_for = if world.is_well() { well_for + 1 } else { 0 };
        if tick > faults_until && well_for > 10 {
            return is_at_rest(world);
        }
    }
    let decision = world.decide();
    if world.is_quorum_lost_for_good() && !decision.waiting.is_empty() {
        // Not to be guessed at; what can be asked for is that it is explained.
        return Ok(());
    }
    Err(format!(
        "not well {RECOVERS_WITHIN} seconds after the last fault"
    ))
}

/// When all is well there is nothing to do and nothing to explain.
fn is_at_rest(world: &mut World) -> Result<(), String> {
    let calls = world.calls;
    let given_back = world.places_to_give_back();
    for _ in 0..20 {
        world.step()?;
    }
    let decision = world.decide();
    let is_explained = decision.waiting.is_empty() || world.model.target.members == 1;
    if !decision.effects.is_empty() || !is_explained {
        return Err(format!("all is well, and still:\n{decision}"));
    }
    world.check_end_state()?;
    // An agent that only now comes back is asked about, and its offers are declined.
    // More than that is no rest.
    let made = world.calls - calls;
    if made > 4 + 2 * given_back {
        Err(format!("{made} calls in 20 seconds at rest"))
    } else {
        Ok(())
    }
}

fn seeds() -> u64 {
    std::env::var("ETCD_SIMULATION_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000)
}

fn check_all(name: &str, each: impl Fn(u64) -> Result<(), String>) {
    if let Some(seed) = std::env::var("ETCD_SIMULATION_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        each(seed).unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    let started = std::time::Instant::now();
    let count = seeds();
    let failures: Vec<String> = (0..count).filter_map(|seed| each(seed).err()).collect();
    let rate = count as f64 * 60.0 / started.elapsed().as_secs_f64();
    println!("{name}: {count} seeds, {rate:.0} seeds a minute");
    assert!(
        failures.is_empty(),
        "{} of {count} seeds failed; run one with ETCD_SIMULATION_SEED=n and --nocapture\n{}",
        failures.len(),
        failures[..failures.len().min(3)].join("\n")
    );
}

fn tracing() -> bool {
    std::env::var("ETCD_SIMULATION_SEED").is_ok()
}

const STRATEGIES: [DeployStrategy; 4] = [
    DeployStrategy::Parallel,
    DeployStrategy::Serial,
    DeployStrategy::SerialCanary,
    DeployStrategy::ParallelCanary,
];

/// One of several, by the seed.
fn by_seed<T: Copy>(seed: u64, of: &[T]) -> T {
    of[usize::try_from(seed).unwrap() % of.len()]
}

/// As many agents as members, and so many more.
fn service(members: u16, spare_agents: usize, strategy: DeployStrategy) -> Service {
    Service {
        members,
        agents: usize::from(members) + spare_agents,
        strategy,
        replace_after_ms: None,
        zoned: false,
    }
}

#[test]
fn undisturbed() {
    check_all("undisturbed", |seed| {
        run(seed, service(3, 0, DeployStrategy::Parallel), Faults::NONE)
    });
}

#[test]
fn transient_faults_and_crashes() {
    check_all("transient faults and crashes", |seed| {
        let faults = Faults {
            until: 120,
            crash: 30,
            breakage: 10,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[1, 3, 3, 5]);
        run(seed, service(members, 0, DeployStrategy::Parallel), faults)
    });
}

#[test]
fn one_member_lost_for_good() {
    check_all("one member lost for good", |seed| {
        let faults = Faults {
            until: 120,
            crash: 40,
            breakage: 12,
            losses: 1,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[3, 3, 5]);
        run(seed, service(members, 1, DeployStrategy::Parallel), faults)
    });
}

#[test]
fn growth_from_one_member() {
    check_all("growth from one member", |seed| {
        let faults = Faults {
            until: 120,
            crash: 30,
            breakage: 10,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[1, 3, 3, 5]);
        run(seed, service(members, 0, DeployStrategy::Serial), faults)
    });
}

#[test]
fn growth_with_one_member_lost_for_good() {
    check_all("growth with one member lost for good", |seed| {
        let faults = Faults {
            until: 120,
            crash: 40,
            breakage: 12,
            losses: 1,
            ..Faults::NONE
        };
        run(seed, service(3, 1, DeployStrategy::Serial), faults)
    });
}

#[test]
fn the_last_agent_has_no_room_for_a_minute() {
    check_all("the last agent has no room for a minute", |seed| {
        let faults = Faults {
            until: 60,
            crash: 60,
            breakage: 30,
            last_agent_is_full: 60,
            ..Faults::NONE
        };
        run(seed, service(3, 0, by_seed(seed, &STRATEGIES)), faults)
    });
}

#[test]
fn plans_are_told_this_and_that() {
    check_all("plans are told this and that", |seed| {
        let faults = Faults {
            until: 120,
            crash: 40,
            breakage: 30,
            commands: 6,
            ..Faults::NONE
        };
        run(seed, service(3, 0, by_seed(seed, &STRATEGIES)), faults)
    });
}

#[test]
fn members_are_replaced() {
    check_all("members are replaced", |seed| {
        let faults = Faults {
            until: 120,
            crash: 40,
            breakage: 20,
            replacements: 25,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[3, 3, 5, 1]);
        run(seed, service(members, 2, DeployStrategy::Parallel), faults)
    });
}

/// One after the other, without any fault: nobody is ever without quorum.
#[test]
fn members_are_replaced_in_peace() {
    check_all("members are replaced in peace", |seed| {
        let faults = Faults {
            until: 120,
            crash: u64::MAX,
            breakage: u64::MAX,
            replacements: 25,
            ..Faults::NONE
        };
        run(seed, service(3, 1, DeployStrategy::Parallel), faults)
    });
}

/// With one member a zone the successor can be nowhere while its predecessor is there:
/// that leaves first.
#[test]
fn members_are_replaced_within_their_zones() {
    check_all("members are replaced within their zones", |seed| {
        let is_peaceful = seed.is_multiple_of(2);
        let faults = Faults {
            until: 300,
            crash: if is_peaceful { u64::MAX } else { 60 },
            breakage: if is_peaceful { u64::MAX } else { 40 },
            replacements: 90,
            ..Faults::NONE
        };
        let service = Service {
            zoned: true,
            ..service(3, 3, DeployStrategy::Parallel)
        };
        run(seed, service, faults)
    });
}

/// Pauses, and members that somebody removes or adds behind the scheduler's back.
#[test]
fn an_operator_works_by_hand() {
    check_all("an operator works by hand", |seed| {
        let faults = Faults {
            until: 120,
            crash: 40,
            breakage: 30,
            hands: 20,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[3, 3, 5]);
        run(seed, service(members, 1, DeployStrategy::Parallel), faults)
    });
}

/// Updates, of which some cannot work, growth, shrinking and rolling restarts.
#[test]
fn targets_change() {
    check_all("targets change", |seed| {
        let faults = Faults {
            until: 200,
            crash: 60,
            breakage: 40,
            changes: 20,
            ..Faults::NONE
        };
        run(seed, service(3, 5, DeployStrategy::Parallel), faults)
    });
}

/// The same without any fault: nobody is ever without quorum.
#[test]
fn targets_change_in_peace() {
    check_all("targets change in peace", |seed| {
        let faults = Faults {
            until: 200,
            crash: u64::MAX,
            breakage: u64::MAX,
            changes: 20,
            ..Faults::NONE
        };
        run(seed, service(3, 5, DeployStrategy::Parallel), faults)
    });
}

/// Databases are defragmented while targets change, and everything breaks.
#[test]
fn databases_are_defragmented() {
    check_all("databases are defragmented", |seed| {
        let faults = Faults {
            until: 200,
            crash: 60,
            breakage: 40,
            changes: 60,
            maintenance: 15,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[1, 3, 3, 5]);
        run(seed, service(members, 5, DeployStrategy::Parallel), faults)
    });
}

/// The same without any fault: nobody is ever without quorum.
#[test]
fn databases_are_defragmented_in_peace() {
    check_all("databases are defragmented in peace", |seed| {
        let faults = Faults {
            until: 200,
            crash: u64::MAX,
            breakage: u64::MAX,
            changes: 60,
            maintenance: 15,
            ..Faults::NONE
        };
        run(seed, service(3, 5, DeployStrategy::Parallel), faults)
    });
}

/// Nothing but resources changes, often, while all kinds of things break.
#[test]
fn resources_change() {
    check_all("resources change", |seed| {
        let faults = Faults {
            until: 200,
            crash: 40,
            breakage: 30,
            resizes: 15,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[3, 3, 1, 5]);
        let spare = by_seed(seed, &[0, 2]);
        run(
            seed,
            service(members, spare, DeployStrategy::Parallel),
            faults,
        )
    });
}

/// Nothing but etcd changes, up and down, while all kinds of things break: nobody gets
/// one that cannot read its data.
#[test]
fn etcds_change() {
    check_all("etcds change", |seed| {
        let faults = Faults {
            until: 200,
            crash: 60,
            breakage: 40,
            replacements: 120,
            etcds: 25,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[3, 3, 1, 5]);
        run(seed, service(members, 2, DeployStrategy::Parallel), faults)
    });
}

/// The same without any fault: nobody is ever without quorum.
#[test]
fn etcds_change_in_peace() {
    check_all("etcds change in peace", |seed| {
        let faults = Faults {
            until: 200,
            crash: u64::MAX,
            breakage: u64::MAX,
            etcds: 40,
            ..Faults::NONE
        };
        run(seed, service(3, 2, DeployStrategy::Parallel), faults)
    });
}

#[test]
fn members_that_are_down_are_replaced_by_themselves() {
    check_all("members that are down are replaced by themselves", |seed| {
        let faults = Faults {
            until: 120,
            crash: 40,
            breakage: 15,
            losses: 1,
            ..Faults::NONE
        };
        let members = by_seed(seed, &[3, 3, 5]);
        let service = Service {
            replace_after_ms: Some(by_seed(seed / 3, &[10_000, 30_000])),
            ..service(members, 2, DeployStrategy::Parallel)
        };
        run(seed, service, faults)
    });
}
