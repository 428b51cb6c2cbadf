//! What an edge that was killed, or is replaced, leaves to the next one.

use super::*;

#[test]
fn a_killed_edge_knows_the_clients_it_has_promised_a_flow() {
    let mut world = world(Proof::Preface);
    let [first, second, third] = [(); 3].map(|()| world.preface(&world.claims(SeatId::new())));
    assert_eq!(world.packet(client(1), &first), Verdict::Accept);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let slots = world.written(vec![]);
    // Moved, and another seat's in place of a second one's.
    world.packet(client(2), &first);
    world.packet(client(3), &second);
    world.packet(client(3), &third);
    let slots = world.written(slots);
    let route = world.route.clone();
    world.restart(slots, &route);
    let (again, open) = forwarded(world.packet(client(2), b"hello"));
    assert_eq!((again, open.is_some()), (flow, true), "the agent is told again where it leads");
    forwarded(world.packet(client(3), b"hello"));
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (2, 2));
    assert_eq!(world.forwarder.take_restored(), 2);
    world.passed = IDLE / 2;
    assert_eq!(
        world.packet(client(2), &first),
        Verdict::Accept,
        "its token is recognised, and costs no check"
    );
    let node = world.route.node;
    let Reply::Deliver { client: to, .. } = world.reply(node, data(flow), b"hi") else {
        panic!("a reply is delivered")
    };
    assert_eq!(to, client(2));
}

#[test]
fn a_flow_that_went_before_the_kill_stays_gone() {
    let mut world = world(Proof::Preface);
    let [idle, refused] = [(); 2].map(|()| world.preface(&world.claims(SeatId::new())));
    world.packet(client(1), &idle);
    world.passed = IDLE / 2;
    world.packet(client(2), &refused);
    let (flow, _) = forwarded(world.packet(client(2), b"hello"));
    world.passed = IDLE;
    world.sweep_all();
    world.reply(world.route.node, Header::Refused(flow, RefuseReason::UnknownPort), b"");
    let slots = world.written(vec![]);
    let route = world.route.clone();
    world.restart(slots, &route);
    assert_eq!(world.forwarder.flows(), 0);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
}

#[test]
fn a_kept_flow_leads_to_its_own_server_or_nowhere() {
    let mut world = world(Proof::Preface);
    let preface = world.preface(&world.claims(SeatId::new()));
    world.packet(client(1), &preface);
    let slots = world.written(vec![]);
    let others = [
        Route { server: ServerId::new(), ..(*world.route).clone() },
        Route { port_index: 9, ..(*world.route).clone() },
        Route { proof: Proof::Open, ..(*world.route).clone() },
        Route { key: RouteKey { port: PORT + 1, ..world.route.key }, ..(*world.route).clone() },
    ];
    for route in others {
        world.restart(slots.clone(), &Arc::new(route));
        assert_eq!(world.forwarder.flows(), 0);
        world.passed += IDLE;
        world.sweep_all();
        assert_eq!(world.written(slots.clone()), [None], "it is struck out");
    }
}

#[test]
fn open_ports_keep_nothing() {
    let mut world = world(Proof::Open);
    forwarded(world.packet(client(1), b"hello"));
    world.passed = IDLE;
    world.sweep_all();
    assert!(world.forwarder.take_writes().is_empty());
}

#[test]
fn the_next_edge_goes_on_with_flows_of_open_ports_and_with_claims() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let (now, route) = (world.now().instant, world.route.clone());
    let players = world.forwarder.players(now);
    world.forwarder.release();
    assert_eq!(world.reported_flows(), 0, "they are the next edge's");
    let late = world.reply(route.node, data(flow), b"late");
    assert!(matches!(late, Reply::Deliver { client: to, .. } if to == client(1)), "{late:?}");
    world.begin_anew(vec![], players.clone(), &route);
    assert_eq!(world.reported_flows(), 1);
    let reply = world.reply(route.node, data(flow), b"to one who has not sent since");
    assert!(matches!(reply, Reply::Deliver { client: to, .. } if to == client(1)), "{reply:?}");
    assert_eq!(forwarded(world.packet(client(1), b"again")).0, flow);
    let other = Arc::new(Route { server: ServerId::new(), ..(*route).clone() });
    world.begin_anew(vec![], players.clone(), &other);
    assert_eq!(world.forwarder.flows(), 0, "the port leads elsewhere now");
    let asks = Arc::new(Route { proof: Proof::Preface, ..(*route).clone() });
    world.begin_anew(vec![], players, &asks);
    assert_eq!(world.forwarder.flows(), 0, "the port asks for proof now");
}

#[test]
fn a_claim_is_used_at_the_next_edge() {
    let mut world = world(Proof::Claim);
    let token = world.signer.sign(&world.claims(SeatId::new())).unwrap();
    assert_eq!(world.packet(client(1), &encode_claim(&token)), Verdict::Accept);
    let (now, route) = (world.now().instant, world.route.clone());
    let players = world.forwarder.players(now);
    world.begin_anew(vec![], players, &route);
    let other_socket = SocketAddr::new(client(1).ip(), 9_999);
    forwarded(world.packet(other_socket, b"hello"));
}
