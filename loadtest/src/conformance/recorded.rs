//! The recorded cases: this tool plays orchestrator, edge and agent, and does what they do on a bad day.

mod http;
mod matches;
mod servers;
mod sessions;
mod vectors;

use std::time::Duration;

use serde_json::{Value, json};

use super::cases::{Case, cases};
use super::driver::Driver;

/// A deadline that only a hang reaches.
const LONG: Duration = Duration::from_secs(10);
/// A deadline that the case wants to be reached.
const SHORT: Duration = Duration::from_millis(700);
/// Larger than any answer of the API's, in bytes.
const HUGE: usize = 32 * 1024 * 1024;

/// The cases, in their order.
pub fn all() -> Vec<Case<Driver>> {
    cases! {
        "vector.preface", "prefaces, claims and beacons byte for byte, by the golden vectors", [], vectors::vector_encode;
        "vector.answer", "every answer of an edge's is read, and nothing else is one", [], vectors::vector_decode;
        "vector.token", "claims of good tokens are read, and what is no token is refused", [], vectors::vector_token;
        "args.url", "a URL that is none is refused before anything is sent", [], http::args_url;
        "args.player", "an empty player is refused before anything is sent", [], http::args_player;
        "http.refused", "nobody listens", [], http::http_refused;
        "http.silent", "somebody listens and never answers", [], http::http_silent;
        "http.stalled", "an answer that never ends", [], http::http_stalled;
        "http.cut", "the connection ends in the middle of an answer", [], http::http_cut;
        "http.not_json", "an answer that is not JSON", [], http::http_not_json;
        "http.wrong_shape", "JSON that is not this API's", [], http::http_wrong_shape;
        "http.no_problem", "an error of a proxy's, without a problem document", [], http::http_no_problem;
        "http.too_large", "an answer of 32 MiB", [], http::http_too_large;
        "http.too_deep", "JSON nested 10,000 deep", [], http::http_too_deep;
        "http.problem", "a problem's code, text and retry_after_s are handed through", [], http::http_problem;
        "tls.untrusted", "a certificate that nobody trusts", [], http::tls_untrusted;
        "tls.own_ca", "a CA of one's own is trusted, and then only that", ["ca"], http::tls_own_ca;
        "tls.clock", "a certificate that is not valid yet by this clock", ["ca"], http::tls_clock;
        "match.progress", "each state and explanation is told, then the assignment", [], matches::match_progress;
        "match.failed", "a match that cannot be had: code and reason", [], matches::match_failed;
        "match.expired", "nobody found in time", [], matches::match_expired;
        "match.cancelled", "withdrawn elsewhere", [], matches::match_cancelled;
        "match.timeout", "a wait ends by its deadline, the next one goes on", [], matches::match_timeout;
        "match.watch_cut", "the watching socket breaks, and says what is no JSON; the wait goes on", [], matches::match_watch_cut;
        "connect.no_endpoint", "a transport that the server has not", [], sessions::connect_no_endpoint;
        "udp.proof", "the seat is proven from the playing socket; lost prefaces are repeated", ["udp"], sessions::udp_proof;
        "udp.refused", "each refusal of the edge's is its code", ["udp"], sessions::udp_refused;
        "udp.unavailable", "not possible now is tried again", ["udp"], sessions::udp_unavailable;
        "udp.expired", "an expired token is read again", ["udp"], sessions::udp_expired;
        "udp.clock", "a token that is over by this machine's clock is the edge's to judge", ["udp"], sessions::udp_clock;
        "udp.silent", "an edge that never answers ends by the deadline", ["udp"], sessions::udp_silent;
        "udp.rejoin", "a socket that is gone is replaced, with a new token", ["udp"], sessions::udp_rejoin;
        "ws.refused", "each status of an edge's is its code", ["ws_status"], sessions::ws_refused;
        "ws.down", "a WebSocket where no edge listens", ["ws"], sessions::ws_down;
        "ws.untrusted", "a WebSocket behind a certificate that nobody trusts", ["ws_status"], sessions::ws_untrusted;
        "ws.broken", "a WebSocket that ends in the middle is made anew", ["ws"], sessions::ws_broken;
        "server.environment", "what Muster's variables say; without them every call says so", ["server"], servers::server_environment;
        "server.health", "after ready the agent is told by itself that the server is well", ["server"], servers::server_health;
        "server.late_seat", "a seat whose news has not come is said again; one that is refused is not", ["server"], servers::server_late_seat;
        "server.away", "an agent that stays away ends the call by its deadline", ["server"], servers::server_away;
        "server.events", "events are heard, also after the connection broke or said what is no JSON", ["server"], servers::server_events;
    }
}

async fn open(driver: &Driver, url: &str) -> anyhow::Result<()> {
    driver
        .ok("client.open", LONG, json!({"client": "a", "url": url, "token": "mst_recorded"}))
        .await
        .map(drop)
}

fn find() -> Value {
    json!({"client": "a", "match": "m", "request": {"queue": "quick", "player": "ann", "latencies_ms": {"local": 1}}})
}
