//! Tests of what the store does when its file fails under it.
