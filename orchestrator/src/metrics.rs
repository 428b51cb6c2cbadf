//! The orchestrator's metrics: every name, unit and description, and the functions that set them.
//!
//! Modules call these functions and know no names. Exporting is done by whoever installs a recorder.

use std::time::Duration;

use axum::http::Method;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use muster_protocol::api::{ServerState, TicketState};

const AGENTS: &str = "muster_orchestrator_agents_connected";
const EDGES: &str = "muster_orchestrator_edges_connected";
const LINKS_REFUSED: &str = "muster_orchestrator_links_refused_total";
const LINKS_CLOSED: &str = "muster_orchestrator_links_closed_total";
const JOINS: &str = "muster_orchestrator_joins_total";
const REPORTS: &str = "muster_orchestrator_server_reports_total";
const BLOB_BYTES: &str = "muster_orchestrator_blob_sent_bytes_total";
const LOG_BYTES: &str = "muster_orchestrator_log_relayed_bytes_total";
const ROUTES_SENT: &str = "muster_orchestrator_routes_sent_total";
const ROUTE_FAILURES: &str = "muster_orchestrator_route_failures_total";
const API_REQUESTS: &str = "muster_orchestrator_api_requests_total";
const API_SECONDS: &str = "muster_orchestrator_api_request_seconds";
const API_LOG_STREAMS: &str = "muster_orchestrator_api_log_streams";
const PASS_SECONDS: &str = "muster_orchestrator_pass_seconds";
const MATCHES: &str = "muster_orchestrator_matches_total";
const ALLOCATIONS: &str = "muster_orchestrator_allocations_total";
const SERVERS: &str = "muster_orchestrator_servers";
const TICKETS: &str = "muster_orchestrator_tickets";

/// Tells the recorder what the metrics mean.
pub fn describe() {
    describe_gauge!(AGENTS, Unit::Count, "Agents whose link is up");
    describe_gauge!(EDGES, Unit::Count, "Edges whose link is up");
    describe_counter!(LINKS_REFUSED, Unit::Count, "Connections refused before they became a link");
    describe_counter!(LINKS_CLOSED, Unit::Count, "Links that ended, by role and reason");
    describe_counter!(JOINS, Unit::Count, "Requests to join, by outcome");
    describe_counter!(REPORTS, Unit::Count, "Server reports written to the store");
    describe_counter!(BLOB_BYTES, Unit::Bytes, "Bytes of builds sent to agents");
    describe_counter!(LOG_BYTES, Unit::Bytes, "Bytes of server logs relayed from agents");
    describe_counter!(ROUTES_SENT, Unit::Count, "Routes sent to edges, repeats included");
    describe_counter!(ROUTE_FAILURES, Unit::Count, "Routes that edges could not serve");
    describe_counter!(API_REQUESTS, Unit::Count, "Requests answered, by method, route and status");
    describe_histogram!(
        API_SECONDS,
        Unit::Seconds,
        "Time to answer a request, long polls included, by route"
    );
    describe_histogram!(PASS_SECONDS, Unit::Seconds, "Time one pass of a loop took, by loop");
    describe_counter!(
        MATCHES,
        Unit::Count,
        "Matches given a server, left waiting for one, or too late, by outcome"
    );
    describe_counter!(ALLOCATIONS, Unit::Count, "Requests to claim a server, by outcome");
    describe_gauge!(SERVERS, Unit::Count, "Servers on record, by state");
    describe_gauge!(TICKETS, Unit::Count, "Tickets on record, by state");
    describe_gauge!(API_LOG_STREAMS, Unit::Count, "Server logs being sent to clients");
}

/// Agents whose link is up.
pub fn agents_connected(count: usize) {
    gauge!(AGENTS).set(count as f64);
}

/// Edges whose link is up.
pub fn edges_connected(count: usize) {
    gauge!(EDGES).set(count as f64);
}

/// A connection was refused before it became a link.
pub fn link_refused() {
    counter!(LINKS_REFUSED).increment(1);
}

/// A link of `role` ended for `reason`, a fixed word.
pub fn link_closed(role: &'static str, reason: &'static str) {
    counter!(LINKS_CLOSED, "role" => role, "reason" => reason).increment(1);
}

/// A request to join was answered: `outcome` is `granted` or the code of the refusal.
pub fn joined(outcome: &'static str) {
    counter!(JOINS, "outcome" => outcome).increment(1);
}

/// A server report was written to the store.
pub fn server_report() {
    counter!(REPORTS).increment(1);
}

/// Bytes of a build were sent to an agent.
pub fn blob_sent(bytes: usize) {
    counter!(BLOB_BYTES).increment(bytes as u64);
}

/// Bytes of a server's log were relayed.
pub fn log_relayed(bytes: usize) {
    counter!(LOG_BYTES).increment(bytes as u64);
}

/// Routes were sent to an edge.
pub fn routes_sent(count: usize) {
    counter!(ROUTES_SENT).increment(count as u64);
}

/// Edges could not serve routes.
pub fn route_failures(count: usize) {
    counter!(ROUTE_FAILURES).increment(count as u64);
}

/// A request was answered. `route` is the pattern, not the path, so that its values are few.
pub(crate) fn api_request(method: &Method, route: &str, status: u16, took: Duration) {
    // A method is any word a client likes; those that no route has are one value.
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    counter!(API_REQUESTS, "method" => method, "route" => route.to_owned(), "status" => status.to_string())
        .increment(1);
    histogram!(API_SECONDS, "method" => method, "route" => route.to_owned()).record(took.as_secs_f64());
}

/// Server logs being sent to clients.
pub(crate) fn api_log_streams(count: usize) {
    gauge!(API_LOG_STREAMS).set(count as f64);
}

/// One pass of a loop, a fixed word, took this long.
pub fn pass(of: &'static str, took: Duration) {
    histogram!(PASS_SECONDS, "loop" => of).record(took.as_secs_f64());
}

/// Groups of tickets were put together: some got a server, some wait for one, some joined a match that runs, some came too
/// late.
pub fn matches(assigned: usize, waiting: usize, joined: usize, stale: usize) {
    let outcomes = [("assigned", assigned), ("waiting", waiting), ("joined", joined), ("stale", stale)];
    for (outcome, number) in outcomes {
        counter!(MATCHES, "outcome" => outcome).increment(number as u64);
    }
}

/// A request to claim a server had this outcome, a fixed word.
pub fn allocated(outcome: &'static str) {
    counter!(ALLOCATIONS, "outcome" => outcome).increment(1);
}

/// Servers on record in a state.
pub fn servers(state: ServerState, count: u32) {
    gauge!(SERVERS, "state" => state.as_str()).set(f64::from(count));
}

/// Tickets on record in a state.
pub fn tickets(state: TicketState, count: u32) {
    gauge!(TICKETS, "state" => state.as_str()).set(f64::from(count));
}
