//! What the tests of the whole share.

#[path = "../client/mod.rs"]
pub mod client;

#[path = "../command_line/mod.rs"]
pub mod command_line;

#[path = "../compat/harness/mod.rs"]
pub mod compat;

#[path = "../disk_full/mod.rs"]
pub mod disk_full;

#[path = "../load/mod.rs"]
pub mod load;

#[path = "../power/mod.rs"]
pub mod power;

/// The bar of the engine's campaigns.
#[path = "../../engine/examples/campaign/progress.rs"]
pub mod progress;

#[path = "../sim/mod.rs"]
pub mod sim;

#[path = "../upgrade/mod.rs"]
pub mod upgrade;
