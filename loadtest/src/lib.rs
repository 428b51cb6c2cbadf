//! muster-loadtest.
