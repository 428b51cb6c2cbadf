//! Prefixes of addresses: a text is one or is told why not; one written out again is the same.

use muster_protocol::prefix::IpPrefix;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<IpPrefix>() {
        Ok(prefix) => {
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
            assert!(prefix.range().start() <= prefix.range().end());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
