//! Tokens and claims, good and bad.

use super::*;

#[test]
fn nothing_passes_before_a_proof_and_all_after() {
    let mut world = world(Proof::Preface);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.packet(client(1), b""), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.forwarder.flows(), 0);
    let preface = world.preface(&world.claims(SeatId::new()));
    assert_eq!(world.packet(client(1), &preface), Verdict::Accept);
    forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.packet(client(2), b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (1, 1));
}

#[test]
fn each_bad_token_is_refused_for_what_it_is() {
    let mut world = world(Proof::Preface);
    let good = world.claims(SeatId::new());
    let stranger =
        TokenSigner::new("k1", AsymmetricKeyPair::<V4>::generate().unwrap().secret.as_bytes()).unwrap();
    let cases = [
        (encode_preface("v4.public.nonsense"), Refusal::Malformed, DropReason::TokenMalformed),
        (encode_preface(&stranger.sign(&good).unwrap()), Refusal::Untrusted, DropReason::TokenUntrusted),
        (
            world.preface(&SessionClaims { expires_at_ms: START_MS, ..good.clone() }),
            Refusal::Expired,
            DropReason::TokenExpired,
        ),
        (
            world.preface(&SessionClaims { server: ServerId::new(), ..good.clone() }),
            Refusal::WrongPort,
            DropReason::TokenWrongPort,
        ),
        (
            world.preface(&SessionClaims { port: "voice".into(), ..good }),
            Refusal::WrongPort,
            DropReason::TokenWrongPort,
        ),
    ];
    for (preface, refusal, reason) in cases {
        assert_eq!(world.packet(client(1), &preface), Verdict::Refuse(refusal, reason));
    }
    assert_eq!(world.forwarder.flows(), 0);
}

#[test]
fn a_source_of_bad_tokens_is_no_longer_listened_to_but_its_flows_go_on() {
    let mut world = world(Proof::Preface);
    let player = client(1);
    let preface = world.preface(&world.claims(SeatId::new()));
    assert_eq!(world.packet(player, &preface), Verdict::Accept);
    // Another program behind the player's address, or somebody who forges it.
    let neighbour = SocketAddr::new(player.ip(), 9_001);
    let bad = encode_preface("v4.public.nonsense");
    let last = (0..100).map(|_| world.packet(neighbour, &bad)).last();
    assert_eq!(last, Some(Verdict::Drop(DropReason::SourceLimited)));
    forwarded(world.packet(player, b"hello"));
    assert_eq!(world.packet(player, &preface), Verdict::Accept, "the same token again needs no check");
}

#[test]
fn a_seat_that_comes_from_a_new_address_takes_its_flow_along() {
    let mut world = world(Proof::Preface);
    let preface = world.preface(&world.claims(SeatId::new()));
    world.packet(client(1), &preface);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let node = world.route.node;
    world.reply(node, Header::Opened(flow), b"");
    assert_eq!(forwarded(world.packet(client(1), b"hello")), (flow, None));
    assert_eq!(world.packet(client(2), &preface), Verdict::Accept);
    let (same, opened) = forwarded(world.packet(client(2), b"hello"));
    assert_eq!((same, opened.and_then(|target| target.client)), (flow, Some(client(2))), "the agent is told");
    assert_eq!(world.packet(client(3), &preface), Verdict::Accept);
    world.reply(node, Header::Opened(flow), b"");
    let opened = forwarded(world.packet(client(3), b"hello")).1;
    assert_eq!(
        opened.and_then(|target| target.client),
        Some(client(3)),
        "what was said of an earlier place is void"
    );
    assert_eq!(world.packet(client(2), &preface), Verdict::Accept);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
    let Reply::Deliver { client: to, .. } = world.reply(node, data(flow), b"hi") else {
        panic!("a reply is delivered")
    };
    assert_eq!(to, client(2));
    assert_eq!((world.forwarder.flows(), world.forwarder.take_rebinds()), (1, 3));
    assert!(world.forwarder.take_gone().is_empty(), "the agent keeps the flow");
}

