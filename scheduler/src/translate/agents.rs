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
