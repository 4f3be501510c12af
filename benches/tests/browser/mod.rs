//! A headless Chromium, driven over two pipes with its own debugging protocol, and a look at its screenshots.
//!
//! Truth: the Chrome DevTools Protocol (`--remote-debugging-pipe`: JSON messages, each ended by a zero byte), and PNG.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// A browser that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser with one page; ends when it is dropped.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    folder: PathBuf,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
}

impl Browser {
    /// Starts it with its files in a new `folder`.
    pub fn start(folder: &Path) -> Browser {
        fs::create_dir_all(folder).expect("the folder can be made");
        // The shell puts the two pipes where the browser looks for them: descriptors 3 and 4.
        let script = "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args(["-c", script, "chromium", "--headless=new", "--remote-debugging-pipe", "--no-sandbox"])
            .args(["--disable-gpu", "--no-first-run", "--disable-background-networking"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND")
            .arg(format!("--user-data-dir={}", folder.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, from) = mpsc::channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while matches!(lines.read_until(0, &mut message), Ok(1..)) {
                let Ok(value) = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message)) else {
                    break;
                };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let (folder, session, calls, events) = (folder.to_owned(), None, 0, Vec::new());
        let mut browser = Browser { child, to, from, folder, session, calls, events };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens a file in a window of this size, in CSS pixels, and waits until it is loaded.
    pub fn open(&mut self, file: &Path, width: u32, height: u32, is_phone: bool) {
        let scale = if is_phone { 2 } else { 1 };
        let window =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", window);
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive();
            self.events.push(event);
        }
    }

    /// What an expression of the page is.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let answer =
            self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// What the page has complained about since it was opened.
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].iter().any(|kind| event["params"]["type"] == *kind)
            }
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_complaint).map(Value::to_string).collect()
    }

    /// What the page has asked for since it was opened, itself included.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What can be seen of the page.
    pub fn screenshot(&mut self) -> Screenshot {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = BASE64_STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64");
        Screenshot::read(&png)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let text = message.to_string() + "\0";
        self.to.write_all(text.as_bytes()).expect("chromium runs; install it (apt-get install chromium)");
        loop {
            let mut answer = self.receive();
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn receive(&mut self) -> Value {
        self.from.recv_timeout(PATIENCE).expect("chromium answers; install it (apt-get install chromium)")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The pixels of a picture.
pub struct Screenshot {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    rgb: Vec<[u8; 3]>,
}

impl Screenshot {
    /// Of a PNG with eight bits for each of three or four channels, as browsers write them.
    fn read(png: &[u8]) -> Screenshot {
        let word = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes")) as usize;
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        let (width, height, channels) = (word(16), word(20), if png[25] == 6 { 4 } else { 3 });
        let (mut at, mut packed) = (8, Vec::new());
        while at + 8 <= png.len() {
            let bytes = word(at);
            if &png[at + 4..at + 8] == b"IDAT" {
                packed.extend_from_slice(&png[at + 8..at + 8 + bytes]);
            }
            at += bytes + 12;
        }
        let mut raw = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).expect("zlib");
        let row_bytes = width * channels;
        let mut above = vec![0_u8; row_bytes];
        let mut rgb = Vec::with_capacity(width * height);
        for row in raw.chunks(row_bytes + 1) {
            let (filter, mut row) = (row[0], row[1..].to_vec());
            for i in 0..row.len() {
                let left = if i < channels { 0 } else { row[i - channels] };
                let corner = if i < channels { 0 } else { above[i - channels] };
                row[i] = row[i].wrapping_add(match filter {
                    0 => 0,
                    1 => left,
                    2 => above[i],
                    3 => ((u16::from(left) + u16::from(above[i])) / 2) as u8,
                    _ => paeth(left, above[i], corner),
                });
            }
            rgb.extend(row.chunks(channels).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
            above = row;
        }
        Screenshot { width, height, rgb }
    }

    /// How many different colours it has.
    pub fn colours(&self) -> usize {
        self.rgb.iter().collect::<HashSet<_>>().len()
    }

    /// Which share of it has another colour than its corner.
    pub fn inked(&self) -> f64 {
        let paper = self.rgb[0];
        self.rgb.iter().filter(|pixel| **pixel != paper).count() as f64 / self.rgb.len() as f64
    }
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, above, corner].map(i16::from);
    let guess = a + b - c;
    let [to_a, to_b, to_c] = [a, b, c].map(|side| (guess - side).abs());
    if to_a <= to_b && to_a <= to_c {
        left
    } else if to_b <= to_c {
        above
    } else {
        corner
    }
}
