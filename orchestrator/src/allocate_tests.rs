//! Allocation on a real store: the race, and what is refused.

use std::collections::BTreeSet;

use crate::allocate::{AllocateError, allocate};
use crate::records::{MatchState, ServerState};
use crate::state::matches;
use crate::world::{FLEET, NAMESPACE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_claim_at_once_and_each_server_is_claimed_once() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 24, 24)]).await;
    world.settle().await;
    let players = ["ada".to_owned(), "bob".to_owned()];
    let claims: Vec<_> = (0..80)
        .map(|_| {
            let (db, players, now_ms) = (world.db.clone(), players.clone(), world.now_ms());
            tokio::spawn(async move { allocate(&db, NAMESPACE, FLEET, &[], &players, "{}", now_ms).await })
        })
        .collect();
    let (mut servers, mut seats, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
    for claim in claims {
        match claim.await.expect("no panic") {
            Ok(claimed) => {
                assert!(servers.insert(claimed.server.typed_id().uuid()), "a server was sold twice");
                assert_eq!(claimed.match_record.seats.len(), 2);
                for seat in &claimed.match_record.seats {
                    assert!(seats.insert(seat.typed_id().uuid()));
                }
                let match_id = claimed.match_record.typed_id();
                let server = world.server(claimed.server.typed_id()).await;
                assert_eq!((server.state(), server.match_id()), (ServerState::Allocated, Some(match_id)));
                let stored =
                    world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await).await;
                let stored = stored.expect("read").expect("there");
                assert_eq!(stored, claimed.match_record);
                assert_eq!(stored.state(), MatchState::Assigned);
            }
            Err(AllocateError::NoCapacity { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((servers.len(), refused), (24, 56));
}

#[tokio::test]
async fn what_cannot_be_claimed_is_refused_with_the_way_out() {
    let mut world = World::with_region().await;
    world.add_node("us").await;
    world.add_edge("us", (7_000, 7_999)).await;
    let now_ms = world.now_ms();
    let claim = async |regions: &[&str], data: &str| {
        let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
        allocate(&world.db, NAMESPACE, FLEET, &regions, &[], data, now_ms).await
    };
    assert_eq!(claim(&[], "").await, Err(AllocateError::UnknownFleet(FLEET.into())));
    world.apply_fleet("sha256:one", &[("eu", 0, 9), ("us", 1, 9)]).await;
    world.settle().await;
    let unknown = AllocateError::UnknownRegion { fleet: FLEET.into(), region: "mars".into() };
    assert_eq!(claim(&["mars"], "").await, Err(unknown));
    let none = AllocateError::NoCapacity { fleet: FLEET.into(), regions: "eu".into() };
    assert_eq!(claim(&["eu"], "").await, Err(none));
    assert_eq!(claim(&[], &"x".repeat(20_000)).await, Err(AllocateError::TooLarge));
    let claimed = claim(&["eu", "us"], "").await.expect("the second region has one");
    assert_eq!(claimed.server.region, "us");
}
