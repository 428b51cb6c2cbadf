//! The golden vectors' calls: prefaces, claims, beacons and what session tokens say, byte for byte.

use muster_protocol::beacon;
use muster_protocol::preface::{Answer, decode_answer, encode_claim, encode_preface, encode_tcp_preface};
use serde_json::{Value, json};

use super::fault::{Fault, refused_code};
use super::text;

/// Signature of a session token, which is skipped when its claims are read.
const SIGNATURE_BYTES: usize = 64;

pub(super) fn vector(request: &Value) -> Result<Value, Fault> {
    let what = text(request, "what");
    let token = text(request, "token");
    let made = match what {
        "udp_preface" => encode_preface(token),
        "udp_claim" => encode_claim(token),
        "tcp_preface" => encode_tcp_preface(token),
        "beacon_request" => beacon::encode_request(&bytes(text(request, "nonce_hex"))?),
        "beacon_answer" => {
            let given = bytes(text(request, "hex"))?;
            return Ok(json!({"nonce_hex": beacon::decode_answer(&given).map(hex)}));
        }
        "session_token" => return claims(token),
        _ => {
            let answer = match decode_answer(&bytes(text(request, "hex"))?) {
                None => Value::Null,
                Some(Answer::Accepted) => json!("accepted"),
                Some(Answer::Refused(refusal)) => json!(refused_code(refusal)),
            };
            return Ok(json!({"answer": answer}));
        }
    };
    Ok(json!({"hex": hex(&made)}))
}

/// What a session token says; nothing here proves it.
fn claims(token: &str) -> Result<Value, Fault> {
    let malformed = || {
        Fault::new("refused_malformed", "This is no session token. Take it from the assignment, unchanged.")
    };
    let body =
        token.strip_prefix("v4.public.").and_then(|rest| rest.split('.').next()).ok_or_else(malformed)?;
    let body = base64url(body).ok_or_else(malformed)?;
    let message = body.len().checked_sub(SIGNATURE_BYTES).map(|end| &body[..end]).ok_or_else(malformed)?;
    let claims: muster_protocol::token::SessionClaims =
        serde_json::from_slice(message).map_err(|_| malformed())?;
    Ok(
        json!({"namespace": claims.namespace, "server": claims.server, "port": claims.port, "seat": claims.seat,
        "player": claims.player, "expires_at_ms": claims.expires_at_ms}),
    )
}

fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn bytes(hex: &str) -> Result<Vec<u8>, Fault> {
    let wrong = || Fault::new("invalid_argument", "That is not hexadecimal; two digits make a byte.");
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return Err(wrong());
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_tokens_have_it() {
        assert_eq!(base64url("bXVzdGVy_-8").as_deref(), Some(&b"muster\xff\xef"[..]));
        assert_eq!(base64url("a+b"), None);
        assert_eq!(bytes("4d53").ok().as_deref(), Some(&b"MS"[..]));
        assert!(bytes("4d5").is_err() && bytes("zz").is_err());
    }
}
