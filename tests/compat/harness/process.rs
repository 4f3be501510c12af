//! A child process whose output is read line by line, against a deadline.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines kept to be shown when something goes wrong.
const LINES_SHOWN_MAX: usize = 60;

/// A running child. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    recent: VecDeque<String>,
}

impl Process {
    /// Starts `command`; both of its outputs become lines.
    pub fn start(name: &str, command: &mut Command) -> Process {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {name}: {error}: {command:?}"));
        let (sender, lines) = channel();
        read_lines(child.stdout.take().expect("stdout is piped"), sender.clone());
        read_lines(child.stderr.take().expect("stderr is piped"), sender);
        let stdin = child.stdin.take();
        Process { name: name.to_string(), child, stdin, lines, recent: VecDeque::new() }
    }

    /// What the process is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to the process.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin was not closed");
        let written = stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
        if let Err(error) = written.and_then(|()| stdin.flush()) {
            self.fail(&format!("cannot be told anything: {error}"));
        }
    }

    /// The next line of output, or none if there is none until `deadline`.
    pub fn next_line(&mut self, deadline: Instant) -> Option<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if self.recent.len() == LINES_SHOWN_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.fail("ended"),
        }
    }

    /// Waits for a line that contains `text`.
    pub fn expect_line(&mut self, text: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            match self.next_line(deadline) {
                Some(line) if line.contains(text) => return line,
                Some(_) => {}
                None => self.fail(&format!("did not say {text:?} within {patience:?}")),
            }
        }
    }

    /// Every line until the process has ended, and how it ended.
    pub fn finish(mut self, patience: Duration) -> (ExitStatus, Vec<String>) {
        drop(self.stdin.take());
        let deadline = Instant::now() + patience;
        let mut all = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.recent = all.into();
                    self.fail(&format!("did not end within {patience:?}"))
                }
            }
        }
        (self.child.wait().expect("the child can be waited for"), all)
    }

    /// Panics if the process has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child can be asked") {
            self.fail(&format!("ended: {status}"));
        }
    }

    /// Asks the process to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Ends the process at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
    }

    /// Stops (`STOP`) or resumes (`CONT`) the process, or sends it any other signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        // The shell's own: a bare Debian has no other.
        let mut kill = Command::new("sh");
        let status = kill.args(["-c", &format!("kill -s {name} {pid}")]).status().expect("sh can be started");
        assert!(status.success(), "signal {name} to {}", self.name);
    }

    /// Panics with the last lines that the process printed.
    pub fn fail(&self, what: &str) -> ! {
        let mut lines: Vec<String> = self.recent.iter().cloned().chain(self.lines.try_iter()).collect();
        let shown = lines.split_off(lines.len().saturating_sub(LINES_SHOWN_MAX));
        panic!("{} {what}; its last lines:\n{}", self.name, shown.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(output: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Runs `command` to its end; panics with its output if it fails.
pub fn run(name: &str, command: &mut Command, patience: Duration) -> Vec<String> {
    let (status, lines) = Process::start(name, command).finish(patience);
    assert!(status.success(), "{name}: {status}:\n{}", lines.join("\n"));
    lines
}
