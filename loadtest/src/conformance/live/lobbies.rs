//! Lobbies, and servers that are joined by their id.

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{FLEET, LONG, World, warm};

pub(super) async fn lobby(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    let driver = &world.driver;
    let request =
        json!({"fleet": FLEET, "player": "host", "lobby": {"name": "Ours", "tags": {"map": "dust"}}});
    driver.ok("lobby.create", LONG, json!({"client": "a", "match": "m", "request": request})).await?;
    let made = driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
    let code = made["ticket"]["lobby"]["code"].as_str().context("a lobby has a code")?.to_owned();
    let listed = driver
        .ok("lobby.list", LONG, json!({"client": "a", "fleet": FLEET, "tags": {"map": "dust"}}))
        .await?;
    let has = listed["lobbies"].as_array().is_some_and(|all| all.iter().any(|lobby| lobby["code"] == code));
    ensure!(has, "{code} is not among {listed}");
    let read = driver.ok("lobby.read", LONG, json!({"client": "a", "lobby": code.to_lowercase()})).await?;
    ensure!(read["lobby"]["name"] == "Ours" && read["lobby"]["players"] == 1, "it reads {read}");
    let find = json!({"fleet": FLEET, "player": "guest", "tags": {"map": "dust"}});
    driver.ok("lobby.find", LONG, json!({"client": "a", "match": "n", "request": find})).await?;
    let joined = driver.ok("match.wait", LONG, json!({"match": "n"})).await?;
    ensure!(joined["ticket"]["lobby"]["code"] == code, "another lobby: {joined}");
    let join = json!({"client": "a", "match": "o", "lobby": code, "request": {"player": "third"}});
    driver.fails("lobby_full", "lobby.join", LONG, join.clone()).await?;
    driver.ok("match.cancel", LONG, json!({"match": "n"})).await?;
    driver.ok("lobby.join", LONG, join).await?;
    for name in ["o", "m"] {
        driver.ok("match.cancel", LONG, json!({"match": name})).await?;
    }
    let unknown = json!({"client": "a", "match": "o", "lobby": "ZZZZZZ", "request": {"player": "third"}});
    driver.fails("lobby_unknown", "lobby.join", LONG, unknown).await.map(drop)
}

pub(super) async fn server_join(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    let ready = warm(world, FLEET).await?;
    let join = json!({"client": "a", "match": "m", "server_id": ready, "request": {"player": "direct"}});
    world.driver.ok("server.join", LONG, join).await?;
    let answer = world.driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
    ensure!(answer["ticket"]["assignment"]["server_id"] == ready, "another server: {answer}");
    world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
    let nowhere = json!({"client": "a", "match": "m", "server_id": "srv_01h455vb4pex5vsknk084sn02q", "request": {"player": "direct"}});
    world.driver.fails("server_unknown", "server.join", LONG, nowhere).await.map(drop)
}
