//! What name servers are told, and when.

mod bed;

use std::collections::BTreeMap;
use std::time::Duration;

use bed::{Bed, FIRST, SECOND, id};
use ringmq_wire::HeadScratch;
use ringmq_wire::frame::{self, Decoded};
use ringmq_wire::request::registration::RegisterBroker;

use super::{Action, TOPICS_PER_CALL_MAX};
use crate::broker::facts::topic_config::{Perm, TopicConfig};

#[test]
fn a_registration_is_what_name_servers_expect() {
    let mut bed = Bed::new(&[FIRST]);
    bed.topics.adopt(TopicConfig::new("B", 1, Perm(4)));
    bed.tick(0);
    bed.registration.connected(id(0), &bed.topics, bed.at());
    let Some(Action::Send(_, bytes)) = bed.registration.next_action() else { panic!("a registration") };
    let Ok(Decoded::Frame(frame, _)) = frame::decode(&bytes) else { panic!("a whole frame") };
    let mut scratch = HeadScratch::default();
    let head = scratch.decode(frame.format, frame.head).unwrap();
    let fields: BTreeMap<&str, &str> = head.fields.iter().collect();
    let expected = [
        ("brokerName", "box-0"),
        ("brokerAddr", "10.0.0.9:10911"),
        ("clusterName", "C"),
        ("haServerAddr", "10.0.0.9:10912"),
        ("brokerId", "0"),
        ("enableActingMaster", "false"),
        ("compressed", "false"),
    ];
    for (name, value) in expected {
        assert_eq!(fields.get(name), Some(&value), "{name}");
    }
    assert!(RegisterBroker::decode(&head.fields).unwrap().body_is_intact(frame.body));
    let body = std::str::from_utf8(frame.body).unwrap();
    let start = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":7},"#;
    assert!(body.starts_with(start), "{body}");
    let topic = r#""B":{"attributes":{},"order":false,"perm":4,"readQueueNums":1,"topicFilterType":"SINGLE_TAG","topicName":"B","topicSysFlag":0,"writeQueueNums":1}"#;
    assert!(body.contains(topic), "{body}");
}

#[test]
fn every_thirty_seconds_it_asks_whether_it_is_still_known() {
    let mut bed = Bed::registered();
    assert_eq!(bed.registration.next_due(), Some(Duration::from_secs(130)));
    assert!(bed.tick(29).is_empty());
    assert_eq!(bed.tick(1), ["still 1 on 0: #1"]);
    assert!(bed.answer_with(0, 1, 0, &[("changed", "false".into())]).is_empty());
    assert_eq!(bed.tick(30), ["still 1 on 0: #2"]);
}

#[test]
fn a_name_server_that_does_not_know_it_is_told_everything() {
    #[rustfmt::skip]
    let rows = [
        ("it has restarted",           0, Some("true")),
        ("it says nothing",            0, None),
        ("it says something else",     0, Some("maybe")),
        ("it does not know this code", 3, None),
    ];
    for (what, code, changed) in rows {
        let fields: Vec<_> = changed.map(|changed| ("changed", changed.into())).into_iter().collect();
        let mut bed = Bed::registered();
        bed.change("B");
        bed.answer(0, 1, 0);
        assert_eq!(bed.tick(30), ["still 2 on 0: #2"], "{what}");
        assert_eq!(bed.answer_with(0, 2, code, &fields), ["register on 0: #3 A B, up to 2"], "{what}");
    }
}

#[test]
fn a_change_is_told_at_once_and_changes_during_a_call_are_told_together() {
    let mut bed = Bed::registered();
    assert_eq!(bed.change("B"), ["register on 0: #1 B, up to 2"]);
    assert!(bed.change("C").is_empty());
    assert!(bed.change("A").is_empty());
    assert!(bed.change("C").is_empty());
    assert_eq!(bed.answer(0, 1, 0), ["register on 0: #2 A C, up to 5"]);
    assert!(bed.answer(0, 2, 0).is_empty());
}

#[test]
fn a_topic_that_was_deleted_is_not_told() {
    let mut bed = Bed::registered();
    assert_eq!(bed.change("B"), ["register on 0: #1 B, up to 2"]);
    bed.change("C");
    bed.topics.forget("C");
    assert_eq!(bed.answer(0, 1, 0), ["still 2 on 0: #2"]);
}