#[test]
fn another_seat_at_the_same_address_is_another_flow() {
    let mut world = world(Proof::Preface);
    let [first, second] = [SeatId::new(), SeatId::new()].map(|seat| world.preface(&world.claims(seat)));
    world.packet(client(1), &first);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.packet(client(1), &second), Verdict::Accept);
    assert_ne!(forwarded(world.packet(client(1), b"hello")).0, flow);
    assert_eq!(world.forwarder.take_gone(), [(world.route.node, flow)]);
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (1, 1));
}

#[test]
fn a_bad_token_on_a_flow_that_stands_leaves_it_standing() {
    let mut world = world(Proof::Preface);
    let preface = world.preface(&world.claims(SeatId::new()));
    world.packet(client(1), &preface);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let refused = world.packet(client(1), &encode_preface("v4.public.nonsense"));
    assert_eq!(refused, Verdict::Refuse(Refusal::Malformed, DropReason::TokenMalformed));
    assert_eq!(forwarded(world.packet(client(1), b"hello")).0, flow);
}

#[test]
fn a_claim_lets_one_other_socket_of_its_address_in() {
    let mut world = world(Proof::Claim);
    let seat = SeatId::new();
    let token = world.signer.sign(&world.claims(seat)).unwrap();
    let claim = encode_claim(&token);
    let [game, stray] = [9_500, 9_600].map(|port| SocketAddr::new(client(1).ip(), port));
    assert_eq!(world.packet(game, b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.packet(client(1), &claim), Verdict::Accept);
    assert_eq!(world.packet(client(1), &claim), Verdict::Accept, "asked again, answered again");
    assert_eq!(world.forwarder.flows(), 0);
    assert_eq!(world.packet(client(2), b"hello"), Verdict::Drop(DropReason::Unproven));
    let (flow, _) = forwarded(world.packet(game, b"hello"));
    assert_eq!(world.packet(stray, b"hello"), Verdict::Drop(DropReason::Unproven), "it is used up");
    assert_eq!(forwarded(world.packet(game, b"hello")).0, flow);
    // Its NAT has forgotten the client: another claim takes the flow along.
    assert_eq!(world.packet(client(1), &claim), Verdict::Accept);
    assert_eq!(forwarded(world.packet(stray, b"hello")).0, flow);
    assert_eq!(world.packet(game, b"hello"), Verdict::Drop(DropReason::Unproven));
    // The seat's flow is the one that a preface would have begun.
    assert_eq!(world.packet(client(3), &encode_preface(&token)), Verdict::Accept);
    assert_eq!(forwarded(world.packet(client(3), b"hello")).0, flow);
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (1, 1));
}

#[test]
fn a_bad_claim_or_one_elsewhere_opens_nothing() {
    let mut world = world(Proof::Claim);
    let good = world.claims(SeatId::new());
    let wrong = SessionClaims { server: ServerId::new(), ..good.clone() };
    let wrong = encode_claim(&world.signer.sign(&wrong).unwrap());
    let refused = Verdict::Refuse(Refusal::WrongPort, DropReason::TokenWrongPort);
    assert_eq!(world.packet(client(1), &wrong), refused);
    let good = encode_claim(&world.signer.sign(&good).unwrap());
    assert_eq!(world.packet(client(1), &good), Verdict::Accept);
    let other = encode_claim(&world.signer.sign(&world.claims(SeatId::new())).unwrap());
    let pending = Verdict::Refuse(Refusal::Unavailable, DropReason::ClaimPending);
    assert_eq!(world.packet(client(1), &other), pending);
    let route = world.route.clone();
    world.forwarder.close_port(PORT);
    world.forwarder.open_port(world.now().instant, route.clone(), world.traffic.of(route.server));
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
}

#[test]
fn a_port_of_mode_preface_takes_no_claim() {
    let mut world = world(Proof::Preface);
    let claim = encode_claim(&world.signer.sign(&world.claims(SeatId::new())).unwrap());
    assert_eq!(world.packet(client(1), &claim), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.packet(SocketAddr::new(client(1).ip(), 1), b"x"), Verdict::Drop(DropReason::Unproven));
}

#[test]
fn on_an_open_port_a_preface_is_the_games_own_affair() {
    let mut world = world(Proof::Open);
    let preface = world.preface(&world.claims(SeatId::new()));
    forwarded(world.packet(client(1), &preface));
}
