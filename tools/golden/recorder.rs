//! A TCP proxy that saves the first frame of each kind.
//!
//! Invariants
//!  1. Every byte is passed on as it came; a frame is copied, never held back.
//!  2. A kind is saved once: (who, request code, request or reply, how it differs).
//!  3. A frame longer than [`SAVED_BYTES_MAX`] is passed on and not saved.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// Longest frame that becomes a file.
const SAVED_BYTES_MAX: usize = 64 * 1024;

/// Saves frames into one folder.
#[derive(Clone)]
pub struct Recorder {
    state: Arc<Mutex<State>>,
}

struct State {
    target: PathBuf,
    label: String,
    saved: HashSet<String>,
}

/// One connection: whose it is, and what its open calls asked, by side and opaque.
struct Connection {
    recorder: Recorder,
    label: String,
    asked: Mutex<HashMap<(Side, i64), (i64, String)>>,
}

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

impl Recorder {
    /// Saves into `target`.
    pub fn new(target: &Path) -> Recorder {
        fs::create_dir_all(target).expect("the target folder can be made");
        let state = State { target: target.to_path_buf(), label: String::new(), saved: HashSet::new() };
        Recorder { state: Arc::new(Mutex::new(state)) }
    }

    /// Names whoever opens connections from now on.
    pub fn label(&self, label: &str) {
        self.state.lock().expect("no recorder panicked").label = label.to_string();
    }

    /// How many frames were saved.
    pub fn saved(&self) -> usize {
        self.state.lock().expect("no recorder panicked").saved.len()
    }

    /// Accepts on `from` and passes everything on to `to`.
    pub fn forward(&self, from: &str, to: &str) {
        let listener =
            TcpListener::bind(from).unwrap_or_else(|error| panic!("cannot listen on {from}: {error}"));
        let (recorder, to) = (self.clone(), to.to_string());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is not up refuses, and so do we.
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let label = recorder.state.lock().expect("no recorder panicked").label.clone();
                let connection =
                    Arc::new(Connection { recorder: recorder.clone(), label, asked: Mutex::default() });
                connection.clone().pass(Side::Client, &client, &server);
                connection.pass(Side::Server, &server, &client);
            }
        });
    }

    fn save(&self, name: String, frame: &[u8]) {
        let mut state = self.state.lock().expect("no recorder panicked");
        if frame.len() > SAVED_BYTES_MAX || !state.saved.insert(name.clone()) {
            return;
        }
        fs::write(state.target.join(name), hex(frame)).expect("a frame can be saved");
    }
}

impl Connection {
    fn pass(self: Arc<Self>, side: Side, from: &TcpStream, to: &TcpStream) {
        let mut from = from.try_clone().expect("a socket can be cloned");
        let mut to = to.try_clone().expect("a socket can be cloned");
        thread::spawn(move || {
            let mut unparsed = Vec::new();
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count) = from.read(&mut bytes) {
                // The frame is noted before the other side can answer it.
                unparsed.extend_from_slice(&bytes[..count]);
                while let Some(frame) = take_frame(&mut unparsed) {
                    self.note(side, &frame);
                }
                if count == 0 || to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            // Either side may be gone already.
            let _ = to.shutdown(Shutdown::Write);
        });
    }

    fn note(&self, side: Side, frame: &[u8]) {
        let Some(head) = Head::read(frame) else {
            panic!("{} sent a frame that cannot be read: {}", self.label, hex(frame));
        };
        let mut asked = self.asked.lock().expect("no recorder panicked");
        let (code, what) = if head.flag & 1 == 0 {
            let from_server = if side == Side::Server { "server-" } else { "" };
            let what = format!("{from_server}{}", head.what());
            asked.insert((side, head.opaque), (head.code, what.clone()));
            (head.code, what)
        } else {
            let Some((code, what)) = asked.remove(&(side.other(), head.opaque)) else { return };
            (code, format!("{what}-reply-{}", head.code))
        };
        self.recorder.save(format!("{}-{code}-{what}.hex", self.label), frame);
    }
}

/// The parts of a header, and the body, by which kinds of frames differ.
struct Head {
    code: i64,
    opaque: i64,
    flag: i64,
    fields: HashMap<String, String>,
    body: Vec<u8>,
}

