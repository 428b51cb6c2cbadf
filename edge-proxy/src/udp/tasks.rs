//! The tasks that give the hot loop its turns: one per port, and one per agent, which also keeps its tunnel up.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use muster_protocol::fragment::Rejoiner;
use tokio::sync::watch;
use tokio::task::yield_now;
use tracing::{error, info, warn};

use super::hot_loop::{HotLoop, Port};
use crate::metrics::{Metrics, Standing};
use crate::tunnel::{DatagramTunnel, Dialer};

/// How often it is looked whether a measured turn's packets have left; then they count as gone, since their port has
/// others to receive.
const LOOKS: usize = 8;

/// Gives the hot loop a turn whenever `port` has packets.
pub(super) async fn serve_port(hot_loop: Rc<RefCell<HotLoop>>, port: Rc<Port>) {
    loop {
        if let Err(error) = port.socket.readable().await {
            error!(port = port.number, %error, "the UDP socket is lost");
            return;
        }
        let turn = hot_loop.borrow_mut().turn_in(&port);
        match turn {
            Ok(turn) => {
                if let Some(began) = turn.measured {
                    measure(&hot_loop, &port.tunnel, began).await;
                } else if turn.more {
                    // What this turn appended leaves before the next, and others have theirs.
                    yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Such as an ICMP error on some systems; the socket lives on.
                warn!(port = port.number, %error, "receiving failed");
                yield_now().await;
            }
        }
    }
}

/// Waits until all that a turn has appended has left, and notes how long that took since it `began`.
async fn measure(hot_loop: &RefCell<HotLoop>, tunnel: &DatagramTunnel, began: Instant) {
    let (appended, count) = (Instant::now(), tunnel.appended());
    for _ in 0..LOOKS {
        yield_now().await;
        if tunnel.has_sent(count) {
            break;
        }
    }
    let left = Instant::now();
    tunnel.note_queued(left - appended);
    hot_loop.borrow_mut().note_sent(left - began, left - appended);
}

/// Keeps the tunnel to one agent up, and gives the hot loop a turn whenever it has brought datagrams.
pub(super) async fn keep_up(
    mut dialer: Dialer,
    tunnel: Rc<DatagramTunnel>,
    hot_loop: Rc<RefCell<HotLoop>>,
    (metrics, standing): (Metrics, watch::Sender<usize>),
) {
    loop {
        let connection = dialer.connect().await;
        let _standing = (Standing::new(&metrics.datagram_tunnels), Reached::new(&standing));
        tunnel.up(connection.clone());
        let mut rejoiner = Rejoiner::default();
        let reason = loop {
            match connection.read_datagram().await {
                Ok(first) => hot_loop.borrow_mut().turn_out(&tunnel, &connection, &mut rejoiner, first),
                Err(reason) => break reason,
            }
            yield_now().await;
        };
        info!(node = %tunnel.node(), %reason, "tunnel of datagrams is down");
        tunnel.down();
    }
}

/// One agent more that is reached, for as long as it is held.
struct Reached(watch::Sender<usize>);

impl Reached {
    fn new(standing: &watch::Sender<usize>) -> Self {
        standing.send_modify(|agents| *agents += 1);
        Self(standing.clone())
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        self.0.send_modify(|agents| *agents -= 1);
    }
}
