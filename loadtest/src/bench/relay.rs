//! The machine that the engine's benchmark runs: it counts what it is sent and sends it on.

use muster_engine::{Address, Context, Event, Failure, Invalid, Kind, Machine};

/// Namespace of the benchmark's workflows.
pub(super) const NAMESPACE: &str = "bench";
/// Row that tells of the last probe handled.
pub(super) const PROBED: &[u8] = b"\x01probed";

/// What a relay can be told.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Baton {
    /// How often it is still to be handed on.
    #[prost(uint64, tag = "1")]
    pub(super) hops: u64,
    /// Which relays there are: keys from 0 to this, exclusive.
    #[prost(uint64, tag = "2")]
    pub(super) relays: u64,
    /// Over 0, it is written to [`PROBED`] and not handed on.
    #[prost(uint64, tag = "3")]
    pub(super) probe: u64,
    /// Over 0, a timer is set for so many milliseconds from now.
    #[prost(uint64, tag = "4")]
    pub(super) sleep_ms: u64,
}

/// Hands batons on.
pub(super) struct Relay;

impl Kind for Relay {
    const KIND: &'static str = "relay";
    type Input = u64;
    type Signal = Baton;
}

impl Machine for Relay {
    type State = u64;

    async fn on(&self, cx: &mut Context<'_>, count: &mut u64, event: Event<Self>) -> Result<(), Failure> {
        let Event::Signal(baton, _) = event else { return Ok(()) };
        *count += 1;
        if baton.sleep_ms > 0 {
            cx.set_timer("wake", cx.now_ms() + baton.sleep_ms)?;
        }
        if baton.probe > 0 {
            cx.tx().set(PROBED, &baton.probe.to_le_bytes());
        } else if baton.hops > 0 {
            // To one that looks random, so that shards mix.
            let next =
                (*count).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ baton.hops.wrapping_mul(0xd6e8_feb8_6659_fd93);
            let to = relay(next % baton.relays.max(1))?;
            cx.signal::<Self>(&to, &Baton { hops: baton.hops - 1, ..baton }).await?;
        }
        Ok(())
    }
}

/// The relay `number`.
pub(super) fn relay(number: u64) -> Result<Address, Invalid> {
    Relay::address(NAMESPACE, &number.to_string())
}
