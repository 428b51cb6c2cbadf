//! What the table of flows promises: who is found, who has to go, and that nobody else does.

use super::*;
use proptest::prelude::*;

fn client(n: u32) -> SocketAddr {
    SocketAddr::from(((n | 0x0a00_0000).to_be_bytes(), 9_000))
}

fn flow(n: u32, port: u16, now: Instant) -> Flow {
    Flow {
        id: FlowId(u64::from(n)),
        port,
        node: NodeId::new(),
        client: client(n),
        local_ip: None,
        opened_on: 0,
        is_opening: false,
        next_split: 0,
        answered: false,
        proof: None,
        kept: None,
        order: 0,
        since: now,
        last_packet: now,
    }
}

#[test]
fn a_flow_takes_no_more_than_the_configuration_says() {
    // A place, and an entry with its control byte in each index, at the indexes' lowest fill (7/16).
    let indexes = size_of::<((u16, SocketAddr), Place)>() + size_of::<(FlowId, Place)>() + 2;
    let (place, fullest) = (size_of::<Option<Flow>>(), indexes * 8 / 7);
    assert!(place + fullest <= 256, "{place} + {fullest}");
    assert!(place + 2 * fullest <= 384, "{place} + {}", 2 * fullest);
}

#[test]
fn idle_flows_go_and_busy_ones_stay() {
    let (start, idle) = (Instant::now(), Duration::from_mins(1));
    let mut table = FlowTable::new(10);
    for n in 0..3 {
        table.insert(flow(n, 1, start)).unwrap();
    }
    table.of_client(1, client(1)).unwrap().last_packet = start + Duration::from_secs(30);
    let mut gone = Vec::new();
    table.sweep(start + Duration::from_secs(59), idle, 10, &mut gone);
    assert!(gone.is_empty());
    table.sweep(start + idle, idle, 10, &mut gone);
    assert_eq!(gone.len(), 2);
    assert_eq!((table.len(), table.of_client(1, client(0)).is_none()), (1, true));
    assert!(table.of_id(FlowId(1)).is_some());
}

fn gone(n: u32, port: u16) -> Gone {
    Gone { id: FlowId(u64::from(n)), port, kept: None }
}

#[test]
fn a_full_table_keeps_the_proven_and_those_in_play() {
    let start = Instant::now();
    let later = start + IN_PLAY;
    let mut table = FlowTable::new(3);
    table.insert(Flow { proof: Some(1), ..flow(0, 1, start) }).unwrap();
    table.insert(Flow { answered: true, ..flow(1, 1, start) }).unwrap();
    table.insert(flow(2, 1, start)).unwrap();
    assert_eq!(table.insert(flow(3, 1, start)), Err(Full), "nothing is old enough");
    assert_eq!(table.insert(flow(3, 1, later)), Ok(Some(gone(2, 1))));
    assert_eq!(table.insert(flow(4, 1, later)), Err(Full), "what is left is worth keeping");
    // Answered or not, who has gone away makes room; who never had an answer goes first, however lately it was heard.
    let after = later + 2 * IN_PLAY;
    table.of_client(1, client(3)).unwrap().last_packet = after;
    assert_eq!(table.insert(flow(4, 1, after)), Ok(Some(gone(3, 1))));
    assert_eq!(table.insert(flow(5, 1, after)), Ok(Some(gone(1, 1))));
    assert_eq!(table.insert(flow(6, 1, after)), Err(Full));
    assert_eq!(table.len(), 3);
}

#[test]
fn one_port_cannot_fill_the_table() {
    let now = Instant::now();
    let mut table = FlowTable::new(100_000);
    let taken = (0..20_000).filter(|n| table.insert(flow(*n, 1, now)).is_ok()).count();
    assert_eq!(taken, MAX_FLOWS_PER_PORT);
    assert!(table.insert(flow(50_000, 2, now)).is_ok());
}

/// What a flood from forged addresses looks like when the server answers whoever sends: each is heard once.
#[test]
fn a_flood_on_an_open_port_shuts_it_for_nobody() {
    const PER_SECOND: u32 = 4 * MAX_FLOWS_PER_PORT as u32;
    let start = Instant::now();
    let mut table = FlowTable::new(100_000);
    table.insert(Flow { proof: Some(1), ..flow(1, 2, start) }).unwrap();
    table.insert(flow(2, 1, start)).unwrap();
    let (mut tries, mut came_in) = (0, None);
    for forged in 0..5 * PER_SECOND {
        let now = start + forged * (Duration::from_secs(1) / PER_SECOND);
        let flow = Flow { answered: true, ..flow(1_000 + forged, 1, now) };
        let _ = table.insert(flow);
        // A player sends 50 packets a second, and so does one who has come in the midst of it.
        if forged % (PER_SECOND / 50) == 0 {
            let player = table.of_client(1, client(2)).expect("who plays stays");
            (player.last_packet, player.answered) = (now, true);
            if forged > PER_SECOND && came_in.is_none() {
                tries += 1;
                came_in = table.insert(Flow { answered: true, ..self::flow(3, 1, now) }).ok().map(|_| tries);
            } else if came_in.is_some() {
                table.of_client(1, client(3)).expect("who has come in stays").last_packet = now;
            }
        }
    }
    assert!(came_in.is_some(), "not one packet of {tries} found a place");
    assert!(table.of_id(FlowId(1)).is_some());
    assert_eq!(table.len(), MAX_FLOWS_PER_PORT + 1);
}

