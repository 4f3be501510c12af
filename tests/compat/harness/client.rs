//! An official client's program, told what to do by orders and heard through its events.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::build;
use super::process::Process;

/// Which official client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// rocketmq-client, this release.
    Java(&'static str),
    /// rocketmq-client, this release, writing binary headers.
    JavaBinary(&'static str),
    /// rocketmq-client-go/v2.
    Go,
    /// rocketmq for Python: the C++ 2.x library.
    Python,
}

/// Every official client of the suite.
pub const ALL: [Kind; 5] =
    [Kind::Java("4.9.8"), Kind::Java("5.3.3"), Kind::Java("5.5.0"), Kind::Go, Kind::Python];

impl Kind {
    /// A name for tables, files and ids.
    pub fn label(self) -> String {
        match self {
            Kind::Java(release) => format!("java-{release}"),
            Kind::JavaBinary(release) => format!("java-{release}-binary"),
            Kind::Go => "go-2.1.2".to_string(),
            Kind::Python => "cpp-2.x".to_string(),
        }
    }

    /// The same, with only the characters that a topic may have.
    pub fn word(self) -> String {
        self.label().replace('.', "_")
    }
}

/// A running client program.
pub struct Client {
    process: Process,
    kind: Kind,
    events: HashMap<String, VecDeque<Value>>,
    name_server: String,
}

impl Client {
    /// Starts the program; its orders go to `name_server` and its logs to `home`.
    pub fn start(kind: Kind, name_server: &str, home: &Path) -> Client {
        std::fs::create_dir_all(home).expect("the folder can be made");
        let mut command = match kind {
            Kind::Java(release) => java(release, home, &[]),
            Kind::JavaBinary(release) => java(release, home, &["-Drocketmq.serialize.type=ROCKETMQ"]),
            Kind::Go => {
                let mut go = Command::new(build::go());
                go.env("ROCKETMQ_GO_LOG_LEVEL", "error");
                go
            }
            Kind::Python => {
                let (interpreter, program) = build::python();
                let mut python = Command::new(interpreter);
                python.arg(program);
                python
            }
        };
        command.env("HOME", home);
        let process = Process::start(&kind.label(), &mut command);
        Client { process, kind, events: HashMap::new(), name_server: name_server.to_string() }
    }

    /// Which client this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Gives an order. `id` is not used again.
    pub fn order(&mut self, id: &str, mut order: Value) {
        order["id"] = id.into();
        // Part of the client id, which must differ between processes of one group.
        order["instance"] = format!("{id}-{}", self.process.id()).into();
        order["namesrv"] = self.name_server.clone().into();
        self.process.tell(&order.to_string());
    }

    /// Ends a running order.
    pub fn stop(&mut self, id: &str) {
        self.process.tell(&serde_json::json!({ "id": id, "do": "stop" }).to_string());
    }

    /// The next event of an order, or none until `deadline`.
    pub fn next(&mut self, id: &str, deadline: Instant) -> Option<Value> {
        loop {
            if let Some(event) = self.events.get_mut(id).and_then(VecDeque::pop_front) {
                if event["event"] == "broken" {
                    self.process.fail(&format!("could not carry out {id}: {event}"));
                }
                return Some(event);
            }
            let line = self.process.next_line(deadline)?;
            // Whatever is no event is the client library talking.
            if let Ok(event) = serde_json::from_str::<Value>(&line)
                && let Some(of) = event["id"].as_str()
            {
                self.events.entry(of.to_string()).or_default().push_back(event);
            }
        }
    }

    /// Waits for the event called `name`; returns everything before it, and it.
    pub fn until(&mut self, id: &str, name: &str, patience: Duration) -> Vec<Value> {
        let deadline = Instant::now() + patience;
        let mut events = Vec::new();
        loop {
            match self.next(id, deadline) {
                Some(event) => {
                    let is_last = event["event"] == name;
                    events.push(event);
                    if is_last {
                        return events;
                    }
                }
                None => {
                    self.process.fail(&format!("{id} did not report {name}; before that: {events:?}"));
                }
            }
        }
    }

    /// Gives an order and waits until it is done; returns its events except the last.
    pub fn carry_out(&mut self, id: &str, order: Value, patience: Duration) -> Vec<Value> {
        self.order(id, order);
        let mut events = self.until(id, "done", patience);
        events.pop();
        events
    }

    /// Stops an order and waits until it is done; returns what it still reported.
    pub fn finish(&mut self, id: &str, patience: Duration) -> Vec<Value> {
        self.stop(id);
        let mut events = self.until(id, "done", patience);
        events.pop();
        events
    }

    /// The process, to be killed or stopped.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn java(release: &str, home: &Path, properties: &[&str]) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    java.arg(format!("-Duser.home={}", home.display()));
    java.args(properties);
    java.arg("-cp").arg(build::java(release)).arg("ringmq.compat.Main");
    java
}
