//! Members whose agents have no room, and that may move: they begin only when there is
//! somewhere to move to.

use etcd_planner::offer::{Bundle, Offer, OfferId};

use super::resizing::{Run, bundle, more_memory, whole};
use super::*;

fn more_memory_anywhere(target: &mut Target) {
    more_memory(target);
    target.move_on_resize = true;
}

/// One offer of an agent that holds no member, in a rack.
fn offers_elsewhere(run: &mut Run, agent: u16, rack: &str, free: Bundle) {
    run.offers += 1;
    let offer = Offer {
        id: OfferId(format!("offer-{}", run.offers)),
        agent_id: AgentId(format!("agent-{agent}")),
        hostname: Hostname(format!("10.0.0.{agent}")),
        address: format!("10.0.0.{agent}"),
        attributes: [("rack".to_owned(), [rack.to_owned()].into())].into(),
        domain: None,
        role: "etcd-role".into(),
        unavailable_from: None,
        free,
        base: Vec::new(),
        disks: Vec::new(),
        reserved: BTreeMap::new(),
        received: run.now,
    };
    run.model.apply(Event::Offers(vec![offer]), run.now);
}

/// All that a member needs, and its volume, with so much memory.
fn room(run: &Run, mem: u64) -> Bundle {
    let needs = &run.model.target.needs;
    Bundle {
        mem: Megabytes(mem),
        disk: needs.total_disk(),
        ..whole(needs)
    }
}

fn has_begun(run: &Run) -> bool {
    run.model.record.pods.contains_key(&PodIndex(1).leaving())
}

fn flow(run: &Run) -> bool {
    let session = run.model.session().unwrap();
    matches!(session.offers, OfferStream::Flowing { .. })
}

const NOWHERE: &str = "etcd-1: it is to have 512 MB of memory more, 10.0.0.1 does not offer \
     412 MB of memory of that, and there is no place to move to";

#[test]
fn a_place_is_waited_for_and_others_go_on() {
    let mut run = Run::new(more_memory_anywhere);
    run.wait(1);
    run.offers(1, bundle(100), Bundle::default(), false);
    run.offers(2, bundle(512), Bundle::default(), false);
    let reserves = "accept agent-2 for etcd-2: reserve 512 MB of memory more";
    // No agent takes a second member.
    let refused = format!("{NOWHERE}: hostname UNIQUE (1 agent refused)");
    run.turn(1, &format!("{reserves}\n{refused}"));
    assert!(!has_begun(&run) && flow(&run));
    // Who is too small is said, also after its offer was declined.
    run.wait(5);
    let small = room(&run, 1024);
    offers_elsewhere(&mut run, 8, "a", small);
    let refused = format!("{NOWHERE}: less than 1568 MB of memory (1 agent refused)");
    run.turn(1, &refused);
    run.wait(1);
    run.turn(1, &refused);
    assert!(!has_begun(&run) && flow(&run));
}

#[test]
fn the_offer_for_which_it_begins_is_kept_for_the_successor() {
    let mut run = Run::new(more_memory_anywhere);
    run.wait(1);
    run.offers(1, bundle(100), Bundle::default(), false);
    run.turn(1, NOWHERE);
    run.wait(1);
    let (small, enough) = (room(&run, 1024), room(&run, 1568));
    offers_elsewhere(&mut run, 8, "a", small);
    offers_elsewhere(&mut run, 9, "a", enough);
    run.turn(1, "");
    assert!(
        run.model
            .observed
            .offers
            .contains_key(&OfferId("offer-3".into()))
    );
    // What comes next is taken in, and the member goes on as one that leaves.
    run.wait(1);
    run.model.apply(Event::Tick, run.now);
    assert!(has_begun(&run) && flow(&run));
    let turn = Turn {
        now: run.now,
        entropy: 7,
        identify_founders: |_, _| Err("nobody is to be founded here".into()),
    };
    let effects = plan(&run.model, &turn).effects;
    let accept = effects.first().map(ToString::to_string).unwrap_or_default();
    assert!(
        accept.starts_with("accept agent-9 for etcd-1: reserve"),
        "{accept}"
    );
}

/// Once the member has left there would be a place: that is a place, too.
#[test]
fn a_place_that_only_the_member_itself_stands_against() {
    let check = |rack: &str, expected: bool| {
        let mut run = Run::new(|target| {
            more_memory_anywhere(target);
            target.placement = r#"[["rack", "UNIQUE"]]"#.parse().unwrap();
        });
        for (index, pod) in &mut run.model.record.pods {
            let placement = pod.placement.as_mut().unwrap();
            let rack = format!("rack-{}", index.0);
            placement.attributes.insert("rack".into(), [rack].into());
        }
        run.wait(1);
        run.offers(1, bundle(100), Bundle::default(), false);
        let enough = room(&run, 1568);
        offers_elsewhere(&mut run, 9, rack, enough);
        let said = match expected {
            true => String::new(),
            false => format!("{NOWHERE}: rack UNIQUE (1 agent refused)"),
        };
        run.turn(1, &said);
        run.wait(1);
        run.model.apply(Event::Tick, run.now);
        assert_eq!(has_begun(&run), expected, "{rack}");
    };
    check("rack-7", true);
    check("rack-1", true);
    check("rack-2", false);
}
