//! An edge on real sockets, between clients, a fake agent and a fake orchestrator.

mod agent;
mod authority;
mod link;
mod orchestrator;
mod tcp;
mod udp;
mod websocket;
mod world;
