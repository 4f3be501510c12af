//! What an operator types, at a real broker: answers, exit codes, and what is said when something is wrong. The same
//! scenarios run at RingMQ (`short`) and, with the official clients, at Apache's broker (`compat/command_line`).

use serde_json::Value;

use crate::compat::command_line::{Said, ringmq, ringmq_reading};

/// Where the commands go.
pub struct At<'a> {
    /// `host:port` of the name server.
    pub name_server: &'a str,
    /// Every broker's name.
    pub brokers: Vec<String>,
}

impl At<'_> {
    /// A command that must succeed; its answer.
    fn done(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.answer
    }

    /// The same, as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.say(&[arguments, &["--format", "json"]].concat());
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.json()
    }

    /// A command that must end with `code`, having said all of `talk` on stderr and nothing on stdout.
    fn fails(&self, code: i32, arguments: &[&str], talk: &[&str]) {
        let said = self.say(arguments);
        assert_eq!((said.code, said.answer.as_str()), (code, ""), "{arguments:?}: {said:?}");
        for part in talk {
            assert!(said.talk.contains(part), "{arguments:?} must say {part:?}: {said:?}");
        }
    }

    fn say(&self, arguments: &[&str]) -> Said {
        ringmq(&[arguments, &["-n", self.name_server]].concat())
    }

    /// The cells of the row of a table that begins with these cells.
    fn row(table: &str, first: &[&str]) -> Vec<String> {
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows
            .find(|cells| cells.starts_with(first))
            .unwrap_or_else(|| panic!("no row {first:?} in\n{table}"));
        row.into_iter().map(str::to_owned).collect()
    }
}

/// A topic from its making to its end.
pub fn topics(at: &At<'_>) {
    let made = at.done(&["topic", "create", "CliTopic", "--queues", "5"]);
    assert!(made.starts_with("topic CliTopic: 5 queues, 0 messages, consumed by no group\n"), "{made}");
    at.fails(5, &["topic", "create", "CliTopic"], &["error[exists]", "ringmq topic alter CliTopic"]);
    let listed = at.done(&["topic", "list"]);
    assert!(listed.lines().any(|line| line == "CliTopic"), "{listed}");
    assert!(!listed.contains("TBW102") && !listed.lines().any(|line| at.brokers.contains(&line.to_owned())));
    let all = at.json(&["topic", "list", "--all"]);
    let of =
        |name: &str| all.as_array().unwrap().iter().find(|topic| topic["name"] == name).cloned().unwrap();
    assert_eq!((&of("CliTopic")["system"], &of("TBW102")["system"]), (&false.into(), &true.into()));

    at.done(&["topic", "alter", "CliTopic", "--perm", "r", "--queues-per-broker", "6"]);
    let described = at.json(&["topic", "describe", "CliTopic"]);
    for broker in described["brokers"].as_array().expect("a list") {
        assert_eq!((&broker["perm"], &broker["write_queues"]), (&"r".into(), &6.into()), "{described}");
    }
    at.fails(5, &["send", "CliTopic", "x"], &["ringmq topic alter CliTopic --perm rw"]);
    at.fails(4, &["topic", "describe", "ClyTopic"], &["error[unknown-topic]", "Did you mean CliTopic?"]);
    at.fails(2, &["topic", "delete", "CliTopic"], &["Say --yes"]);
    assert_eq!(at.done(&["topic", "delete", "CliTopic", "--yes"]), "topic CliTopic deleted\n");
    at.fails(4, &["topic", "delete", "CliTopic", "--yes"], &["there is no topic CliTopic"]);
}

/// Where a topic's queues go.
pub fn placement(at: &At<'_>) {
    let brokers_of = |arguments: &[&str]| {
        let described = at.json(&[&["topic", "create"], arguments].concat());
        let brokers = described["brokers"].as_array().expect("a list").iter();
        let queues =
            |broker: &Value| (broker["broker"].as_str().unwrap().to_owned(), broker["write_queues"].clone());
        brokers.map(queues).collect::<Vec<_>>()
    };
    assert_eq!(brokers_of(&["CliOne", "--queues", "1"]).len(), 1);
    assert_eq!(brokers_of(&["CliFour", "--queues", "4"]).len(), 1);
    assert_eq!(brokers_of(&["CliMany", "--queues", "64"]).len(), at.brokers.len());
    let each = brokers_of(&["CliEach", "--queues-per-broker", "3"]);
    assert!(each.len() == at.brokers.len() && each.iter().all(|(_, queues)| *queues == 3), "{each:?}");
    let named = brokers_of(&["CliNamed", "--brokers", &at.brokers[0], "--perm", "w"]);
    assert_eq!(named, [(at.brokers[0].clone(), 8.into())]);
    at.fails(2, &["topic", "create", "CliNowhere", "--brokers", "nobody"], &["there is no broker nobody"]);
    at.fails(2, &["topic", "create", "CliNowhere", "--cluster", "none"], &["cluster none has no broker"]);
    at.fails(2, &["topic", "create", "a b"], &["illegal characters"]);
}

