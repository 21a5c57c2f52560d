//! What the master tells of agents, as the planner sees it.

use etcd_planner::offer::{AgentFacts, AgentId, Attributes, Domain, Hostname};
use mesos_v1::v1::agent_info::capability::Type as Capability;
use mesos_v1::{master, v1};

/// Every agent that the master knows. Of those that have not come back since
/// its election it knows nothing but how they were registered.
pub fn agents(answer: &master::response::GetAgents) -> Vec<AgentFacts> {
    let present = answer.agents.iter().filter_map(|agent| {
        facts(&agent.agent_info, tells_of_operations(&agent.capabilities))
    });
    let expected = answer.recovered_agents.iter();
    let expected = expected.filter_map(|agent| facts(agent, false));
    present.chain(expected).collect()
}

fn facts(agent: &v1::AgentInfo, tells_of_operations: bool) -> Option<AgentFacts> {
    Some(AgentFacts {
        id: AgentId(agent.id.as_ref()?.value.clone()),
        hostname: Hostname(agent.hostname.clone()),
        attributes: attributes(&agent.attributes),
        domain: domain(agent.domain.as_ref()),
        tells_of_operations,
    })
}

/// Mesos 1.11, `Master::accept`: operations with an id need both capabilities,
/// else they are dropped.
fn tells_of_operations(capabilities: &[v1::agent_info::Capability]) -> bool {
    let has = |wanted: Capability| capabilities.iter().any(|one| one.r#type() == wanted);
    has(Capability::AgentOperationFeedback) && has(Capability::ResourceProvider)
}

/// Attributes as text. One that is a set has each of its items for a value,
/// and so has a name that was given more than once.
pub(super) fn attributes(attributes: &[v1::Attribute]) -> Attributes {
    let mut all = Attributes::new();
    for attribute in attributes {
        let values = all.entry(attribute.name.clone()).or_default();
        match attribute.r#type() {
            v1::value::Type::Text => {
                values.extend(attribute.text.iter().map(|text| text.value.clone()));
            }
            v1::value::Type::Scalar => {
                values.extend(attribute.scalar.iter().map(scalar));
            }
            v1::value::Type::Ranges => {
                values.extend(attribute.ranges.iter().map(ranges));
            }
            v1::value::Type::Set => {
                let items = attribute.set.iter().flat_map(|set| &set.item);
                values.extend(items.cloned());
            }
        }
    }
    all
}

/// `4`, `2.5`: Mesos keeps three digits after the point.
fn scalar(scalar: &v1::value::Scalar) -> String {
    let text = format!("{:.3}", scalar.value);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `[1-5,7-7]`, as Marathon writes it.
fn ranges(ranges: &v1::value::Ranges) -> String {
    let ranges: Vec<String> = ranges
        .range
        .iter()
        .map(|range| format!("{}-{}", range.begin, range.end))
        .collect();
    format!("[{}]", ranges.join(","))
}

/// Region and zone.
pub(super) fn domain(domain: Option<&v1::DomainInfo>) -> Option<Domain> {
    let fault_domain = domain?.fault_domain.as_ref()?;
    Some(Domain {
        region: fault_domain.region.name.clone(),
        zone: fault_domain.zone.name.clone(),
    })
}

/// The region in which a master says it is.
pub fn region(master: &v1::MasterInfo) -> Option<String> {
    domain(master.domain.as_ref()).map(|domain| domain.region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::resources;

    #[test]
    fn attributes_as_text() {
        let plain = |kind: v1::value::Type| v1::Attribute {
            name: "a".into(),
            r#type: kind.into(),
            ..Default::default()
        };
        let scalar = |value: f64| v1::Attribute {
            scalar: Some(v1::value::Scalar { value }),
            ..plain(v1::value::Type::Scalar)
        };
        let range = |begin, end| v1::value::Range { begin, end };
        let check = |given: &[v1::Attribute], expected: &[&str]| {
            let found = attributes(given);
            let found: Vec<&str> = found["a"].iter().map(String::as_str).collect();
            assert_eq!(found, expected);
        };
        check(&[resources::text_attribute("a", "rack 1")], &["rack 1"]);
        check(&[scalar(4.0)], &["4"]);
        check(&[scalar(100.0)], &["100"]);
        check(&[scalar(2.5)], &["2.5"]);
        check(&[scalar(0.1 + 0.2)], &["0.3"]);
        let ranges = v1::Attribute {
            ranges: Some(v1::value::Ranges {
                range: vec![range(1, 5), range(7, 7)],
            }),
            ..plain(v1::value::Type::Ranges)
        };
        check(&[ranges], &["[1-5,7-7]"]);
        let set = v1::Attribute {
            set: Some(v1::value::Set {
                item: vec!["y".into(), "x".into()],
            }),
            ..plain(v1::value::Type::Set)
        };
        check(&[set], &["x", "y"]);
        let twice = ["2", "1"].map(|value| resources::text_attribute("a", value));
        check(&twice, &["1", "2"]);
    }

    #[test]
    fn agents_and_what_they_can() {
        use Capability as C;
        let info = |id: &str| v1::AgentInfo {
            id: Some(v1::AgentId { value: id.into() }),
            hostname: format!("{id}.example"),
            domain: Some(resources::domain("north", "n1")),
            ..Default::default()
        };
        let agent = |id: &str, can: &[C]| master::response::get_agents::Agent {
            agent_info: info(id),
            capabilities: can
                .iter()
                .map(|can| v1::agent_info::Capability {
                    r#type: Some((*can).into()),
                })
                .collect(),
            ..Default::default()
        };
        let answer = master::response::GetAgents {
            agents: vec![
                agent("new", &[C::ResourceProvider, C::AgentOperationFeedback]),
                agent("half", &[C::AgentOperationFeedback]),
                agent("old", &[]),
            ],
            recovered_agents: vec![info("expected")],
        };
        let told: Vec<String> = agents(&answer)
            .iter()
            .map(|facts| format!("{} {}", facts.hostname, facts.tells_of_operations))
            .collect();
        assert_eq!(
            told,
            [
                "new.example true",
                "half.example false",
                "old.example false",
                "expected.example false"
            ]
        );
    }
}
