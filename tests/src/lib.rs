//! What the tests of the whole share.

#[path = "../compat/harness/mod.rs"]
pub mod compat;

#[path = "../sim/mod.rs"]
pub mod sim;
