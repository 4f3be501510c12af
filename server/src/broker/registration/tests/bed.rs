//! A broker's registration with the loop around it, played by hand: what it does is told in short texts.

use std::time::Duration;

use ringmq_conn::ConnId;
use ringmq_wire::code::RequestCode;
use ringmq_wire::command::FLAG_RESPONSE;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::request::registration as wire;
use ringmq_wire::request::topic::DataVersion;
use ringmq_wire::{HeadFormat, HeadScratch, OutHead, Value, json};

use crate::broker::facts::topic_config::{Perm, TopicConfig};
use crate::broker::identity::Identity;
use crate::broker::outcome::Now;
use crate::broker::registration::{Action, Registration};
use crate::broker::topic::Topics;

/// One name server.
pub const FIRST: &str = "10.0.0.1:9876";
/// Another.
pub const SECOND: &str = "10.0.0.2:9876";

/// A broker's registration, and the loop around it: connections get the number of their order.
pub struct Bed {
    pub registration: Registration,
    /// Seconds.
    now: u64,
    conns: u32,
    pub topics: Topics,
}

impl Bed {
    pub fn new(name_servers: &[&str]) -> Bed {
        let identity = Identity {
            cluster: "C".to_owned(),
            broker_name: "box-0".to_owned(),
            store_host: "10.0.0.9:10911".parse().unwrap(),
            region: String::new(),
            version: String::new(),
            nonce: 0,
        };
        let name_servers = name_servers.iter().map(|text| text.parse().unwrap()).collect();
        let registration = Registration::new(&identity, name_servers, 7);
        Bed { registration, now: 100, conns: 0, topics: Topics::default() }
    }

    /// With one name server, connected and registered.
    pub fn registered() -> Bed {
        let mut bed = Bed::new(&[FIRST]);
        assert_eq!(bed.change("A"), ["connect 10.0.0.1:9876 as 0"]);
        assert_eq!(bed.connected(0), ["register on 0: #0 A, up to 1"]);
        assert_eq!(bed.answer(0, 0, 0), Vec::<String>::new());
        bed
    }

    pub fn at(&self) -> Now {
        Now { wall_ms: 0, monotonic: Duration::from_secs(self.now) }
    }

    pub fn change(&mut self, topic: &str) -> Vec<String> {
        self.topics.adopt(TopicConfig::new(topic, 4, Perm::READ_WRITE));
        self.registration.look(&self.topics, self.at());
        self.actions()
    }

    pub fn tick(&mut self, seconds: u64) -> Vec<String> {
        self.now += seconds;
        self.registration.tick(&self.topics, self.at());
        self.actions()
    }

    pub fn connected(&mut self, conn: u32) -> Vec<String> {
        self.registration.connected(id(conn), &self.topics, self.at());
        self.actions()
    }

    pub fn closed(&mut self, conn: u32) -> Vec<String> {
        self.registration.closed(id(conn), self.at());
        self.actions()
    }

    pub fn shutdown(&mut self) -> Vec<String> {
        self.registration.shutdown(&self.topics, self.at());
        self.actions()
    }

    pub fn answer(&mut self, conn: u32, opaque: i32, code: i32) -> Vec<String> {
        self.answer_with(conn, opaque, code, &[])
    }

    pub fn answer_with(
        &mut self,
        conn: u32,
        opaque: i32,
        code: i32,
        fields: &[(&str, Value<'_>)],
    ) -> Vec<String> {
        let mut bytes = Vec::new();
        let flag = FLAG_RESPONSE;
        OutHead { format: HeadFormat::Json, code, opaque, flag, remark: None, fields }.encode(&mut bytes, 0);
        let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("a whole frame") };
        let mut scratch = HeadScratch::default();
        let head = scratch.decode(frame.format, frame.head).unwrap();
        self.registration.answered(id(conn), &head, &self.topics, self.at());
        self.actions()
    }

    /// Takes all actions, as short texts.
    fn actions(&mut self) -> Vec<String> {
        let mut shown = Vec::new();
        while let Some(action) = self.registration.next_action() {
            shown.push(match action {
                Action::Connect(peer) => {
                    let conn = self.conns;
                    self.conns += 1;
                    self.registration.connecting(peer, id(conn));
                    format!("connect {peer} as {conn}")
                }
                Action::Close(conn) => format!("close {}", conn.slot),
                Action::Send(conn, bytes) => sent(conn, &bytes),
            });
        }
        shown
    }
}

pub fn id(slot: u32) -> ConnId {
    ConnId { slot, generation: 0 }
}

fn sent(conn: ConnId, bytes: &[u8]) -> String {
    let Ok(Decoded::Frame(frame, _)) = frame::decode(bytes) else { panic!("a whole frame") };
    let mut scratch = HeadScratch::default();
    let head = scratch.decode(frame.format, frame.head).unwrap();
    let (conn, opaque) = (conn.slot, head.opaque);
    match RequestCode::from_number(head.code) {
        Some(RequestCode::RegisterBroker) => {
            let body = wire::Registration::read(frame.body).unwrap();
            let names: Vec<&str> = body.topics.topics.keys().map(String::as_str).collect();
            let (names, version) = (names.join(" "), body.topics.data_version);
            format!("register on {conn}: #{opaque} {names}, up to {}", version.counter)
        }
        Some(RequestCode::QueryDataVersion) => {
            let version: DataVersion = json::read(frame.body).unwrap();
            format!("still {} on {conn}: #{opaque}", version.counter)
        }
        Some(RequestCode::UnregisterBroker) => format!("unregister on {conn}: #{opaque}"),
        other => panic!("{other:?} is not ours to send"),
    }
}
