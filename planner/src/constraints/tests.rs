//! Constraint strings against sets of agents: what is chosen, or why not.

use etcd_config::placement::PlacementConstraints;

use super::*;

/// Agents as `host zone attribute=value ...`; a zone `-` is none.
struct Agent {
    hostname: Hostname,
    domain: Option<Domain>,
    attributes: Attributes,
}

impl Agent {
    fn read(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let hostname = Hostname(words.next().unwrap().to_owned());
        let zone = words.next().unwrap_or("-");
        let mut attributes = Attributes::new();
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            let values: &mut BTreeSet<String> =
                attributes.entry(name.into()).or_default();
            values.insert(value.to_owned());
        }
        Agent {
            hostname,
            domain: (zone != "-").then(|| Domain {
                region: "north".into(),
                zone: zone.to_owned(),
            }),
            attributes,
        }
    }

    fn spot(&self) -> Spot<'_> {
        Spot {
            hostname: &self.hostname,
            domain: self.domain.as_ref(),
            attributes: &self.attributes,
        }
    }
}

/// Whether a member may be on the first agent while members are on the others;
/// the answer is `ok` or what the first broken constraint says.
#[track_caller]
fn check(constraints: &str, agent: &str, others: &[&str], expected: &str) {
    let parsed: PlacementConstraints = constraints.parse().unwrap();
    let agent = Agent::read(agent);
    let others: Vec<Agent> = others.iter().map(|other| Agent::read(other)).collect();
    let spots: Vec<Spot<'_>> = others.iter().map(Agent::spot).collect();
    let answer = parsed
        .constraints()
        .iter()
        .find_map(|constraint| {
            let broken = judge(constraint, agent.spot(), &spots).err()?;
            Some(broken.words(&constraint.field, agent.spot()))
        })
        .unwrap_or_else(|| "ok".to_owned());
    assert_eq!(answer, expected, "{constraints}");
}

#[test]
fn every_operator_says_yes_and_no() {
    check("", "a", &["a"], "ok");
    check("hostname:UNIQUE", "a", &["b", "c"], "ok");
    check(
        "hostname:UNIQUE",
        "a",
        &["b", "a"],
        "hostname a holds a member already",
    );
    check("@zone:UNIQUE", "a z1", &["b z2"], "ok");
    check(
        "@zone:UNIQUE",
        "a z1",
        &["b z1"],
        "@zone z1 holds a member already",
    );
    check("@zone:UNIQUE", "a", &[], "a has no @zone");
    check("hostname:MAX_PER:2", "a", &["a"], "ok");
    check(
        "hostname:MAX_PER:2",
        "a",
        &["a", "a"],
        "hostname a holds 2 members already",
    );
    check("rack:CLUSTER:r1", "a - rack=r1", &[], "ok");
    check("rack:CLUSTER:r1", "a - rack=r2", &[], "rack is r2");
    check("rack:CLUSTER", "a - rack=r2", &[], "ok");
    check("rack:CLUSTER", "a - rack=r2", &["b - rack=r2"], "ok");
    check(
        "rack:CLUSTER",
        "a - rack=r2",
        &["b - rack=r1"],
        "rack r2 is not where the other members are",
    );
    check("rack:LIKE:r[12]", "a - rack=r1", &[], "ok");
    check("rack:LIKE:r[12]", "a - rack=r12", &[], "rack is r12");
    check("rack:UNLIKE:r[12]", "a - rack=r1", &[], "rack is r1");
    check("rack:UNLIKE:r[12]", "a", &[], "ok");
    check("rack:IS:r1", "a - rack=r1", &[], "ok");
    check("rack:IS:r1", "a - rack=r2", &[], "rack is r2");
    check("rack:IS:r1", "a", &[], "a has no rack");
    check("rack:IS_NOT:r1", "a - rack=r1", &[], "rack is r1");
    check("rack:IS_NOT:r1", "a - rack=r2", &[], "ok");
    check("rack:IS_NOT:r1", "a", &[], "ok");
    check("@region:IS:north", "a z1", &[], "ok");
}

#[test]
fn group_by_fills_the_emptiest_group() {
    let rule = "@zone:GROUP_BY:3";
    check(rule, "a z1", &[], "ok");
    check(
        rule,
        "a z1",
        &["b z1"],
        "@zone z1 holds 1, and another holds 0",
    );
    check(rule, "c z3", &["a z1", "b z2"], "ok");
    check(rule, "d z1", &["a z1", "b z2", "c z3"], "ok");
    check(
        rule,
        "e z1",
        &["a z1", "b z2", "c z3", "d z1"],
        "@zone z1 holds 2, and another holds 1",
    );
    // How many zones there are is not said: an unused one is welcome, no more.
    check("@zone:GROUP_BY", "b z1", &["a z1"], "ok");
    check(
        "@zone:GROUP_BY",
        "b z1",
        &["a z1", "b z1", "c z2"],
        "@zone z1 holds 2, and another holds 1",
    );
}

#[test]
fn all_constraints_hold_together() {
    let both = r#"[["hostname","UNIQUE"],["@zone","MAX_PER","1"]]"#;
    check(both, "a z1", &["b z2"], "ok");
    check(both, "a z1", &["b z1"], "@zone z1 holds a member already");
    check(both, "a z1", &["a z2"], "hostname a holds a member already");
}

#[test]
fn one_attribute_may_have_several_values() {
    check("disk:IS:fast", "a - disk=fast disk=large", &[], "ok");
    check(
        "disk:UNIQUE",
        "a - disk=fast disk=large",
        &["b - disk=large"],
        "disk fast, large holds a member already",
    );
}

#[track_caller]
fn check_room(constraints: &str, agents: &[&str], one_an_agent: bool, expected: usize) {
    let parsed: PlacementConstraints = constraints.parse().unwrap();
    let agents: Vec<Agent> = agents.iter().map(|agent| Agent::read(agent)).collect();
    let spots: Vec<Spot<'_>> = agents.iter().map(Agent::spot).collect();
    assert_eq!(
        room(parsed.constraints(), &spots, one_an_agent),
        expected,
        "{constraints}"
    );
}

#[test]
fn the_most_members_that_constraints_allow() {
    let zones = ["a z1 rack=1", "b z1 rack=2", "c z2 rack=1", "d z2"];
    check_room("", &zones, true, 4);
    check_room("", &[], false, 0);
    check_room("", &zones, false, usize::MAX);
    check_room("hostname:UNIQUE", &zones, false, 4);
    check_room("@zone:UNIQUE", &zones, true, 2);
    check_room("@zone:MAX_PER:1", &zones, true, 2);
    check_room("@zone:MAX_PER:2", &zones, false, 4);
    check_room("@zone:GROUP_BY:3", &zones, true, 2);
    check_room("@zone:GROUP_BY:2", &zones, true, 4);
    check_room("rack:UNIQUE", &zones, true, 2);
    check_room("rack:CLUSTER", &zones, true, 2);
    check_room("rack:MAX_PER:9", &zones, true, 3);
    check_room("@zone:CLUSTER,hostname:UNIQUE", &zones, false, 2);
    check_room("@zone:IS:z1,hostname:UNIQUE", &zones, true, 2);
    check_room("@zone:IS:z9", &zones, false, 0);
}