/// Messages sent in every way, and found again.
pub fn messages(at: &At<'_>) {
    at.done(&["topic", "create", "CliMail", "--queues", "1"]);
    let rich = ["send", "CliMail", "--tag", "A", "--key", "k-1", "--property", "region=north", "four boxes"];
    let stored = at.json(&rich);
    assert_eq!(
        (&stored["topic"], &stored["queue"], &stored["offset"]),
        (&"CliMail".into(), &0.into(), &0.into())
    );
    let said = ringmq_reading(&["send", "CliMail", "--lines", "-n", at.name_server], b"one\n\ntwo\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.answer.lines().filter(|line| line.starts_with("stored CliMail@")).count(), 2, "{said:?}");
    let said = ringmq_reading(&["send", "CliMail", "-n", at.name_server], b"\xff\x00");
    assert_eq!(said.code, 0, "{said:?}");
    let described = at.done(&["topic", "describe", "CliMail"]);
    assert!(described.starts_with("topic CliMail: 1 queue, 4 messages"), "{described}");

    let id = stored["id"].as_str().expect("an id");
    let place = stored["place"].as_str().expect("a place");
    for id in [id, place] {
        let found = at.json(&["message", "by-id", "CliMail", id]);
        assert_eq!(found[0]["body"], "four boxes", "{found}");
        assert_eq!(
            (&found[0]["tag"], &found[0]["properties"]["region"]),
            (&"A".into(), &"north".into()),
            "{found}"
        );
    }
    let found = at.done(&["message", "by-key", "CliMail", "k-1"]);
    assert!(found.contains("CliMail@") && found.ends_with("\nfour boxes\n"), "{found}");
    at.fails(4, &["message", "by-key", "CliMail", "k-2"], &["error[not-found]"]);
    at.fails(4, &["message", "by-id", "CliMail", &"0".repeat(32)], &["error[not-found]"]);
    at.fails(2, &["send", "CliMail", "--property", "x", "body"], &["--property NAME=VALUE"]);
}

/// Messages read, by hand and as a member of a group.
pub fn tails(at: &At<'_>) {
    at.done(&["topic", "create", "CliFeed", "--queues", "4"]);
    for (tag, body) in [("A", "one"), ("B", "two"), ("A", "three")] {
        at.done(&["send", "CliFeed", "--tag", tag, "--key", body, body]);
    }
    let read = |more: &[&str]| {
        let tail = ["tail", "CliFeed", "--from", "first", "--format", "json"];
        let answer = at.done(&[&tail[..], more].concat());
        let messages = answer.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut bodies: Vec<String> =
            messages.map(|message| message["body"].as_str().expect("text").to_owned()).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(read(&["--no-follow"]), ["one", "three", "two"]);
    assert_eq!(read(&["--no-follow", "--tag", "A"]), ["one", "three"]);
    assert_eq!(read(&["--no-follow", "--key", "two"]), ["two"]);
    assert_eq!(read(&["--no-follow", "--contains", "hre"]), ["three"]);
    // Waits, but has what it was asked for.
    assert_eq!(read(&["--limit", "3"]).len(), 3);
    let hex =
        at.done(&["tail", "CliFeed", "--from", "-1h", "--no-follow", "--key", "two", "--format", "hex"]);
    assert!(hex.contains("74 77 6f") && hex.contains("CliFeed@"), "{hex}");
    assert_eq!(at.done(&["tail", "CliFeed", "--no-follow"]), "");

    assert_eq!(read(&["--group", "cli_readers", "--limit", "3"]), ["one", "three", "two"]);
    let described = at.json(&["group", "describe", "cli_readers"]);
    assert_eq!(described["lag"], 0, "what was printed is acknowledged: {described}");
    at.fails(4, &["tail", "CliFede"], &["Did you mean CliFeed?"]);
    at.fails(4, &["tail", "CliFede", "--group", "cli_readers"], &["Did you mean CliFeed?"]);
    at.fails(2, &["tail", "CliFeed", "--from", "begin"], &["Or write first or last"]);
}

/// A group's offsets.
pub fn groups(at: &At<'_>) {
    at.done(&["topic", "create", "CliLog", "--queues", "1"]);
    let lines = ringmq_reading(&["send", "CliLog", "--lines", "-n", at.name_server], b"1\n2\n3\n4\n5\n");
    assert_eq!(lines.code, 0, "{lines:?}");
    at.fails(4, &["group", "describe", "cli_nobody"], &["error[unknown-group]", "ringmq group list"]);
    at.done(&["group", "create", "cli_group", "--retries", "3"]);
    assert!(at.done(&["group", "list"]).lines().any(|line| line == "cli_group"));
    let reset = |to: &str| {
        at.json(&["group", "reset-offset", "cli_group", "--topic", "CliLog", "--to", to, "--yes"])[0]["to"]
            .clone()
    };
    for (to, offset) in
        [("last", 5), ("first", 0), ("offset:4", 4), ("-1h", 0), ("9999-12-31", 5), ("offset:3", 3)]
    {
        assert_eq!(reset(to), offset, "{to}");
    }
    let described = at.done(&["group", "describe", "cli_group"]);
    assert!(described.starts_with("group cli_group: clustering, 2 behind\n"), "{described}");
    let row = At::row(&described, &["CliLog"]);
    assert_eq!((row[3].as_str(), row[4].as_str(), row[5].as_str()), ("3", "5", "2"), "{described}");
    let topic = at.done(&["topic", "describe", "CliLog"]);
    assert!(topic.contains("consumed by cli_group"), "{topic}");
    let wrong = ["group", "reset-offset", "cli_group", "--topic", "CliLog", "--to", "frist", "--yes"];
    at.fails(2, &wrong, &["2026-11-24T15:00:00Z", "first, last"]);
    let unknown = ["group", "reset-offset", "cli_group", "--topic", "CliLgo", "--to", "first", "--yes"];
    at.fails(4, &unknown, &["Did you mean CliLog?"]);
    assert_eq!(at.done(&["group", "delete", "cli_group", "--yes"]), "group cli_group deleted\n");
    at.fails(4, &["group", "delete", "cli_group", "--yes"], &["error[unknown-group]"]);
}

/// Who is there.
pub fn cluster(at: &At<'_>) {
    let table = at.done(&["cluster"]);
    for broker in &at.brokers {
        let row = At::row(&table, &["DefaultCluster", broker, "0"]);
        assert!(row[3].starts_with("127.0.0.1:"), "{table}");
    }
    let all = at.json(&["cluster"]);
    assert_eq!(all["brokers"].as_array().expect("a list").len(), at.brokers.len());
    assert!(!all["brokers"][0]["runtime"]["brokerVersionDesc"].is_null(), "{all}");
}

/// The names that people know from `mqadmin`.
pub fn mqadmin(at: &At<'_>) {
    let said = at.say(&["updateTopic", "-c", "DefaultCluster", "-t", "CliOld", "-r", "2", "-w", "2"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.talk.starts_with("note: here that is `ringmq topic create CliOld --or-change"), "{said:?}");
    assert!(said.answer.starts_with("topic CliOld:"), "{said:?}");
    at.done(&["updateTopic", "-c", "DefaultCluster", "-t", "CliOld", "-w", "3"]);
    for (theirs, expected) in [
        (&["topicList"][..], "CliOld"),
        (&["topicRoute", "-t", "CliOld"], "topic CliOld:"),
        (&["clusterList"], "DefaultCluster"),
        (&["updateTopicPerm", "-t", "CliOld", "-p", "4"], " r "),
        (&["deleteTopic", "-c", "DefaultCluster", "-t", "CliOld"], "topic CliOld deleted"),
    ] {
        let said = at.say(theirs);
        assert!(said.code == 0 && said.answer.contains(expected), "{theirs:?}: {said:?}");
        assert!(said.talk.starts_with("note: here that is `ringmq "), "{theirs:?}: {said:?}");
    }
    at.fails(2, &["updateTopic", "-t", "T", "-u", "true"], &["-u of updateTopic has no counterpart here"]);
}