#[test]
fn a_worker_that_comes_last_has_room_all_the_same() {
    let start = Instant::now();
    let room = Room::of(100, 4);
    let [mut first, mut last] = [FlowTable::new(room.clone()), FlowTable::new(room)];
    let taken = (0..200).filter(|n| first.insert(flow(*n, 1, start)).is_ok()).count();
    assert_eq!(taken, 12 + 52, "its part, and all that is shared");
    let taken = (0..200).filter(|n| last.insert(flow(*n, 2, start)).is_ok()).count();
    assert_eq!(taken, 12, "its part");
    let evicted = last.insert(flow(300, 3, start + IN_PLAY)).expect("it makes room");
    assert!(evicted.is_some());
    assert!(first.remove(FlowId(0)).is_some());
    assert_eq!(last.insert(flow(301, 3, start)), Ok(None), "what is given back is anybody's");
    assert_eq!((first.len(), last.len()), (63, 13));
    for few in 1..10 {
        let room = Room::of(few, 4);
        let mut tables: Vec<_> = (0..4).map(|_| FlowTable::new(room.clone())).collect();
        let insert =
            |table: &mut FlowTable| (0..20).filter(|n| table.insert(flow(*n, 1, start)).is_ok()).count();
        assert_eq!(tables.iter_mut().map(insert).sum::<usize>(), few);
    }
}

#[test]
fn a_moved_flow_leaves_its_old_address_and_displaces_the_new_ones() {
    let now = Instant::now();
    let mut table = FlowTable::new(10);
    table.insert(flow(1, 1, now)).unwrap();
    table.insert(flow(2, 1, now)).unwrap();
    assert_eq!(table.move_to(FlowId(1), client(2), None), Some(Gone { id: FlowId(2), port: 1, kept: None }));
    assert!(table.of_client(1, client(1)).is_none());
    assert_eq!(table.of_client(1, client(2)).unwrap().id, FlowId(1));
    assert_eq!(table.move_to(FlowId(1), client(2), None), None);
    assert_eq!((table.len(), table.of_client(1, client(2)).unwrap().id), (1, FlowId(1)));
}

proptest! {
    /// Whatever is done, both indexes lead to the same flows and the counts agree.
    #[test]
    fn indexes_agree(steps in proptest::collection::vec((0u8..5, 0u32..12, 0u32..12), 1..200)) {
        let start = Instant::now();
        let mut table = FlowTable::new(8);
        for (second, (what, n, m)) in steps.into_iter().enumerate() {
            let now = start + Duration::from_secs(second as u64);
            let port = (n % 3) as u16;
            match what {
                0 | 1 if table.of_id(FlowId(n.into())).is_none()
                    && table.of_client(port, client(n)).is_none() => {
                    let _ = table.insert(flow(n, port, now));
                }
                2 => { table.move_to(FlowId(n.into()), client(m), None); }
                3 => { table.remove(FlowId(n.into())); }
                4 if m == 0 => { table.remove_port(port); }
                _ => table.sweep(now, Duration::from_secs(20), 2, &mut Vec::new()),
            }
            prop_assert!(table.len() <= 8);
            prop_assert_eq!(table.by_client.len(), table.by_id.len());
            let of_ports = table.by_port.values().flat_map(|port| port.places.iter().enumerate());
            let mut all = 0;
            for (order, place) in of_ports {
                let flow = table.places[place.0 as usize].as_ref();
                prop_assert_eq!(flow.map(|flow| flow.order as usize), Some(order));
                all += 1;
            }
            prop_assert_eq!(all, table.len());
            prop_assert_eq!(table.room.taken.load(Relaxed), table.len().saturating_sub(table.room.own));
            for flow in table.places.clone().into_iter().flatten() {
                prop_assert_eq!(table.of_client(flow.port, flow.client).map(|f| f.id), Some(flow.id));
                prop_assert_eq!(table.of_id(flow.id).map(|f| f.client), Some(flow.client));
            }
        }
    }
}
