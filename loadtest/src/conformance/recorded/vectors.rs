//! The golden vectors of `protocol`, made and read by the SDK.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::LONG;
use crate::conformance::driver::{Driver, Outcome, expect_error};

/// Codes that say that a text is no session token.
const NO_TOKEN: &[&str] = &["refused_malformed", "bad_answer", "invalid_argument"];

/// A vector file of `protocol`, as it was when this was built.
fn vectors(name: &str) -> anyhow::Result<Value> {
    let text = match name {
        "preface" => include_str!("../../../../protocol/vectors/preface.json"),
        _ => include_str!("../../../../protocol/vectors/session_token.json"),
    };
    Ok(serde_json::from_str(text)?)
}

pub(super) async fn vector_encode(driver: &Driver) -> anyhow::Result<()> {
    let vectors = vectors("preface")?;
    // An SDK says what it has: not every engine has TCP, and claims came later.
    for (what, feature) in [("udp_preface", "udp"), ("tcp_preface", "tcp"), ("udp_claim", "claim")] {
        if !driver.has(feature) {
            continue;
        }
        let made = driver.ok("vector.encode", LONG, json!({"what": what, "token": vectors["token"]})).await?;
        ensure!(made["hex"] == vectors[what], "{what} is {}, and should be {}", made["hex"], vectors[what]);
    }
    let nonce = json!({"what": "beacon_request", "nonce_hex": "6e6f6e63652d3031"});
    let made = driver.ok("vector.encode", LONG, nonce).await?;
    ensure!(made["hex"] == vectors["beacon_request"], "the beacon's request is {}", made["hex"]);
    Ok(())
}

pub(super) async fn vector_decode(driver: &Driver) -> anyhow::Result<()> {
    let vectors = vectors("preface")?;
    for (name, hex) in vectors.as_object().context("vectors are an object")? {
        let is_answer = name == "accepted" || name.starts_with("refused_");
        let expected = if is_answer { json!(name) } else { Value::Null };
        let read = driver.ok("vector.decode", LONG, json!({"what": "answer", "hex": hex})).await;
        // The token's text is no hex, and no SDK has to read it.
        if name != "token" {
            let read = read?;
            ensure!(read["answer"] == expected, "{name} is read as {}", read["answer"]);
        }
    }
    let read = driver.ok("vector.decode", LONG, json!({"what": "answer", "hex": "4d5354520103"})).await?;
    ensure!(read["answer"].is_null(), "a refusal without a reason is read as {}", read["answer"]);
    let beacon = json!({"what": "beacon_answer", "hex": vectors["beacon_answer"]});
    let read = driver.ok("vector.decode", LONG, beacon).await?;
    ensure!(read["nonce_hex"] == "6e6f6e63652d3031", "the beacon's nonce is {}", read["nonce_hex"]);
    Ok(())
}

pub(super) async fn vector_token(driver: &Driver) -> anyhow::Result<()> {
    for case in vectors("session_token")?["cases"].as_array().context("a list of cases")? {
        let fields = json!({"what": "session_token", "token": case["token"]});
        let outcome = driver.call("vector.decode", LONG, fields).await?;
        match (case["outcome"].as_str().unwrap_or(""), &outcome) {
            ("valid", Outcome::Ok(read)) => {
                for claim in ["namespace", "server", "port", "seat", "player", "expires_at_ms"] {
                    ensure!(read[claim] == case[claim], "{claim} is {}, not {}", read[claim], case[claim]);
                }
            }
            ("valid" | "malformed", outcome) => expect_error(outcome, NO_TOKEN)?,
            // Whether a token is true is the edge's to say.
            _ => {}
        }
    }
    let fields = json!({"what": "session_token", "token": "no token"});
    expect_error(&driver.call("vector.decode", LONG, fields).await?, NO_TOKEN)
}
