//! The broker's behaviour, through frames. One file per family of requests.

mod administration;
mod captured;
mod conditions;
mod connections;
mod groups;
mod offsets;
mod pulls;
mod queries;
mod retries;
mod sends;
mod waiting;
