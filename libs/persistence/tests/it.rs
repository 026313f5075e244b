//! What `persistence` promises, on both engines under the same names.

mod it {
    mod effects;
    mod executor;
    mod feed;
    mod feed_order;
    mod inbox;
    mod keyring;
    mod migrations;
    mod requests;
    mod retries;
    mod traces;
    mod transactions;
    mod values;
}
