//! The compatibility suite's equipment: Apache's broker, our binary, and official clients as processes.
//!
//! Everything waits for a line of output or an answer, with a deadline; nothing sleeps. A process ends
//! when its value is dropped. Whatever is wrong is a panic that shows the process's last lines.
//!
//! Not here: what is tested (`compat/`), and the client programs themselves (`java/`, `go/`, `python/`).

pub mod apache;
pub mod build;
pub mod client;
pub mod command_line;
pub mod evaluator;
pub mod ports;
pub mod process;
pub mod ringmq;
pub mod site;
pub mod wire;
