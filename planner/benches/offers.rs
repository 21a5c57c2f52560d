//! How long one decision takes with the offers of many agents at hand: three
//! pods look for a place, under two constraints. Goal: 5 ms with 1,000 agents
//! and 25 ms with 5,000 (medians).

#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

#[path = "../tests/placing/agents.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod agents;

use std::time::{Duration, Instant};

use etcd_planner::{Event, Model};

use agents::{T0, decide, offer, subscribed, target};

const ROUNDS: usize = 101;

fn main() {
    println!("one decision for three pods, median of {ROUNDS}");
    for agents in [1_000, 5_000] {
        for (what, resources) in [("all fit", ""), ("none fits", " cpus=500")] {
            let model = model_with_offers(agents, resources);
            let median = median_of_decisions(&model);
            println!(
                "{agents:>5} agents, {what:<9} {:>7.2} ms",
                median.as_secs_f64() * 1000.0
            );
        }
    }
}

fn model_with_offers(agents: usize, resources: &str) -> Model {
    let mut model = subscribed(target("hostname:UNIQUE,@zone:GROUP_BY:3"));
    let offers = (0..agents)
        .map(|number| {
            let zone = number % 3;
            offer(&format!(
                "agent-{number} zone=z{zone} rack=r{number}{resources}"
            ))
        })
        .collect();
    model.apply(Event::Offers(offers), T0);
    model
}

fn median_of_decisions(model: &Model) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            let decision = std::hint::black_box(decide(model, T0));
            let took = started.elapsed();
            drop(decision);
            took
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
