//! One suite for every driver: what a store promises, it promises on each of them.
//!
//! The embedded and the memory driver are always run. The FoundationDB driver is run where this crate
//! is built with the feature `foundationdb`, on the cluster of the file that `MUSTER_TEST_CLUSTER` names
//! (`make test-fdb CLUSTER_FILE=…`); each test has a part of the cluster's keys for itself.

#![allow(clippy::unwrap_used, reason = "a failed test is how a test speaks")]

mod atomics;
mod conflicts;
mod drivers;
mod histories;
mod model;
mod semantics;
mod support;
mod unknown;
mod versions;
mod watches;

/// A module of tests for one driver, whose stores `open` makes.
macro_rules! driver {
    ($driver:ident, $open:path, $($module:ident: $($test:ident),+;)+) => {
        mod $driver {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let store = $open().await;
                    crate::$module::$test(&store.database).await;
                    store.close().await;
                }
            )+)+
        }
    };
}

/// The same tests for every driver.
macro_rules! every_driver {
    ($($list:tt)+) => {
        driver!(embedded, crate::drivers::embedded, $($list)+);
        driver!(memory, crate::drivers::memory, $($list)+);
        #[cfg(feature = "foundationdb")]
        driver!(foundationdb, crate::drivers::foundationdb, $($list)+);
    };
}

every_driver! {
    semantics:
        reads_its_own_writes_in_points_and_ranges,
        long_ranges_come_whole_and_in_order,
        an_error_of_the_body_writes_nothing,
        limits_are_refused_with_their_name,
        the_largest_key_and_value_fit,
        a_read_only_transaction_may_not_write,
        a_transaction_kept_past_its_closure_is_an_error,
        after_shutdown_clones_answer_closed;
    atomics:
        addition_reads_back_inside_and_after,
        each_operation_is_foundationdbs,
        operations_of_many_transactions_all_count;
    versions:
        stamps_order_keys_as_commits_were,
        a_stamped_value_is_that_of_its_commit,
        what_is_stamped_cannot_be_read_before,
        a_version_can_be_read_again;
    conflicts:
        a_read_key_written_meanwhile_conflicts,
        a_snapshot_read_does_not_conflict,
        a_row_that_appears_in_a_read_range_conflicts,
        only_what_a_limited_range_consumed_conflicts,
        manual_conflicts_count,
        additions_and_blind_writes_do_not_conflict,
        write_skew_is_prevented,
        concurrent_increments_add_up,
        what_always_conflicts_gives_up_with_its_name,
        a_transaction_past_its_lifetime_is_too_old_and_retried;
    watches:
        fires_on_set_clear_add_and_range_clear,
        a_watch_of_a_transaction_misses_nothing_after_its_read,
        a_watch_on_an_own_write_starts_from_it,
        a_watch_whose_transaction_fails_is_cancelled,
        watches_are_bounded_and_dropping_one_makes_room,
        no_change_is_lost_under_load;
    model:
        agrees_with_a_map;
    histories:
        random_histories_are_strictly_serializable;
    unknown:
        a_run_takes_effect_once_though_answers_are_lost,
        a_late_commit_never_follows_an_answer,
        histories_stay_serializable_though_commits_go_wrong;
}