#[test]
fn many_topics_are_told_in_parts() {
    let mut bed = Bed::new(&[FIRST]);
    for number in 0..2 * TOPICS_PER_CALL_MAX + 1 {
        bed.topics.adopt(TopicConfig::new(&format!("T{number}"), 1, Perm::READ_WRITE));
    }
    bed.tick(0);
    let mut told = bed.connected(0);
    for (opaque, up_to) in [(0, 800), (1, 1600), (2, 1601)] {
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with(&format!("register on 0: #{opaque} ")), "{}", &told[0][..40]);
        assert!(told[0].ends_with(&format!("up to {up_to}")), "{opaque}");
        told = bed.answer(0, opaque, 0);
    }
    assert!(told.is_empty());
    // What is refused in the middle begins again.
    bed.tick(30);
    let again = bed.answer_with(0, 3, 0, &[("changed", "true".into())]);
    assert!(again[0].ends_with("up to 800"));
    assert!(bed.answer(0, 4, 0)[0].ends_with("up to 1600"));
    assert!(bed.answer(0, 5, 1).is_empty());
    assert!(bed.tick(1)[0].ends_with("up to 800"));
}

#[test]
fn each_name_server_is_told_by_itself() {
    let mut bed = Bed::new(&[FIRST, SECOND]);
    assert_eq!(bed.change("A"), ["connect 10.0.0.1:9876 as 0", "connect 10.0.0.2:9876 as 1"]);
    assert_eq!(bed.connected(1), ["register on 1: #0 A, up to 1"]);
    assert!(bed.change("B").is_empty());
    assert_eq!(bed.connected(0), ["register on 0: #1 A B, up to 2"]);
    assert_eq!(bed.answer(1, 0, 0), ["register on 1: #2 B, up to 2"]);
}

#[test]
fn a_lost_connection_is_made_again_after_pauses_that_double() {
    let mut bed = Bed::registered();
    assert!(bed.closed(0).is_empty());
    let mut conn = 0;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert!(bed.tick(pause - 1).is_empty(), "{pause}");
        conn += 1;
        assert_eq!(bed.tick(1), [format!("connect 10.0.0.1:9876 as {conn}")]);
        bed.closed(conn);
    }
    bed.tick(30);
    assert_eq!(bed.connected(8), ["register on 8: #1 A, up to 1"]);
    bed.answer(8, 1, 0);
    bed.closed(8);
    assert_eq!(bed.tick(1), ["connect 10.0.0.1:9876 as 9"], "an answer ends the doubling");
}

#[test]
fn a_name_server_that_does_not_answer_is_given_up() {
    let mut bed = Bed::registered();
    assert_eq!(bed.tick(30), ["still 1 on 0: #1"]);
    assert!(bed.tick(9).is_empty());
    assert_eq!(bed.tick(1), ["close 0"]);
    assert!(bed.closed(0).is_empty(), "its end is no second failure");
    assert_eq!(bed.tick(1), ["connect 10.0.0.1:9876 as 1"]);
    assert_eq!(bed.tick(10), ["close 1"], "nor one that does not accept");
}

#[test]
fn a_refused_registration_is_repeated_after_a_pause() {
    let mut bed = Bed::new(&[FIRST]);
    bed.change("A");
    bed.connected(0);
    assert!(bed.answer(0, 0, 1).is_empty());
    assert_eq!(bed.tick(1), ["register on 0: #1 A, up to 1"]);
    assert!(bed.answer(0, 1, 1).is_empty());
    assert!(bed.tick(1).is_empty());
    assert_eq!(bed.tick(1), ["register on 0: #2 A, up to 1"]);
}

#[test]
fn answers_to_nothing_are_passed_over() {
    let mut bed = Bed::registered();
    assert!(bed.answer(0, 0, 0).is_empty());
    assert!(bed.answer(5, 0, 0).is_empty());
    assert_eq!(bed.tick(30), ["still 1 on 0: #1"]);
    assert!(bed.answer(0, 0, 0).is_empty(), "an old number");
    assert!(bed.change("B").is_empty(), "the call is still in flight");
}

#[test]
fn shutdown_takes_back_what_was_registered() {
    let mut bed = Bed::registered();
    assert_eq!(bed.shutdown(), ["unregister on 0: #1"]);
    assert!(!bed.registration.is_shut_down());
    assert_eq!(bed.answer(0, 1, 0), ["close 0"]);
    assert!(bed.registration.is_shut_down());
    assert!(bed.closed(0).is_empty() && bed.tick(60).is_empty());
    assert_eq!(bed.registration.next_due(), None);
}

#[test]
fn shutdown_waits_for_a_registration_in_flight() {
    let mut bed = Bed::new(&[FIRST, SECOND]);
    bed.change("A");
    bed.connected(0);
    assert_eq!(bed.shutdown(), ["close 1"], "a name server that was not told needs no taking back");
    assert!(!bed.registration.is_shut_down());
    assert_eq!(bed.answer(0, 0, 0), ["unregister on 0: #1"]);
    assert!(bed.closed(0).is_empty());
    assert!(bed.registration.is_shut_down());
}
