//! The limits that hold at the time: replaced whole, looked at for each packet, and waited on by whoever stands until
//! they turn against it.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Limits;

/// A handle to them; clones are of the same.
#[derive(Clone, Default)]
pub(crate) struct CurrentLimits {
    limits: Arc<ArcSwap<Limits>>,
    changes: watch::Sender<()>,
}

impl CurrentLimits {
    /// From now on `limits` hold.
    pub(crate) fn replace(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
        self.changes.send_replace(());
    }

    /// The place of them, for guards.
    pub(crate) fn shared(&self) -> Arc<ArcSwap<Limits>> {
        self.limits.clone()
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        self.limits.load().any
    }

    /// Returns as soon as `source` is denied.
    pub(crate) async fn denied(&self, source: IpAddr) {
        let mut changes = self.changes.subscribe();
        while !self.limits.load().denies(source) {
            changes.changed().await.expect("`self` has a sender");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use muster_protocol::edge::EdgeLimits;

    #[test]
    fn who_is_denied_hears_of_it_and_allow_goes_before_deny() {
        let source = IpAddr::from([10, 0, 0, 7]);
        let lists = |deny: &[&str], allow: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            let limits = EdgeLimits { deny: texts(deny), allow: texts(allow), ..Default::default() };
            Limits::from_wire(&limits).unwrap()
        };
        let current = CurrentLimits::default();
        let mut denied = Box::pin(current.denied(source));
        assert!(denied.as_mut().now_or_never().is_none() && !current.any());
        current.replace(lists(&["10.0.0.8"], &[]));
        assert!(denied.as_mut().now_or_never().is_none() && current.any());
        current.replace(lists(&["10.0.0.0/8"], &["10.0.0.7"]));
        assert!(denied.as_mut().now_or_never().is_none());
        current.replace(lists(&["10.0.0.0/8"], &["10.0.0.6"]));
        assert!(denied.as_mut().now_or_never().is_some());
        assert!(current.denied(source).now_or_never().is_some(), "who comes later hears of it at once");
    }
}
