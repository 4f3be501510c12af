//! Commands that need no server: they answer, on the right output and with the right exit code.

use std::net::TcpListener;

use ringmq_tests::compat::command_line::ringmq;
use ringmq_tests::compat::site::Folder;

#[test]
fn check_says_of_each_thing_that_it_is_right_or_what_mends_it() {
    let folder = Folder::new("check");
    let data = folder.path.join("not/there/yet");
    let data = data.to_str().expect("text");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let said = ringmq(&["check", "--data", data, "--port", &port, "--format", "json"]);
    let items = said.json();
    let items = items.as_array().expect("a list");
    let named: Vec<&str> = items.iter().map(|item| item["what"].as_str().expect("a name")).collect();
    for what in ["kernel", "io_uring", "locked memory", "open files", "clock", "file system", "O_DIRECT"] {
        assert!(named.contains(&what), "{what} is missing: {named:?}");
    }
    for item in items {
        let is_ok = item["level"] == "ok";
        assert_eq!(item["remedy"].is_null(), is_ok, "OK, or a remedy: {item}");
    }
    let fails = items.iter().any(|item| item["level"] == "fail");
    assert_eq!(said.code, i32::from(fails), "{said:?}");
    assert_eq!(std::fs::read_dir(&folder.path).unwrap().count(), 0, "nothing stays");
}

#[test]
fn check_tries_the_advertised_address() {
    // 127.0.0.2 is this machine, but nobody listens there.
    let said = ringmq(&["check", "--advertise", "127.0.0.2", "--port", "20911"]);
    assert_eq!(said.code, 1, "{said:?}");
    let line = said.answer.lines().find(|line| line.contains("advertised")).expect("a line");
    assert!(line.starts_with("FAIL") && line.contains("127.0.0.2:20911 cannot be reached"), "{line}");
    assert!(said.answer.contains("--advertise HOST"), "{said:?}");
}

#[test]
fn codes_are_explained_and_unknown_ones_are_not_found() {
    let rows = [
        (&["explain", "17"][..], 0, "TOPIC_NOT_EXIST", ""),
        (&["explain", "error[port-in-use]"], 0, "ss -ltnp", ""),
        (&["explain", "topic_not_exit"], 4, "", "Did you mean topic-not-exist?"),
        (&["explain", "--format", "yaml"], 2, "", "[possible values: text, json]"),
        (&["man", "log", "verify"], 0, "ringmq\\-log\\-verify", ""),
        (&["man", "log", "verfy"], 4, "", "there is no command log verfy"),
        (&["completion", "bash"], 0, "_ringmq()", ""),
        (&["completions", "bash"], 0, "_ringmq()", ""),
        (&["serv"], 2, "", "'serve'"),
        (&["check", "--set", "log.flsh=sync"], 2, "", "did you mean log.flush?"),
    ];
    for (arguments, code, answer, talk) in rows {
        let said = ringmq(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.answer.contains(answer) && said.talk.contains(talk), "{arguments:?}: {said:?}");
        assert!(said.answer.is_empty() == (code != 0), "{arguments:?}: {said:?}");
    }
}