impl Head {
    fn read(frame: &[u8]) -> Option<Head> {
        let head_bytes = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
        let (head, body) = frame.get(8..)?.split_at_checked(head_bytes)?;
        let body = body.to_vec();
        if frame[4] == 1 {
            return Head::read_binary(head, body);
        }
        let json: Value = serde_json::from_slice(head).ok()?;
        let mut fields = HashMap::new();
        for (key, value) in json["extFields"].as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            fields.insert(key.clone(), text);
        }
        let number = |key: &str| json[key].as_i64();
        let (code, opaque, flag) = (number("code")?, number("opaque")?, number("flag")?);
        Some(Head { code, opaque, flag, fields, body })
    }

    fn read_binary(head: &[u8], body: Vec<u8>) -> Option<Head> {
        let mut rest = head;
        let code = i16::from_be_bytes(take(&mut rest)?).into();
        let [_language, _, _] = take(&mut rest)?;
        let opaque = i32::from_be_bytes(take(&mut rest)?).into();
        let flag = i32::from_be_bytes(take(&mut rest)?).into();
        let remark_bytes = u32::from_be_bytes(take(&mut rest)?);
        rest = rest.get(remark_bytes as usize..)?;
        let _field_bytes: [u8; 4] = take(&mut rest).unwrap_or_default();
        let mut fields = HashMap::new();
        while !rest.is_empty() {
            let key_bytes = u16::from_be_bytes(take(&mut rest)?).into();
            let (key, after_key) = rest.split_at_checked(key_bytes)?;
            rest = after_key;
            let value_bytes = u32::from_be_bytes(take(&mut rest)?) as usize;
            let (value, after_value) = rest.split_at_checked(value_bytes)?;
            rest = after_value;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            fields.insert(text(key), text(value));
        }
        Some(Head { code, opaque, flag, fields, body })
    }

    /// A request in words: what sets it apart from other requests of the same code.
    fn what(&self) -> String {
        let mut words = Vec::new();
        let sys_flag = |name: &str| self.field(name).parse::<i64>().unwrap_or(0);
        match self.code {
            10 => {
                // C++ writes "1", which is not what Java writes and reads: "true".
                if !matches!(self.field("batch"), "" | "0" | "false") {
                    words.push("batch".to_string());
                }
                if sys_flag("sysFlag") & 1 == 1 {
                    words.push("compressed".to_string());
                }
                if self.field("properties").contains("значение") {
                    words.push("utf8".to_string());
                }
            }
            310 | 320 => {
                if self.field("m") == "true" {
                    words.push("batch".to_string());
                }
                if sys_flag("f") & 1 == 1 {
                    words.push("compressed".to_string());
                }
                if self.field("i").contains("значение") {
                    words.push("utf8".to_string());
                }
            }
            11 | 361 => words.push(format!("sysflag-{}", self.field("sysFlag"))),
            34 if String::from_utf8_lossy(&self.body).contains("\"groupName\":\"Golden")
                && String::from_utf8_lossy(&self.body).contains("subscriptionDataSet\":[{") =>
            {
                words.push("consumer".to_string());
            }
            34 => words.push("producer".to_string()),
            105 => words.push(topic_word(self.field("topic")).to_string()),
            14 | 15 | 29 | 30 | 31 if self.field("topic").starts_with("%RETRY%") => {
                words.push("retry".to_string());
            }
            _ => {}
        }
        if self.flag & 2 == 2 {
            words.push("oneway".to_string());
        }
        words.push("request".to_string());
        words.join("-")
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

fn topic_word(topic: &str) -> &str {
    match topic {
        "TBW102" => "default",
        "DefaultCluster" => "cluster",
        _ if topic.starts_with("%RETRY%") => "retry",
        _ => "topic",
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn take_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
    if bytes.len() < 4 + length {
        return None;
    }
    let rest = bytes.split_off(4 + length);
    Some(std::mem::replace(bytes, rest))
}

/// Hexadecimal text, 32 bytes a line.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + bytes.len() / 32 + 1);
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("a string can be written to");
        }
        text.push('\n');
    }
    text
}
