//! The handlers: one file per family of requests, each a set of synchronous functions.
//!
//! A handler checks, decides on the accepted state, puts what changes into one batch, adopts it into the tables
//! once the store has accepted it, and writes the reply. It never calls another handler's request; what two
//! share is a noun beside them (`topic`, `group`, `parked_pull`).

pub(super) mod broker_admin;
pub(super) mod client;
pub(super) mod group_admin;
pub(super) mod heartbeat;
pub(super) mod lock;
pub(super) mod offset;
pub(super) mod pull;
pub(super) mod query;
pub(super) mod recall;
pub(super) mod send;
pub(super) mod send_back;
pub(super) mod topic_admin;
pub(super) mod view;
